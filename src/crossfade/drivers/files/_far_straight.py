"""A way straight from one machine to another, for the length of a copy (decision 0022).

On the one machine, an sshd of our own waits for one connection.  It has its own host key and its
own configuration, and lets in one key, which was made on the other machine and never leaves it, for
one command: a ``cat`` into a pipe, or out of it.  Once the connection stands, nobody listens any
more.  Nothing that says who may log in to either machine is looked at or changed.

All of it is in one directory on either machine.  Its keeper is a shell that waits for a word of
ours every few seconds.  When none comes any more, whatever became of us or of the link, it ends the
connection and removes the directory.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import BinaryIO, Final

from crossfade.drivers.files import _far_straight_text as text
from crossfade.drivers.files._far_straight_both import Both, Broken, Cut
from crossfade.errors import Failed
from crossfade.ports import Host, ReachedBySsh

__all__ = [
    "ADDRESSES",
    "PORTS",
    "Straight",
    "Straights",
    "in_short",
    "only_here",
    "straight_in_words",
]

_PREFIX: Final = "crossfade-way-"
_BEAT: Final = 5.0
_SILENCE: Final = 45
_CALL_SECONDS: Final = 5
ADDRESSES: Final = 3
PORTS: Final = range(20000, 32000)  # below those that the kernel gives to connections
_LOSSES: Final = 2
_PASSING: Final = ("host-lost", "host-unreachable", "host-unknown")
_COMMANDS: Final = {
    "send": "exec sh -c 'cat >{0}/data || exit 7'",
    "give": "exec sh -c 'cat <{0}/data || exit 7'",
}


@dataclass
class Straights:
    """The ways between machines for one upgrade.

    tag (letters and digits) stands in the names of all that is made; port is where it is listened,
    0 for any.  A pair of machines that cannot see each other is asked once."""

    tag: str
    port: int = 0
    _refused: dict[tuple[str, str], str] = field(default_factory=dict)
    _lost: dict[tuple[str, str], int] = field(default_factory=dict)

    def open(self, old: Host, new: Host) -> Straight | None:
        """A way from one to the other, which has to be closed; None when there is none.

        Raises Failed when our own link to one of them is cut."""
        pair = (old.name, new.name)
        if pair in self._refused or old is new:
            return None
        if not (isinstance(old, ReachedBySsh) and isinstance(new, ReachedBySsh)):
            return None
        stack = ExitStack()
        try:
            return self._opened(old, new, stack)
        except Failed as failed:
            stack.close()
            if failed.code in _PASSING:
                raise
            self._refused[pair] = in_short(failed)
        except BaseException:
            stack.close()
            raise
        return None

    def words(self, old: Host, new: Host, way: Straight | None) -> str:
        """How bytes go, after ``open``; empty where no way was to be expected."""
        if way is not None:
            return f"straight from {old.name} to {new.name}"
        why = self._refused.get((old.name, new.name))
        return f"through this machine, not straight: {why}" if why else ""

    def lost(self, old: Host, new: Host) -> None:
        """A way was cut.  Where that happens again and again, none is opened any more."""
        pair = (old.name, new.name)
        self._lost[pair] = self._lost.get(pair, 0) + 1
        if self._lost[pair] >= _LOSSES:
            self._refused[pair] = "the connection between them was cut"

    def leavings(self, host: Host) -> list[str]:
        """What a way of this upgrade has left on a machine, which nobody keeps.  Reads only."""
        if not isinstance(host, ReachedBySsh):
            return []
        login = host.by_login()
        begins = f"{_PREFIX}{self.tag}"
        return login.run(("sh", "-c", text.LEFT, "crossfade", begins)).out.decode().splitlines()

    def clear(self, host: Host) -> None:
        """Remove that."""
        if (left := self.leavings(host)) and isinstance(host, ReachedBySsh):
            host.by_login().run(("sh", "-c", text.SWEEP, "crossfade", *left))

    def _opened(self, old: ReachedBySsh, new: ReachedBySsh, stack: ExitStack) -> Straight:
        for host in (old, new):
            self.clear(host)
        name = f"{_PREFIX}{self.tag}-{secrets.token_hex(4)}"
        ours, theirs = (_Place(host, f"{name}-{side}") for side, host in ((0, old), (1, new)))
        keepers = [stack.enter_context(_kept(place)) for place in (ours, theirs)]
        stack.enter_context(_beating(keepers))
        for place in (ours, theirs):
            place.ask()
        try:
            self._joined(theirs, ours, "send")
            how = "send"
        except Failed as failed:
            if failed.code in _PASSING:
                raise
            try:
                self._joined(ours, theirs, "give")
            except Failed as other:
                raise (other if other.code in _PASSING else failed) from other
            how = "give"
        return Straight(self, (old, ours), (new, theirs), how, stack)

    def _joined(self, listener: _Place, caller: _Place, how: str) -> None:
        port = self.port or secrets.choice(PORTS)
        listener.listen(port, _COMMANDS[how].format(listener.directory), caller.key)
        try:
            caller.call(port, listener)
        finally:
            with contextlib.suppress(Failed):
                listener.hush()


class _Place:
    """One machine's directory, and what is done in it as the account that logs in."""

    def __init__(self, host: ReachedBySsh, name: str) -> None:
        self.host, self.name = host, name
        self.login = host.by_login()
        self.directory = self.user = self.key = self.sshd = ""
        self.addresses: list[str] = []

    def ask(self) -> None:
        """Wait until it is there.  Raises Failed when it could not be made, or when the account
        that works on the tree cannot use it."""
        told = self._run(text.ASK, self.name).decode().splitlines()
        self.directory, self.user, self.key, self.sshd = told[:4]
        usable = dict.fromkeys(one for one in told[4:] if one and not one.startswith("fe80"))
        self.addresses = sorted(usable, key=only_here)[:ADDRESSES]
        self.host.run(("test", "-w", f"{self.directory}/data"))

    def listen(self, port: int, command: str, key: str) -> None:
        """Let one key in, at one port, for one command."""
        if self.sshd == "none" or not self.addresses:
            what = f"{self.host.name} has no sshd, or no address, to be reached at"
            raise Failed("command-failed", what)
        words = (self.directory, str(port), command, key, self.sshd)
        self._run(text.LISTEN, *words, *self.addresses)

    def call(self, port: int, other: _Place) -> None:
        """Connect to where the other one listens."""
        words = (self.directory, str(port), other.user, other.key)
        self._run(text.CALL, *words, *other.addresses)

    def hush(self) -> None:
        """Let nobody in any more."""
        self._run(text.HUSH, self.directory)

    def _run(self, order: str, *words: str) -> bytes:
        env = {"CALL_SECONDS": str(_CALL_SECONDS)} if order is text.CALL else None
        return self.login.run(("sh", "-c", order, "crossfade", *words), env=env).out


