"""The holder: ``python -m crossfade.drivers.services.holder FILE``, a process of its own.

Stands between a program and its databases and lets the program start before they may be read.  It
has *doors*: each listens at an address and leads to a target.  A closed door accepts connections
and keeps them waiting: nothing is read from them, and nothing is opened to the target.  ``open``
lets the waiting ones and all later ones through, or sends them on (module ``sending_on``).

FILE (JSON, mode 0600) says which doors there are, whose program they are for and who started us; it
holds no secrets.  Commands come over a unix socket beside FILE: a JSON object a line, as is the
answer: ``{"do": "status"}``, ``{"do": "open", "door": name}`` (or ``give-up``, which closes it for
good), ``{"do": "stop"}``.

While a door is closed we depend on our starter: when it dies, or when the first has waited for
``at_most`` seconds, nobody waits any longer, and in the first case what was held is ended too.
Once all doors are open we depend on the program alone, and end when it has been gone for ``linger``
seconds.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import select
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossfade.drivers import procfs
from crossfade.drivers.services.doors import Door, log
from crossfade.drivers.services.relay import Loop
from crossfade.drivers.services.sending_on import SendingDoor

__all__ = ["HELD", "Plan", "main", "reach", "socket_of"]

HELD = "CROSSFADE_HELD"
"""In the environment of what waits at our doors, beside the service's mark."""
_TICK = 0.25
_LOOK_EVERY = 2.0
_LINE_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Plan:
    """What FILE says.  doors: name to (listen, target) as host:port; mark is (name, value) of the
    environment of every process of the program; tokens mark what is held; starter is (pid, start
    time); at_most and linger are seconds; sends_on names the doors of ``sending_on``."""

    doors: dict[str, tuple[str, str]]
    mark: tuple[str, str]
    tokens: tuple[str, ...]
    starter: tuple[int, str]
    at_most: float
    linger: float
    sends_on: tuple[str, ...] = ()

    @classmethod
    def load(cls, path: Path) -> Plan:
        """Read it.  Raises OSError or ValueError."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))


def socket_of(file: Path) -> Path:
    """Where the holder with this FILE takes commands."""
    return file.with_suffix(".sock")


@contextmanager
def reach(path: Path) -> Iterator[str]:
    """A name for a socket whose path may be longer than the kernel takes."""
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


class Holder:
    """All doors, the commands, and the reasons to end."""

    def __init__(self, plan: Plan, control: socket.socket) -> None:
        self.plan = plan
        self.loop = Loop()
        self.stopping = False
        self._calls: deque[Callable[[], None]] = deque()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.loop.watch(self._wake, select.EPOLLIN, self._called)
        self._control = control
        self._people: dict[int, str] = {}
        self._seen = self._looked = time.monotonic()
        self.doors = {
            name: (SendingDoor if name in plan.sends_on else Door)(self.loop, self.call, name, *at)
            for name, at in plan.doors.items()
        }
        control.listen(16)  # the last to come up: who gets an answer may rely on the doors
        self.loop.watch(control.fileno(), select.EPOLLIN, self._accept)

    def call(self, what: Callable[[], None]) -> None:
        """Have something done in the loop's thread; from any thread."""
        self._calls.append(what)
        os.eventfd_write(self._wake, 1)

    def _called(self, events: int) -> None:
        os.eventfd_read(self._wake)
        while self._calls:
            self._calls.popleft()()

    def _accept(self, events: int) -> None:
        with suppress(BlockingIOError):
            client, _ = self._control.accept()
            client.setblocking(False)
            got = bytearray()
            self.loop.watch(client.fileno(), select.EPOLLIN, lambda _: self._command(client, got))

    def _command(self, client: socket.socket, got: bytearray) -> None:
        try:
            data = client.recv(_LINE_BYTES)
        except OSError:
            data = b""
        got += data
        if not data or len(got) > _LINE_BYTES:
            self.loop.close(client)
            return
        while b"\n" in got:
            line, _, rest = bytes(got).partition(b"\n")
            got[:] = rest
            with suppress(OSError):
                client.send(json.dumps(self.answer(line)).encode() + b"\n")

    def answer(self, line: bytes) -> dict[str, object]:
        """Carry one command out; how all stands then, or the error."""
        try:
            request: dict[str, Any] = json.loads(line)
            match request["do"]:
                case "status":
                    pass
                case "open":
                    self.doors[request["door"]].open()
                case "give-up":
                    self.doors[request["door"]].give_up()
                case "stop":
                    self.stopping = True
                case unknown:
                    raise ValueError(f"there is no command {unknown!r}")
        except (ValueError, KeyError, TypeError) as error:
            return {"error": repr(error)}
        doors = {name: door.status() for name, door in self.doors.items()}
        return {"pid": os.getpid(), "doors": doors}

    def tick(self) -> None:
        """Whether there is still a reason to be here."""
        for door in self.doors.values():
            door.tick()
        states = {door.state for door in self.doors.values()}
        if "closed" in states and not self._starter_lives():
            log("our starter is gone: what was held is ended")
            self._end_held()
            self.stopping = True
        elif self._held_for() > self.plan.at_most:
            log(f"held for {self.plan.at_most} seconds: nobody waits any longer")
            for door in self.doors.values():
                door.give_up()
            self.stopping = "open" not in states
        elif "closed" not in states:
            self._look_for_people()

    def _held_for(self) -> float:
        """How long the longest has waited at a closed door, in seconds; below 0: nobody."""
        since = [door.since for door in self.doors.values() if door.state == "closed"]
        return time.monotonic() - min(since, default=float("inf"))

    def _starter_lives(self) -> bool:
        pid, started = self.plan.starter
        return procfs.start_time(pid) == started

    def _end_held(self) -> None:
        for _ in range(20):
            held = {pid for token in self.plan.tokens for pid in procfs.with_mark(HELD, token)}
            for pid in held:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if not held:
                return
            time.sleep(0.05)

    def _look_for_people(self) -> None:
        """End when the program is gone.  Looks at those known first, for a search is dear, and a
        program that hides its environment still counts while it has connections."""
        now = time.monotonic()
        if now - self._looked < _LOOK_EVERY:
            return
        self._looked = now
        known = any(procfs.start_time(pid) == at for pid, at in self._people.items())
        if not known and not any(door.pairs for door in self.doors.values()):
            found = procfs.with_mark(*self.plan.mark)
            self._people = {pid: procfs.start_time(pid) for pid in found}
            known = bool(found)
        if known or any(door.pairs for door in self.doors.values()):
            self._seen = now
        elif now - self._seen > self.plan.linger:
            log("the program is gone")
            self.stopping = True

    def run(self) -> None:
        """Serve until there is no reason left."""
        after = 0.0
        while not self.stopping:
            self.loop.turn(_TICK)
            if time.monotonic() > after:
                self.tick()
                after = time.monotonic() + _TICK


def _control(path: Path) -> socket.socket:
    """The socket for commands, not listening yet; never for a moment open to others."""
    path.unlink(missing_ok=True)
    control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        with reach(path) as short:
            control.bind(short)
    finally:
        os.umask(before)
    control.setblocking(False)
    return control


def main() -> int:
    """Run the holder of a FILE until it ends.  Returns 0, or 4 when it could not start."""
    file = Path(sys.argv[1]).absolute()
    os.chdir("/")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    path = socket_of(file)
    try:
        holder = Holder(Plan.load(file), _control(path))
    except (OSError, ValueError, TypeError) as error:
        log(f"the holder did not start: {error}")
        path.unlink(missing_ok=True)
        return 4

    def stop(*_: object) -> None:
        holder.stopping = True

    signal.signal(signal.SIGTERM, stop)
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    gc.collect()
    gc.freeze()
    try:
        holder.run()
    finally:
        path.unlink(missing_ok=True)
        file.unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
