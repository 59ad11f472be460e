"""Asking the far shell, over links that drop: what is tried again, and what never."""

from __future__ import annotations

import contextlib
import secrets as tokens
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from crossfade.drivers.hosts import _ssh_shell as shell
from crossfade.drivers.hosts import _ssh_sudo as sudo
from crossfade.drivers.hosts._ssh_connection import Connection
from crossfade.drivers.hosts._ssh_session import Session
from crossfade.drivers.hosts._ssh_stream import Streaming
from crossfade.drivers.hosts._ssh_trouble import PASSING
from crossfade.drivers.hosts.telling import Teller
from crossfade.errors import Failed

__all__ = ["Asking", "Request", "Told"]

_SESSIONS: Final = 8  # an sshd allows ten on a connection, unless it is told otherwise
_REFUSED: Final = 255  # what ssh itself ends with
_PAUSES: Final = (0.1, 0.3, 1.0)
_FAREWELL: Final = 5.0
_LAST_WORDS: Final = 1000

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Request:
    """What is wanted of the far shell.

    order makes the line for an attempt, given its token and those of the attempts before.  limit
    is how many seconds it may take; keep how many bytes of each stream are kept (None: all);
    again says that it may be repeated; where is for errors."""

    order: Callable[[str, Sequence[str]], str]
    where: str
    stdin: bytes = b""
    limit: float = 60.0
    keep: int | None = None
    again: bool = True


@dataclass(frozen=True, slots=True)
class Told:
    """What came back: what stands in place of the status, both streams, and the seconds."""

    word: str
    out: bytes
    err: bytes
    seconds: float


@dataclass(frozen=True, slots=True)
class _Lost:
    """The link was cut.  ``ending`` is shell text that ends whoever got the orders; it is empty
    when nobody can have got them."""

    trouble: Failed
    ending: str = ""


class _SudoFailed(Exception):
    """The far shell did not become the account that was asked for."""