@dataclass
class Straight:
    """An open way.  ``how`` says whether the old machine sends, or gives when it is asked."""

    _ways: Straights
    _old: tuple[Host, _Place]
    _new: tuple[Host, _Place]
    how: str
    _stack: ExitStack

    def close(self) -> None:
        """End it and remove all that was made for it.  Twice is fine."""
        self._stack.close()

    def join(
        self, reader: Sequence[str], writer: Sequence[str], told: Callable[[int], None]
    ) -> None:
        """Run a command on either host, the output of one being the input of the other, and tell
        how many bytes have gone.  Raises Failed as ``Pump.join`` does; host-lost when the way was
        cut."""
        (old, ours), (new, theirs) = self._old, self._new
        give = text.SEND if self.how == "send" else text.GIVE
        out = ("sh", "-c", give, "crossfade", ours.directory, *reader)
        take = ("sh", "-c", text.RECEIVE[self.how], "crossfade", theirs.directory, *writer)
        both = Both(told)
        trouble: Failed | None = None
        with old.reading(out) as sends:
            try:
                with new.reading(take) as receives:
                    both.follow(sends, receives)
                    both.check()
            except Cut:
                self._ways.lost(old, new)
                what = f"The connection from {old.name} to {new.name} was cut."
                raise Failed("host-lost", what, where=f"{old.name} -> {new.name}") from None
            except Broken:
                pass  # the reason is what the other side says when its stream is left
            except Failed as failed:
                trouble = failed
            if trouble and not both.at_fault:
                raise trouble
        if trouble or not both.whole:
            what = f"What went from {old.name} to {new.name} did not arrive whole."
            raise trouble or Failed("host-lost", what, where=f"{old.name} -> {new.name}")


@contextlib.contextmanager
def _kept(place: _Place) -> Iterator[BinaryIO]:
    """The keeper of a directory: a stream that wants a byte now and then.  It is left as if all
    went well, for it has to clean up itself."""
    keeper = place.login.feeding(("sh", "-c", text.KEEP, "crossfade", place.name, str(_SILENCE)))
    stream = keeper.__enter__()
    try:
        yield stream
    finally:
        with contextlib.suppress(Failed, OSError):
            keeper.__exit__(None, None, None)


@contextlib.contextmanager
def _beating(keepers: Sequence[BinaryIO]) -> Iterator[None]:
    """Say a word to each every few seconds."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(_BEAT):
            for stream in keepers:
                with contextlib.suppress(OSError, ValueError):
                    stream.write(b".")
                    stream.flush()

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def only_here(address: str) -> bool:
    """Whether only the machine itself reaches an address."""
    return address.startswith("127.") or address == "::1"


def in_short(failed: Failed) -> str:
    """The last words of what failed."""
    lines = [line.strip() for line in (failed.where or "").splitlines() if line.strip()]
    return (lines[-1] if lines else failed.what)[-200:]


def straight_in_words(machine: str) -> str:
    """What the plan says of it."""
    return (
        f"while much is copied, a directory {_PREFIX}* on {machine}, in memory, with a key and the "
        "ssh that brings the data straight to the new machine; where only the new machine reaches "
        "the old one, an sshd of our own waits there for a moment"
    )
