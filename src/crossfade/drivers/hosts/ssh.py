"""A machine that the OpenSSH client reaches, as a host."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from crossfade.drivers.hosts import _ssh_files as files
from crossfade.drivers.hosts import _ssh_shell as shell
from crossfade.drivers.hosts._ssh_asking import Asking, Request, Told
from crossfade.drivers.hosts._ssh_connection import Connection, Way
from crossfade.drivers.hosts.commands import KEPT
from crossfade.drivers.hosts.telling import Teller, no_secrets
from crossfade.errors import Failed
from crossfade.model import Address
from crossfade.ports import Completed

__all__ = ["SshHost"]

_LATE: Final = 10.0
_ROOT: Final = "root"


class SshHost:
    """The machine that ``ssh DESTINATION`` reaches: a name of the operator's ssh configuration,
    ``user@host`` or ``ssh://user@host:port``.

    It needs a POSIX shell there and the tools of GNU, on Linux; see the drivers' reference.
    ``name`` is what reports call it.  ``config`` takes the place of the operator's configuration.
    ``sudo`` lets everything be done as another account, root when it is True; ``acting_as`` gives
    the same host with another choice, over the same connection.  ``secrets`` gives the values that
    are never shown in errors.

    A silent host is asked ``alive_count`` times, every ``alive_interval`` seconds, before the link
    counts as cut.  What is safe to repeat is then tried again on new connections for ``patience``
    seconds; a command only when it cannot have begun.  Threads may share a host.  ``close`` ends
    the connection; the host can be used again.
    """

    here = False
    """It counts as another machine, even where it is this one."""

    def __init__(
        self,
        destination: str,
        *,
        name: str = "",
        config: Path | None = None,
        sudo: bool | str = False,
        secrets: Callable[[], Collection[str]] = no_secrets,
        connect_timeout: int = 10,
        alive_interval: int = 5,
        alive_count: int = 3,
        patience: float = 60.0,
    ) -> None:
        self.name = name or destination
        self._teller = Teller(secrets, f"on {self.name}: ")
        way = Way(destination, config, connect_timeout, alive_interval, alive_count)
        self._connection = Connection(way, self._teller)
        self._asking = Asking(self._connection, self._teller, self.name, patience, _account(sudo))

    def acting_as(self, sudo: bool | str) -> SshHost:
        """The same host over the same connection, with everything done as another account: root
        (True), the one that is named, or the one that logs in (False)."""
        other = object.__new__(SshHost)
        other.name, other._teller, other._connection = self.name, self._teller, self._connection
        other._asking = self._asking.by(_account(sudo))
        return other

    def by_login(self) -> SshHost:
        """The same host, with everything done as the account that logs in."""
        return self.acting_as(False)

    def give_up_at(self, moment: float | None) -> None:
        """Patience ends at this moment (``time.monotonic()``) at the latest, for everybody who
        shares the connection; None: it is as long as was given."""
        self._connection.give_up_at = float("inf") if moment is None else moment

    def close(self) -> None:
        """End the connection, for everybody who shares it.  Fine when there is none."""
        self._connection.close()

    def outside(self, argv: Sequence[str]) -> tuple[str, ...]:
        """The command with which somebody else on this machine runs ``argv`` there, over a
        connection of its own; it ends with 255 when there is none."""
        account = self._asking.account
        words = ("sudo", "-n", "-H", "-u", account, "--", *argv) if account else tuple(argv)
        return self._connection.alone(shlex.join(words))

    def masked(self, text: str) -> str:
        """A text with dots in place of every secret."""
        return self._teller.masked(text)

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
        """Run a command to its end; ``env`` is added to the account's environment there, and is
        not among any program's arguments.

        The last megabyte of each stream is kept.  A status of 128 + n is told as signal n, and
        ``ok`` may name either: a far shell does not tell them apart.  Raises Failed: those of
        ``connect``; command-failed, command-timed-out after its whole process group was killed,
        command-missing, command-not-allowed, directory-missing; host-lost when the link was cut
        and nobody knows how far the command got: it is never repeated."""
        words, given = tuple(argv), self._passable(argv, env)

        def order(token: str, _: Sequence[str]) -> str:
            return shell.command_line(token, words, timeout=timeout, env=given, cwd=cwd)

        where = self._teller.command(words)
        told = self._asking.ask(
            Request(order, where, stdin, limit=timeout + _LATE, keep=KEPT, again=False)
        )
        done = self._done(words, cwd, told)
        if done.status == -9 and told.seconds >= timeout:
            raise self._teller.timed_out(done, timeout)
        if done.status not in ok and (done.status >= 0 or 128 - done.status not in ok):
            raise self._teller.failed(done)
        return done

    @contextmanager
    def reading(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Iterator[BinaryIO]:
        """A command's output as a stream; errors as those of ``run``, but there is no time-out.

        When the link is cut the stream ends, and leaving the ``with`` raises Failed(host-lost)."""
        with self._streaming(argv, env, cwd, "reading") as stream:
            yield stream

    @contextmanager
    def feeding(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Iterator[BinaryIO]:
        """A stream into a command's input; errors as those of ``run``, but there is no time-out.

        To the command, a link that is cut may look like the end of its input."""
        with self._streaming(argv, env, cwd, "feeding") as stream:
            yield stream

    @contextmanager
    def _streaming(
        self, argv: Sequence[str], env: Mapping[str, str] | None, cwd: Path | None, how: str
    ) -> Iterator[BinaryIO]:
        words, given = tuple(argv), self._passable(argv, env)

        def order(token: str, _: Sequence[str]) -> str:
            return shell.command_line(token, words, timeout=None, env=given, cwd=cwd, streams=how)

        request = Request(order, self._teller.command(words), again=False)
        with self._asking.stream(request, reads=how == "reading") as streaming:
            yield streaming.stream
        done = self._done(words, cwd, Told(streaming.word or "", b"", streaming.err.data(), 0.0))
        if done.status != 0:
            raise self._teller.failed(done)

    def _passable(self, argv: Sequence[str], env: Mapping[str, str] | None) -> dict[str, str]:
        """The variables, if a shell can pass on all of them."""
        for variable in env or {}:
            if not shell.passable(variable):
                why = f"no shell passes on a variable that is called {variable!r}"
                raise self._teller.not_allowed(argv, self.masked(why))
        return dict(env or {})

    def _done(self, words: tuple[str, ...], cwd: Path | None, told: Told) -> Completed:
        """How a command ended, if it began."""
        if told.word == "directory":
            raise self._teller.no_directory(words, cwd or Path())
        if told.word == "timeout":
            raise self._lacks("timeout", self._teller.command(words))
        status = _status(told)
        if status in (126, 127) and _of_timeout(told.err):
            if status == 127:
                raise self._teller.no_program(words)
            raise self._teller.not_allowed(words, files.reason(told.err))
        return Completed(words, status, told.out, told.err)

    def connect(self) -> None:
        """Log in, if that was not done yet, and see that commands run there as they should.

        Raises Failed: host-unknown, host-unreachable, host-key-unknown, host-key-changed,
        host-login-refused, host-shell-unusable, host-lost, host-lacks-tool, ssh-missing,
        ssh-config-invalid; sudo-needs-password, sudo-missing, sudo-refused."""
        missing = self._tools("command -v", files.MISSING_TOOLS, {}).out.decode().split()
        if missing:
            raise self._lacks(", ".join(missing), "")

    def read(self, path: Path) -> bytes:
        """The whole file.  Raises Failed(file-unreadable)."""
        told = self._tools(path, files.READ, {})
        if told.word != "0":
            raise self._teller.about_file("file-unreadable", "read", path, *_why(told))
        return told.out

    def write(self, path: Path, data: bytes, *, mode: int = 0o600, owner: str = "") -> None:
        """Write a file atomically and durably; makes missing parents.  ``owner`` (``user`` or
        ``user:group``) takes the right to give files away.

        Raises Failed: disk-full, file-unwritable; then the file is as it was."""
        values = {"mode": f"{mode:o}", "size": str(len(data)), "owner": owner}
        told = self._tools(path, files.WRITE, values, stdin=data)
        if told.word != "0":
            raise self._teller.about_file("file-unwritable", "written", path, *_why(told))

    def exists(self, path: Path) -> bool:
        """Whether something stands at ``path``, a broken link included.

        Raises Failed(file-unreadable) when we may not look."""
        told = self._tools(path, files.EXISTS, {})
        if told.word == "0":
            return True
        why = _why(told)
        if why[0] in files.NOTHING_THERE:
            return False
        raise self._teller.about_file("file-unreadable", "looked at", path, *why)

    def make_directory(self, path: Path, *, mode: int = 0o700) -> None:
        """Make a directory and its missing parents; fine when it is there.

        A directory that is there keeps its mode.  Raises Failed: disk-full, file-unwritable."""
        told = self._tools(path, files.MAKE_DIRECTORY, {"mode": f"{mode:o}"})
        if told.word != "0":
            raise self._teller.about_file("file-unwritable", "made", path, *_why(told))

    def remove(self, path: Path) -> None:
        """Remove a file or a whole tree; fine when it is gone.  A link is removed, not followed.

        Raises Failed(file-unwritable)."""
        told = self._tools(path, files.REMOVE, {})
        if told.word != "0":
            raise self._teller.about_file("file-unwritable", "removed", path, *_why(told))

    def free_bytes(self, path: Path) -> int:
        """Bytes that we may still write where ``path`` is or will be."""
        free, size = self._looked_at(path, files.FREE).split()
        return int(free) * int(size)

    def file_system(self, path: Path) -> str:
        """The device number of the file system where ``path`` is or will be, on this host."""
        return f"device {self._looked_at(path, files.DEVICE)} on {self.name}"

    def listener(self, address: Address) -> str | None:
        """Who listens at ``address`` there; None when it is free.  A name is looked up there."""
        told = self._tools("listener", files.SOCKETS, {"host": address.host})
        inodes = files.in_the_way(address, told.out.decode("ascii", "replace"))
        if not inodes:
            return None
        told = self._tools("listener", files.OWNERS, {"inodes": " ".join(sorted(inodes))})
        return files.first_owner(told.out.decode(errors="replace")) or "somebody"

    def _looked_at(self, path: Path, order: str) -> str:
        told = self._tools(path, order, {})
        if told.word != "0":
            raise self._teller.about_file("file-unreadable", "looked at", path, *_why(told))
        return told.out.decode("ascii").strip()

    def _tools(
        self, what: Path | str, order: str, values: Mapping[str, str], *, stdin: bytes = b""
    ) -> Told:
        """Work on files; repeated on a new connection when the link is cut."""
        given = dict(values)
        if isinstance(what, Path):
            given["p"] = shell.far_path(what)

        def line(token: str, earlier: Sequence[str]) -> str:
            more = {"token": token, "earlier": " ".join(earlier)}
            return shell.tools_line(token, (order,), given | more)

        where = self._teller.command((str(what),))
        return self._asking.ask(Request(line, where, stdin, limit=files.LONGEST))

    def _lacks(self, tools: str, where: str) -> Failed:
        what = f"{self.name} has no program {tools}, which Crossfade needs there."
        return Failed("host-lacks-tool", what, where=where)


def _account(sudo: bool | str) -> str:
    """The account that sudo gives; empty without sudo."""
    if isinstance(sudo, str):
        return sudo
    return _ROOT if sudo else ""


def _status(told: Told) -> int:
    """The status as Python tells it: negative for a signal."""
    status = int(told.word)
    return 128 - status if 128 < status <= 192 else status


def _of_timeout(errors: bytes) -> bool:
    """Whether the only line is that of the program that keeps the time: it could not begin."""
    first, _, rest = errors.partition(b"\n")
    return not rest and first.partition(b" ")[0].endswith(b"timeout:")


def _why(told: Told) -> tuple[str, bool]:
    """Why a tool failed, in its words, and whether the disk is full."""
    return files.reason(told.err), files.is_full(told.err)
