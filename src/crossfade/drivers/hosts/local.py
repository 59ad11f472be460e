"""This machine as a host: commands and files, with explained errors and no secret in them."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets as tokens
import shutil
import stat
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from crossfade.drivers.hosts import commands, streams
from crossfade.drivers.hosts._linkless import Linkless
from crossfade.drivers.hosts.telling import Teller, no_secrets
from crossfade.drivers.listeners import listener
from crossfade.model import Address
from crossfade.ports import Completed

__all__ = ["LocalHost"]


class LocalHost(Linkless):
    """The machine that Crossfade runs on.

    ``secrets`` gives the values that are never shown: wherever one of at least four characters
    would stand in an error, dots stand instead.
    """

    name = "local"
    here = True
    """It is the machine that Crossfade runs on."""

    def __init__(self, secrets: Callable[[], Collection[str]] = no_secrets) -> None:
        self._teller = Teller(secrets)

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
        if cwd is not None and not cwd.is_dir():
            raise self._teller.no_directory(argv, cwd)
        try:
            done = commands.run(argv, stdin=stdin, timeout=timeout, env=env, cwd=cwd)
        except FileNotFoundError as error:
            raise self._teller.no_program(argv) from error
        except OSError as error:
            raise self._teller.not_allowed(argv, str(error.strerror)) from error
        except commands.TimedOut as late:
            raise self._teller.timed_out(late.completed, timeout) from None
        if done.status not in ok:
            raise self._teller.failed(done)
        return done

    def outside(self, argv: Sequence[str]) -> tuple[str, ...]:
        """The command with which somebody else on this machine runs ``argv`` here."""
        return tuple(argv)

    @contextlib.contextmanager
    def reading(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Iterator[BinaryIO]:
        """A command's output as a stream; errors as those of ``run``, but there is no time-out."""
        with self._streaming(argv, env, cwd, reads=True) as stream:
            yield stream

    @contextlib.contextmanager
    def feeding(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Iterator[BinaryIO]:
        """A stream into a command's input; errors as those of ``run``, but there is no time-out."""
        with self._streaming(argv, env, cwd, reads=False) as stream:
            yield stream

    @contextlib.contextmanager
    def _streaming(
        self,
        argv: Sequence[str],
        env: Mapping[str, str] | None,
        cwd: Path | None,
        *,
        reads: bool,
    ) -> Iterator[BinaryIO]:
        if cwd is not None and not cwd.is_dir():
            raise self._teller.no_directory(argv, cwd)
        try:
            running = streams.begin(argv, env, cwd, reads=reads)
        except FileNotFoundError as error:
            raise self._teller.no_program(argv) from error
        except OSError as error:
            raise self._teller.not_allowed(argv, str(error.strerror)) from error
        with running.streaming() as stream:
            yield stream
        done = running.completed()
        if done.status != 0:
            raise self._teller.failed(done)

    def masked(self, text: str) -> str:
        """A text with dots in place of every secret."""
        return self._teller.masked(text)

    def read(self, path: Path) -> bytes:
        """The whole file.  Raises Failed(file-unreadable)."""
        try:
            return path.read_bytes()
        except OSError as error:
            raise self._teller.about_file("file-unreadable", "read", path, *_why(error)) from error

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
            raise self._teller.about_file(
                "file-unwritable", "written", path, *_why(error)
            ) from error

    def exists(self, path: Path) -> bool:
        """Whether something stands at ``path``, a broken link included.

        Raises Failed(file-unreadable) when we may not look.
        """
        try:
            path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise self._teller.about_file(
                "file-unreadable", "looked at", path, *_why(error)
            ) from error
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
                raise self._teller.about_file(
                    "file-unwritable", "made", path, *_why(error)
                ) from error
        except OSError as error:
            raise self._teller.about_file("file-unwritable", "made", path, *_why(error)) from error

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
            raise self._teller.about_file(
                "file-unwritable", "removed", path, *_why(error)
            ) from error

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


def _why(error: OSError) -> tuple[str, bool]:
    """The system's words, and whether the disk is full."""
    return str(error.strerror), error.errno in (errno.ENOSPC, errno.EDQUOT)


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