class Asking:
    """The far shell of one account; the one that logs in when ``account`` is empty."""

    def __init__(
        self, connection: Connection, teller: Teller, host: str, patience: float, account: str
    ) -> None:
        self._connection = connection
        self._teller = teller
        self._host = host
        self._patience = patience
        self.account = account
        self._places = threading.BoundedSemaphore(_SESSIONS)

    def by(self, account: str) -> Asking:
        """The same for another account; both share the connection and its places."""
        other = Asking(self._connection, self._teller, self._host, self._patience, account)
        other._places = self._places
        return other

    def ask(self, request: Request) -> Told:
        """Give an order and wait for its end.

        Whatever cannot have begun is tried again for as long as our patience lasts, and so is
        what may be repeated.  Raises Failed: see ``SshHost.connect``."""
        earlier: list[str] = []
        endings: list[str] = []

        def attempt() -> Told | _Lost:
            token = tokens.token_hex(16)
            answer = self._attempt(request, token, earlier, endings)
            if isinstance(answer, _Lost) and answer.ending:
                earlier.append(token)
                endings.append(answer.ending)
            return answer

        return self._persist(attempt, request.again)

    def _persist(self, attempt: Callable[[], _Answer | _Lost], again: bool) -> _Answer:
        """Try until there is an answer; what may have begun only ``again`` when it may be."""
        until: float | None = None
        for pause in _pauses():
            trouble: Failed
            try:
                answer = attempt()
            except _SudoFailed:
                raise self._sudo_trouble() from None
            except Failed as failed:
                if failed.code not in PASSING or not self._connection.was_up:
                    raise
                trouble = failed
            else:
                if not isinstance(answer, _Lost):
                    return answer
                trouble = answer.trouble
                if answer.ending and not again:
                    raise trouble
            now = time.monotonic()
            until = now + self._patience if until is None else until
            if now + pause > min(until, self._connection.give_up_at):
                raise trouble
            time.sleep(pause)
        raise AssertionError("the pauses never end")

    @contextlib.contextmanager
    def stream(self, request: Request, *, reads: bool) -> Iterator[Streaming]:
        """A command whose output (``reads``) or input is a stream.  It is begun again while it
        cannot have begun.  Leaving the ``with`` waits for its end, after which the stream has its
        ``word``; an exception ends it first."""
        with self._places:
            stream = self._persist(lambda: self._opened(request, reads), again=False)
            try:
                with contextlib.suppress(BrokenPipeError):  # it has ended; its status says why
                    yield stream
                stream.finish()
                if stream.word is None:
                    self._streamed(stream, request)
            except BaseException:
                if stream.word is None and self._connection.alive(stream.socket):
                    self._bury(stream.socket, stream.ending())
                raise
            finally:
                stream.end()

    def _opened(self, request: Request, reads: bool) -> Streaming | _Lost:
        """One attempt to begin it."""
        mark, token = tokens.token_hex(6), tokens.token_hex(16)
        socket = self._connection.up()
        argv = self._connection.command(socket, shell.bootstrap(mark))
        marked = bool(self.account)
        stream = Streaming(argv, token, mark, socket, reads=reads, marked=marked)
        try:
            pid = stream.ready(self._connection.way.silence)
            if pid is None:
                answer = self._not_ready(stream, socket, request)
                stream.end()
                return answer
            began = stream.begin(self._as_account(mark, token) + request.order(token, ()))
            if began:
                return stream
            alive = self._connection.alive(socket)
            if alive:
                raise self._unusable(stream, request)
            self._connection.drop(socket)
        except BaseException:
            stream.end()
            raise
        stream.end()
        return _Lost(self._lost(request), stream.ending())

    def _streamed(self, stream: Streaming, request: Request) -> None:
        """The stream is over, and nobody said how the command ended."""
        if self._connection.alive(stream.socket):
            stream.word = "137"  # somebody killed the far shell with everything in it
            return
        self._connection.drop(stream.socket)
        raise self._lost(request)

    def _attempt(
        self, request: Request, token: str, earlier: Sequence[str], endings: Sequence[str]
    ) -> Told | _Lost:
        mark = tokens.token_hex(6)
        with self._places:
            socket = self._connection.up()
            began = time.monotonic()
            argv = self._connection.command(socket, shell.bootstrap(mark))
            with Session(argv, token, request.keep, marked=bool(self.account)) as session:
                pid = session.ready(self._connection.way.silence)
                if pid is None:
                    return self._not_ready(session, socket, request)
                orders = "; ".join((*endings, request.order(token, earlier)))
                session.send(self._as_account(mark, token) + orders, request.stdin)
                try:
                    word = session.wait(request.limit)
                except BaseException:
                    self._bury(socket, shell.ending(pid, mark, session.err.begin or 0))
                    raise
                if word is None:
                    ending = shell.ending(pid, mark, session.err.begin or 0)
                    word, lost = self._no_word(session, socket, request, ending)
                    if lost is not None:
                        return lost
            seconds = time.monotonic() - began
            return Told(word, session.out.data(), session.err.data(), seconds)

    def _as_account(self, mark: str, token: str) -> str:
        if not self.account:
            return ""
        return shell.elevated(self.account, mark) + shell.begun(token)

    def _not_ready(self, session: Session | Streaming, socket: Path, request: Request) -> _Lost:
        """No far shell came: the link is cut, or the host does not want one."""
        silent = session.running()
        status = session.end()
        if not self._connection.alive(socket):
            self._connection.drop(socket)
            return _Lost(self._lost(request, "; nothing began"))
        if not silent and status != _REFUSED:
            raise self._unusable(session, request)
        what = f"{self._host} is connected, but lets no command begin."
        return _Lost(Failed("host-lost", what, where=request.where))

    def _no_word(
        self, session: Session, socket: Path, request: Request, ending: str
    ) -> tuple[str, _Lost | None]:
        """The session is over, or its time is, and nobody said how it ended."""
        if session.running():
            self._bury(socket, ending)
            what = f"{self._host} did not say in time how it ended; it may still run there."
            raise Failed("host-lost", what, where=request.where)
        session.end()
        if not self._connection.alive(socket):
            self._connection.drop(socket)
            return "", _Lost(self._lost(request), ending)
        if not session.began():
            raise self._unusable(session, request)
        return "137", None  # somebody killed the far shell with everything in it

    def _unusable(self, session: Session | Streaming, request: Request) -> Failed:
        """The error for a shell, or a sudo, that ended without having done anything."""
        if self.account:
            raise _SudoFailed
        noise = session.err.noise() or session.out.noise()
        said = self._teller.masked(noise[-_LAST_WORDS:].decode(errors="replace")).strip()
        what = f"{self._host} lets us in, but its login shell does not run commands."
        return Failed("host-shell-unusable", what, where=f"{request.where}\n{said}".strip())

    def _sudo_trouble(self) -> Failed:
        def order(token: str, _: Sequence[str]) -> str:
            return shell.tools_line(token, (sudo.PROBE,), {"account": self.account})

        told = self.by("").ask(Request(order, "sudo"))
        said = self._teller.masked(told.err[-_LAST_WORDS:].decode(errors="replace")).strip()
        way = self._connection.way
        ask = ("ssh", *way.chosen(), "-t", way.destination)
        login = told.out.decode(errors="replace").strip()
        return sudo.explained(told.word, login, said, self.account, ask)

    def _bury(self, socket: Path, ending: str) -> None:
        """End a far command that nobody waits for any more, as far as that can be done now."""
        mark, token = tokens.token_hex(6), tokens.token_hex(16)
        argv = self._connection.command(socket, shell.bootstrap(mark))
        marked = bool(self.account)
        with contextlib.suppress(OSError), Session(argv, token, None, marked=marked) as session:
            if session.ready(_FAREWELL) is not None:
                orders = shell.tools_line(token, (ending,), {})
                session.send(self._as_account(mark, token) + orders, b"")
                session.wait(_FAREWELL)

    def _lost(self, request: Request, how_far: str = "") -> Failed:
        if not request.again and not how_far:
            how_far = ": it is not known whether the command ran, or how far"
        what = f"The link to {self._host} was cut{how_far}."
        return Failed("host-lost", what, where=request.where)


def _pauses() -> Iterator[float]:
    """Seconds to wait before the next attempt, for ever."""
    yield from _PAUSES
    while True:
        yield _PAUSES[-1]
