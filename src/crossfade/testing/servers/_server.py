"""What scratch servers of every kind share: a place, an account, a port, secrets, and a process.

A server runs in a session of its own and is found again by its process id file, so another process
(a second ``crossfade demo``, say) can stop what the first one started.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from secrets import token_urlsafe
from types import TracebackType
from typing import ClassVar, Self
from urllib.parse import quote

from crossfade.drivers import procfs
from crossfade.errors import Failed
from crossfade.model import Address, Endpoint
from crossfade.testing.servers._account import choose_account, give
from crossfade.testing.servers._place import choose_directory, choose_port, choose_sockets

__all__ = ["ScratchServer"]

_START, _STOP, _ABORT = 90.0, 30.0, 20.0  # seconds


class ScratchServer(ABC):
    """A database server of our own below one directory.  A context manager: starts and stops.

    directory is where all of it is.  It is the one that was given, unless the account that the
    server runs as cannot reach that: then it is one in the temporary directory, which is removed
    when the server is closed.  settings are lines of the server's configuration.  With ``durable``
    the server waits for the disk as a real one does; without it is quicker, and survives its own
    end but not the machine's.  Raises Failed ``program-missing`` and ``server-does-not-start``.
    """

    kind: ClassVar[str]
    admin: ClassVar[str]
    stop_signals: ClassVar[tuple[signal.Signals, ...]]

    def __init__(
        self, directory: Path, *, settings: Mapping[str, str] | None = None, durable: bool = False
    ) -> None:
        self.given = directory.resolve()
        self.durable = durable
        self.settings = dict(settings or {})
        self.account = choose_account(self.kind)
        self.directory, self._elsewhere = choose_directory(self.given, self.account)
        self.data = self.directory / "data"
        self.log = self.directory / "server.log"
        self.secrets = self.directory / "secrets"
        self.sockets, more = choose_sockets(self.directory, self.account)
        self._elsewhere += more
        port, self._reserved = choose_port(self.directory)
        self.address = Address("127.0.0.1", port)
        self._child: subprocess.Popen[bytes] | None = None

    # What a kind of server has to say

    @abstractmethod
    def _prepare(self, password: str) -> None:
        """Make an empty data directory whose superuser has this password."""

    @abstractmethod
    def _configure(self) -> None:
        """Write the configuration from ``settings``, port and sockets."""

    @abstractmethod
    def _command(self) -> tuple[str, ...]:
        """The server's command, to be run in the foreground."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether the superuser can log in now."""

    @abstractmethod
    def _listed_pid(self) -> int | None:
        """The process id that the server wrote down, if any."""

    @abstractmethod
    def program(self, name: str) -> Path:
        """A client program that fits this server.  Raises Failed ``program-missing``."""

    # What one does with a server

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs, whoever started it."""
        if self._child is not None and self._child.poll() is None:
            return self._child.pid
        pid = self._listed_pid()
        if pid is None or not procfs.alive(pid):
            return None
        ours = str(self.directory)
        return pid if any(ours in word for word in procfs.command_of(pid)) else None

    def start(self) -> None:
        """Begin to serve; returns when the superuser can log in.  Does nothing when it serves."""
        if self.pid is not None and self._answers():
            return
        if not (self.directory / "prepared").exists():
            self._make()
        self._configure()
        log = self._log_file()
        try:
            self._child = subprocess.Popen(
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                env=self.environment(),
                start_new_session=True,
                **self.account.for_popen(),
            )
        finally:
            os.close(log)
        try:
            self._wait_for_answer()
        finally:
            self._release_port()

    def stop(self) -> None:
        """Shut down in order, and less and less politely; returns when all processes are gone."""
        pid = self.pid
        if pid is None:
            return
        family = procfs.descendants([pid])
        for signum, patience in zip(self.stop_signals, (_STOP, _ABORT), strict=False):
            with suppress(ProcessLookupError):
                os.kill(pid, signum)
            if self._gone(family, patience):
                return
        self.kill()

    def kill(self) -> None:
        """End every process of the server at once, as a power cut would (``kill -9``)."""
        pid = self.pid
        if pid is None:
            return
        family = procfs.descendants([pid])
        for member in (pid, *sorted(family - {pid})):
            with suppress(ProcessLookupError):
                os.kill(member, signal.SIGKILL)
        if not self._gone(family, _ABORT):
            raise Failed(
                "server-does-not-end",
                f"The {self.kind} server did not end within {_ABORT:.0f} s of being killed.",
                where=f"process {pid}, {self.directory}",
            )

    def restart(self, settings: Mapping[str, str] | None = None) -> None:
        """Stop and start, with these settings added, if any."""
        self.stop()
        self.settings.update(settings or {})
        self.start()

    def close(self) -> None:
        """Stop, and remove what we had to put outside the given directory."""
        self.stop()
        self._release_port()
        for path in self._elsewhere:
            shutil.rmtree(path, ignore_errors=True)

    def endpoint(
        self,
        database: str,
        *,
        user: str,
        password: str | None = None,
        reached_at: Address | None = None,
    ) -> Endpoint:
        """A database on this server.  Neither it nor the role is made (``create`` does that).

        password is a secret reference; without one it is the file that ``create`` wrote."""
        own = self.secret_of(user)
        found = f"file:{own.relative_to(self.directory)}" if own.exists() else ""
        return Endpoint(
            kind=self.kind,
            address=self.address,
            database=database,
            user=user,
            password=found if password is None else password,
            admin=self.admin,
            admin_password=f"file:{self.secret_of(self.admin).relative_to(self.directory)}",
            base=self.directory,
            reached_at=reached_at,
        )

    def secret_of(self, user: str) -> Path:
        """The file (mode 0600) with the password of a role that we made."""
        return self.secrets / f"{quote(user, safe='')}.password"

    def password_of(self, user: str) -> str:
        """The password itself, for a connection."""
        return self.secret_of(user).read_text(encoding="utf-8")

    def tail(self, lines: int = 15) -> str:
        """The last lines of the server's log."""
        if not self.log.exists():
            return ""
        text = self.log.read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # Parts that the kinds use

    def environment(self) -> dict[str, str]:
        """What the server's programs see of our environment: nothing that could change them."""
        path = os.environ.get("PATH", os.defpath)
        return {"PATH": f"{path}:/usr/sbin:/sbin", "LANG": "C.UTF-8", "HOME": str(self.directory)}

    def new_secret(self, user: str) -> str:
        """Make a password for a role and keep it in its file."""
        password = token_urlsafe(24)
        self.write_private(self.secret_of(user), password)
        return password

    def write_private(self, path: Path, text: str) -> None:
        """Write a file that only the server's account (and root) can read."""
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        give(path, self.account)

    def run(self, command: Sequence[str], what: str) -> None:
        """Run one program as the server's account.  Raises Failed ``server-does-not-start``."""
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self.directory,
            env=self.environment(),
            check=False,
            **self.account.for_popen(),
        )
        if done.returncode:
            last = done.stdout.decode(errors="replace").strip().splitlines()[-8:]
            raise Failed(
                "server-does-not-start",
                f"{what} failed with exit code {done.returncode}.",
                where="\n".join((" ".join(command), *last)),
            )

    # Details

    def _make(self) -> None:
        for directory, mode in ((self.secrets, 0o700), (self.sockets, 0o755)):
            directory.mkdir(parents=True, exist_ok=True)
            directory.chmod(mode)
            give(directory, self.account)
        shutil.rmtree(self.data, ignore_errors=True)  # half made by a process that was killed
        self._prepare(self.new_secret(self.admin))
        (self.directory / "prepared").touch()

    def _wait_for_answer(self) -> None:
        deadline = time.monotonic() + _START
        while not self._answers():
            ended = self._child is not None and self._child.poll() is not None
            if ended or time.monotonic() > deadline:
                self.kill()
                raise Failed(
                    "server-does-not-start",
                    f"The {self.kind} server "
                    + ("ended at once." if ended else f"did not answer within {_START:.0f} s."),
                    where=f"{self.log}\n{self.tail()}",
                )
            time.sleep(0.02)

    def _gone(self, family: set[int], patience: float) -> bool:
        def gone() -> bool:
            ours = self._child is None or self._child.poll() is not None
            return ours and all(_ended(pid) for pid in family)

        return _until(gone, patience)

    def _log_file(self) -> int:
        descriptor = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        give(self.log, self.account)
        return descriptor

    def _release_port(self) -> None:
        if self._reserved is not None:
            os.close(self._reserved)
            self._reserved = None


def _ended(pid: int) -> bool:
    """Whether nothing of a process runs: its other threads may end after it looks dead."""
    if procfs.alive(pid):
        return False
    try:
        return len(list(Path(f"/proc/{pid}/task").iterdir())) <= 1
    except OSError:
        return True


def _until(condition: Callable[[], bool], patience: float) -> bool:
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True
