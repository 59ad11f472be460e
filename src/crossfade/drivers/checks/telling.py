"""A program of one side that is told something secret on its standard input."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from crossfade.errors import Failed
from crossfade.ports import Host
from crossfade.recipes import looks_secret

__all__ = ["Silent", "Teller"]

_LONGEST = 120.0
"""Seconds that a program may take."""
_LARGEST = 1 << 20
_QUIET = {"PYTHONDONTWRITEBYTECODE": "1"}
"""So that a Python program leaves nothing in a side's directories."""


class Silent(Exception):
    """A program did not give what it should; says why, and shows nothing that is hidden."""


@dataclass(frozen=True, slots=True)
class Teller:
    """A program that turns what it is told into what it prints.

    side is for people ("the old side's make").  environment is read right before the program runs,
    for it may hold secrets."""

    side: str
    host: Host
    argv: tuple[str, ...]
    cwd: Path
    environment: Callable[[], Mapping[str, str]]

    def tell(self, text: str, hidden: Iterable[str] = ()) -> str:
        """What it prints, white space around it taken away.  Raises Silent.

        text goes through its standard input, and neither that nor what it prints is ever shown: of
        its complaint the last line, without the words in either, or without ``hidden`` if given."""
        try:
            done = self.host.run(
                self.argv,
                stdin=text.encode(),
                timeout=_LONGEST,
                ok=tuple(range(-64, 255)),
                env={**self.environment(), **_QUIET},
                cwd=self.cwd,
            )
        except Failed as failed:
            raise Silent(f"{self.side}: {failed.what}") from None
        said = done.out[:_LARGEST].decode(errors="replace").strip()
        if done.status:
            words = set(hidden) or {*text.split(), *said.split()}
            complaint = _last_line(done.err.decode(errors="replace"), words)
            raise Silent(f"{self.side} ended with status {done.status}{complaint}")
        return said


def _last_line(text: str, hidden: Iterable[str]) -> str:
    """The last line of what a program complained of, without what is hidden or looks secret."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return ""
    line = lines[-1]
    for piece in sorted(hidden, key=len, reverse=True):
        if len(piece) > 3:
            line = line.replace(piece, "…")
    words = ["…" if looks_secret(word.strip(".,:;\"'()[]")) else word for word in line.split()]
    return f": {' '.join(words)[:200]}"
