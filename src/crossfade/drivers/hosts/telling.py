"""What every host says of commands and files that failed: short, and with no secret in it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Final

from crossfade.errors import Failed
from crossfade.ports import Completed

__all__ = ["Teller", "no_secrets"]

_MASK: Final = "••••"
_SHORTEST_SECRET: Final = 4
_LONGEST_WORD: Final = 200
_LAST_LINES: Final = 5


def no_secrets() -> Collection[str]:
    """Nothing to hide."""
    return ()


class Teller:
    """Makes explained errors.

    ``secrets`` gives the values that are never shown: wherever one of at least four characters
    would stand, dots stand instead.  ``place`` is said before every command, such as ``on db2: ``.
    """

    def __init__(self, secrets: Callable[[], Collection[str]], place: str = "") -> None:
        self._secrets = secrets
        self._place = place

    def masked(self, text: str) -> str:
        """A text with dots in place of every secret, longer ones first; bytes that are no text
        are replaced, so that it can be printed."""
        for value in sorted(self._secrets(), key=len, reverse=True):
            if len(value) >= _SHORTEST_SECRET:
                text = text.replace(value, _MASK)
        return text.encode(errors="surrogateescape").decode(errors="replace")

    def words(self, argv: Sequence[str]) -> str:
        """A command for people: secrets masked, long words cut."""
        return " ".join(_cut(self.masked(word)) for word in argv)

    def command(self, argv: Sequence[str]) -> str:
        """A command with the place where it ran."""
        return f"{self._place}{self.words(argv)}"

    def where(self, done: Completed) -> str:
        """A command and the last lines of its errors."""
        text = self.masked(done.err.decode(errors="replace"))
        return "\n".join((self.command(done.argv), *text.splitlines()[-_LAST_LINES:]))

    def no_directory(self, argv: Sequence[str], path: Path) -> Failed:
        """The working directory of a command is not there."""
        what = f"{self.masked(str(path))} is not a directory."
        return Failed("directory-missing", what, where=self.command(argv))

    def no_program(self, argv: Sequence[str]) -> Failed:
        """There is no such program."""
        what = f"There is no program {self.words(argv[:1])}."
        return Failed("command-missing", what, where=self.command(argv))

    def not_allowed(self, argv: Sequence[str], why: str) -> Failed:
        """The program is there but cannot be run."""
        what = f"{self.words(argv[:1])} cannot be run: {why}"
        return Failed("command-not-allowed", what, where=self.command(argv))

    def timed_out(self, done: Completed, timeout: float) -> Failed:
        """The command was killed after ``timeout`` seconds."""
        program = self.words(done.argv[:1])
        what = f"{program} did not end within {timeout:g} seconds and was killed."
        return Failed("command-timed-out", what, where=self.where(done))

    def failed(self, done: Completed) -> Failed:
        """The command ended with a status that is not fine; a negative one is a signal."""
        how = f"signal {-done.status}" if done.status < 0 else f"status {done.status}"
        what = f"{self.words(done.argv[:1])} ended with {how}."
        return Failed("command-failed", what, where=self.where(done))

    def about_file(self, code: str, done: str, path: Path, why: str, full: bool) -> Failed:
        """A file cannot be ``done`` (read, written ...); ``full`` says that the disk is full."""
        name = self.masked(str(path))
        where = f"{self._place}{name}"
        if full:
            return Failed("disk-full", f"The disk is full: {name} cannot be {done}.", where=where)
        return Failed(code, f"{name} cannot be {done}: {self.masked(why)}", where=where)


def _cut(word: str) -> str:
    return word if len(word) <= _LONGEST_WORD else f"{word[:_LONGEST_WORD]}…"
