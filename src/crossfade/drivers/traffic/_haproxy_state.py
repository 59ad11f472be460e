"""What is decided for one backend of HAProxy, in the one file that HAProxy's Lua script reads.

Written whole, synchronised and renamed, under a lock; so a proxy that is restarted or reloaded, and
one that an older reload left behind, goes by what holds.  Nothing in it is secret: HAProxy's user
reads it.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import quote, unquote
from uuid import uuid4

from crossfade.errors import Failed
from crossfade.model import Address, Side
from crossfade.ports import PACE

__all__ = ["Decided", "Hold", "StateFile"]


@dataclass(frozen=True, slots=True)
class Hold:
    """New requests wait.  Times are seconds; those with ``until`` of the wall clock, which counts
    only when HAProxy starts: then no more than lease and cap is left, whatever the clock says.

    decided: the token was seen, so that commit_to serves when the hold ends by itself."""

    name: str
    lease: float
    lease_until: float
    cap: float
    cap_until: float
    commit_to: Side
    token: Path
    decided: bool = False


@dataclass(frozen=True, slots=True)
class Decided:
    """Everything that was decided.  drained is the side that was drained last and did not get the
    traffic back since.  left: our part was taken out of HAProxy, which leads to ``side``."""

    serial: int = 0
    side: Side = Side.OLD
    epoch: int = 0
    drained: Side | None = None
    targets: Mapping[Side, Address] = field(default_factory=dict)
    pace: int = PACE
    left: bool = False
    hold: Hold | None = None

    def held(self, lease: float, at_most: float, commit_to: Side, token: Path) -> Decided:
        """With a hold.  An existing one is renewed and gets the new token; its cap stays."""
        now = time.time()
        old = self.hold
        cap, cap_until = (old.cap, old.cap_until) if old else (at_most, now + at_most)
        name = old.name if old else uuid4().hex
        hold = Hold(name, lease, now + lease, cap, cap_until, commit_to, token)
        return replace(self, hold=hold)

    def renewed(self, hold: Hold, lease: float) -> Decided:
        """With the lease ending ``lease`` seconds from now."""
        return replace(self, hold=replace(hold, lease=lease, lease_until=time.time() + lease))

    def switched(self, side: Side) -> Decided:
        """With traffic going to ``side`` from the release on."""
        drained = None if self.drained is side else self.drained
        return replace(self, side=side, epoch=self.epoch + 1, drained=drained)

    def released(self, pace: int) -> Decided:
        """Without a hold.  A side that gets the traffic back is not a drained one any more."""
        drained = None if self.drained is self.side else self.drained
        return replace(self, hold=None, pace=pace, drained=drained)

    def text(self) -> str:
        """As the file has it: a word and its value a line, ``end 1`` last."""
        hold = self.hold
        lines = {
            "serial": self.serial,
            "side": self.side.value,
            "epoch": self.epoch,
            "drained": self.drained.value if self.drained else "-",
            **{f"target_{side.value}": str(self.targets[side]) for side in self.targets},
            "pace": self.pace,
            "left": int(self.left),
            "held": int(hold is not None),
        }
        if hold is not None:
            lines |= {
                "hold": hold.name,
                "lease": f"{hold.lease:.3f}",
                "lease_until": f"{hold.lease_until:.3f}",
                "cap": f"{hold.cap:.3f}",
                "cap_until": f"{hold.cap_until:.3f}",
                "commit_to": hold.commit_to.value,
                "decided": int(hold.decided),
                "token": quote(str(hold.token)),
            }
        return "".join(f"{key} {value}\n" for key, value in lines.items()) + "end 1\n"

    @classmethod
    def parse(cls, text: str) -> Decided:
        """The opposite of ``text``.  Raises ValueError or KeyError."""
        read = dict(line.split(" ", 1) for line in text.splitlines())
        if read.get("end") != "1":
            raise ValueError("its end is missing")
        hold = None
        if read["held"] == "1":
            hold = Hold(
                read["hold"],
                float(read["lease"]),
                float(read["lease_until"]),
                float(read["cap"]),
                float(read["cap_until"]),
                Side(read["commit_to"]),
                Path(unquote(read["token"])),
                read["decided"] == "1",
            )
        return cls(
            serial=int(read["serial"]),
            side=Side(read["side"]),
            epoch=int(read["epoch"]),
            drained=None if read["drained"] == "-" else Side(read["drained"]),
            targets={side: Address.parse(read[f"target_{side.value}"]) for side in Side},
            pace=int(read["pace"]),
            left=read["left"] == "1",
            hold=hold,
        )


class StateFile:
    """``<backend>.state`` in the directory that HAProxy reads, and what lies beside it."""

    def __init__(self, directory: Path, backend: str) -> None:
        self.path = directory / f"{backend}.state"
        self.counts = directory / f"{backend}.counts"
        self.script = directory / f"{backend}.lua"
        self.watching = directory / f"{backend}.watching"
        self._lock = directory / f"{backend}.lock"

    def read(self) -> Decided | None:
        """What it says; None when there is none.  Raises Failed."""
        try:
            return Decided.parse(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except OSError as error:
            what = f"HAProxy's state file cannot be read: {error.strerror}."
        except (ValueError, KeyError) as error:
            what = (
                f"HAProxy's state file is damaged ({error}); Crossfade does not guess who serves."
            )
        raise Failed("gate-state", what, where=str(self.path))

    def write(self, decided: Decided) -> None:
        """Make it durable.  Raises Failed."""
        partial = self.path.with_name(self.path.name + ".new")
        try:
            fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
            with os.fdopen(fd, "wb") as file:
                os.fchmod(fd, 0o644)  # whatever the umask: HAProxy's user reads it
                file.write(decided.text().encode())
                file.flush()
                os.fsync(fd)
            partial.replace(self.path)
            directory = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        except OSError as error:
            raise Failed(
                "gate-state",
                f"HAProxy's state file cannot be written: {error.strerror}.",
                where=str(self.path),
            ) from None

    def mark(self) -> bytes:
        """What changes while requests of a process that a reload left behind are in flight."""
        try:
            return self.counts.read_bytes()[80:96]
        except OSError:
            return b""

    def remove(self) -> None:
        """Remove all but the state, which says that nothing of ours is in HAProxy any more."""
        for path in (self.counts, self.script, self.watching):
            with suppress(FileNotFoundError):
                path.unlink()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One change at a time, also of several processes.  Raises Failed."""
        try:
            fd = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Failed(
                "gate-state",
                f"HAProxy's state cannot be changed: {error.strerror}.",
                where=str(self._lock),
            ) from None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)
