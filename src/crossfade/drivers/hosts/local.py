"""This machine as a host: commands and files, with explained errors and no secret in them."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets as tokens
import shutil
import stat
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Final

from crossfade.drivers.hosts import commands
from crossfade.drivers.listeners import listener
from crossfade.errors import Failed
from crossfade.model import Address
from crossfade.ports import Completed

__all__ = ["LocalHost"]

_MASK: Final = "••••"
_SHORTEST_SECRET: Final = 4
_LONGEST_WORD: Final = 200
_LAST_LINES: Final = 5


def _no_secrets() -> Collection[str]:
    return ()


class LocalHost:
    """The machine that Crossfade runs on.

    ``secrets`` gives the values that are never shown: wherever one of at least four characters
    would stand in an error, dots stand instead.
    """

    name = "local"

    def __init__(self, secrets: Callable[[], Collection[str]] = _no_secrets) -> None:
        self._secrets = secrets

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        timeout: float = 60.0,
        ok: tuple[int, ...] = (0,),
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Completed:
        """Run a command to its end; ``env`` is added to our environment.

        The last megabyte of each stream is kept.  Raises Failed: command-failed for a status not
        in ``ok`` (negative for a signal), command-timed-out after its whole process group was
        killed, command-missing, command-not-allowed.
        """
        words, program = self._words(argv), self._words(argv[:1])
        if cwd is not None and not cwd.is_dir():
            raise Failed("directory-missing", f"{cwd} is not a directory.", where=words)
        try:
            done = commands.run(argv, stdin=stdin, timeout=timeout, env=env, cwd=cwd)
        except FileNotFoundError as error:
            raise Failed(
                "command-missing", f"There is no program {program}.", where=words
            ) from error
        except OSError as error:
            raise Failed(
                "command-not-allowed", f"{program} cannot be run: {error.strerror}", where=words
            ) from error
        except commands.TimedOut as late:
            raise Failed(
                "command-timed-out",
                f"{program} did not end within {timeout:g} seconds and was killed.",
                where=self._where(words, late.completed),
            ) from None
        if done.status not in ok:
            how = f"signal {-done.status}" if done.status < 0 else f"status {done.status}"
            raise Failed(
                "command-failed", f"{program} ended with {how}.", where=self._where(words, done)
            )
        return done

    def _words(self, argv: Sequence[str]) -> str:
        """A command for people: secrets masked, long words cut."""
        return " ".join(_cut(self.masked(word)) for word in argv)

    def _where(self, words: str, done: Completed) -> str:
        text = self.masked(done.err.decode(errors="replace"))
        return "\n".join((words, *text.splitlines()[-_LAST_LINES:]))

    def masked(self, text: str) -> str:
        """A text with dots in place of every secret; longer secrets first."""
        for value in sorted(self._secrets(), key=len, reverse=True):
            if len(value) >= _SHORTEST_SECRET:
                text = text.replace(value, _MASK)
        return text

    def read(self, path: Path) -> bytes:
        """The whole file.  Raises Failed(file-unreadable)."""
        try:
            return path.read_bytes()
        except OSError as error:
            raise self._failed("file-unreadable", "read", path, error) from error

    def write(self, path: Path, data: bytes, *, mode: int = 0o600) -> None:
        """Write a file atomically and durably; makes missing parents.

        Raises Failed: disk-full, file-unwritable; then the file is as it was.
        """
        temporary = path.with_name(f".crossfade-{tokens.token_hex(8)}")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                with open(temporary, "xb", opener=_private) as file:
                    file.write(data)
                    file.flush()
                    os.fchmod(file.fileno(), mode)
                    os.fsync(file.fileno())
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
            _sync_directory(path.parent)
        except OSError as error:
            raise self._failed("file-unwritable", "written", path, error) from error

    def exists(self, path: Path) -> bool:
        """Whether something stands at ``path``, a broken link included.

        Raises Failed(file-unreadable) when we may not look.
        """
        try:
            path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise self._failed("file-unreadable", "looked at", path, error) from error
        return True

    def make_directory(self, path: Path, *, mode: int = 0o700) -> None:
        """Make a directory and its missing parents; fine when it is there.

        A directory that is there keeps its mode.  Raises Failed: disk-full, file-unwritable.
        """
        try:
            if path.is_dir():
                return
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.mkdir(mode=0o700)
            path.chmod(mode)
        except FileExistsError as error:
            if not path.is_dir():
                raise self._failed("file-unwritable", "made", path, error) from error
        except OSError as error:
            raise self._failed("file-unwritable", "made", path, error) from error

    def remove(self, path: Path) -> None:
        """Remove a file or a whole tree; fine when it is gone.  A link is removed, not followed.

        Raises Failed(file-unwritable).
        """
        try:
            if stat.S_ISDIR(path.lstat().st_mode):
                _let_in(path)
                shutil.rmtree(path)
            else:
                path.unlink()
        except (FileNotFoundError, NotADirectoryError):
            if self.exists(path):
                self.remove(path)  # an entry vanished under us: the rest is still to be removed
        except OSError as error:
            raise self._failed("file-unwritable", "removed", path, error) from error

    def free_bytes(self, path: Path) -> int:
        """Bytes that we may still write where ``path`` is or will be."""
        found = os.statvfs(_nearest(path))
        return found.f_bavail * found.f_frsize

    def file_system(self, path: Path) -> str:
        """The device number of the file system where ``path`` is or will be."""
        return f"device {_nearest(path).stat().st_dev}"

    def listener(self, address: Address) -> str | None:
        """Who listens at ``address``; None when it is free."""
        return listener(address)

    def _failed(self, code: str, done: str, path: Path, error: OSError) -> Failed:
        name = self.masked(str(path))
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return Failed("disk-full", f"The disk is full: {name} cannot be {done}.", where=name)
        return Failed(code, f"{name} cannot be {done}: {error.strerror}", where=name)


def _cut(word: str) -> str:
    return word if len(word) <= _LONGEST_WORD else f"{word[:_LONGEST_WORD]}…"


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)


def _let_in(path: Path) -> None:
    """Let an ordinary user into directories of its own that shut it out, before removing them."""
    waiting = [path] if os.geteuid() != 0 else []
    while waiting:
        one = waiting.pop()
        with contextlib.suppress(PermissionError):
            if one.stat().st_mode & 0o700 != 0o700:
                one.chmod(0o700)
            waiting += _directories(one)


def _directories(path: Path) -> list[Path]:
    with os.scandir(path) as entries:
        return [Path(entry) for entry in entries if entry.is_dir(follow_symlinks=False)]


def _sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _nearest(path: Path) -> Path:
    """The path itself, or the nearest of its parents that exists and that we may look at."""
    for one in (path, *path.absolute().parents):
        try:
            one.stat()
        except OSError:
            continue
        return one
    return Path("/")
