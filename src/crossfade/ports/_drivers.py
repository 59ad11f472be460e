"""The parts of a side, and what stands in front of both: what drivers implement."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from crossfade.model import Address, Digest, Finding, Installation, Side
from crossfade.ports._relay import RelayedPort
from crossfade.ports._values import (
    Carrying,
    CopyReport,
    DatabaseTraits,
    Judgement,
    Kept,
    Progress,
    Rendering,
    TrafficState,
    TrafficTraits,
    WayBack,
)

__all__ = [
    "PACE",
    "Carrier",
    "Check",
    "Configuration",
    "Database",
    "DeadMan",
    "Doing",
    "Files",
    "Held",
    "Traffic",
]

PACE = 32
"""Requests that a release sends at once: below the least queue of connections that
applications usually have (Twisted's is 50).  ``haproxy.lua`` has it for holds that end alone."""


class Doing(Protocol):
    """What a carrier may use of the step that calls it; every Work is one."""

    def timed(self, name: str) -> AbstractContextManager[None]:
        """Measure a part of the step under this name, for predictions and the timeline."""

    def tell(self, text: str) -> None:
        """Progress for people."""

    def progress(self, what: str) -> AbstractContextManager[Progress]:
        """A bar for long work."""


class Held(Protocol):
    """A fence that holds: writes are refused (or wait) until it is closed.  Dies with the tool."""

    def close(self) -> None:
        """Lift the fence; fine when it is lifted, and after ``keep``."""

    def keep(self) -> None:
        """After the commit point: let the fence outlive us, without a moment in which it is open.

        Where a kind of database cannot do that, the fence ends with ``close`` as before."""


class Database(Protocol):
    """One database of one side.  Where it is was given when it was made: a file or an Endpoint."""

    name: str
    traits: DatabaseTraits

    def describe(self) -> str:
        """Kind, place and mode in a few words."""

    def version(self) -> str:
        """Version of the database program, or of the library for an embedded one."""

    def size(self) -> int:
        """Bytes, with everything that belongs to it."""

    def digest(self) -> Digest:
        """Rows and checksum of every table, and of the schema.  Does not change anything."""

    def sound(self) -> Finding:
        """The database's own integrity check, as far as it has one."""

    def position(self) -> str:
        """A cheap mark that changes with every committed write."""

    def fence(self) -> Held:
        """Refuse writes from everybody until closed.  The fence that holds already, if one does.

        Raises Failed if somebody still writes."""

    def prove_fence(self) -> Finding:
        """Try whether a writer would be refused right now."""

    def lift(self) -> None:
        """Remove a fence that was kept (``Held.keep``); fine when there is none."""

    def remove(self) -> None:
        """Remove it with everything that belongs to it (new side only); fine when it is gone."""

    def carrier(self, new: Any, directory: Path, tag: str) -> Carrier:
        """The means to carry this database to ``new``, another of the same kind.

        directory is the attempt's own place for files.  tag (``[a-z0-9_]``, at most 30 characters)
        is unique for this attempt; whatever is made on a server bears it in its name."""


class Carrier(Protocol):
    """How one database gets from the old side to the new one, by one strategy.

    The methods are called in this order; each may be called again after a crash, also from
    another process, and then looks first.  Findings that do not hold stop the run.
    ``on.timed`` names the parts that are measured.
    """

    name: str

    def preview(self) -> Carrying:
        """What would be done, by which strategy and why.  Changes nothing."""

    def keep(self, on: Doing, to: Path) -> Kept:
        """Step backup of a cutover, before ``back_up``: one file of the old database in use at one
        moment, in the directory ``to``; restored into a scratch database, compared, and that
        removed.  Raises Failed; what does not compare is a finding that does not hold."""

    def back_up(self, on: Doing) -> list[Finding]:
        """Step backup: a consistent copy of the old side in use; or the live feed begins."""

    def restore(self, on: Doing) -> list[Finding]:
        """Step restore: the copy stands on the new side and is proven equal to the old side's
        snapshot; a live feed follows closely from here on."""

    def bring_last(self, on: Doing, *, still: bool) -> list[Finding]:
        """The last changes, and the proof that both are equal.  Afterwards the new database is
        independent of the old one, and ready for the new version.

        ``still``: the old side is fenced, so all must be equal.  Else this is a rehearsal: the old
        side works on; do and measure the same, and leave out of the comparison what is in use."""

    def mark(self) -> str:
        """After the fence: a mark of the old database that changes with every write to it."""

    def begin_way_back(self) -> None:
        """The new version is healthy and not yet asked everything: begin with what
        ``keep_way_back`` will need, beside that.  Returns at once."""

    def keep_way_back(self, on: Doing) -> list[Finding]:
        """Before the commit point, the new version being healthy and nobody using it yet: make
        sure that every write from now on can be brought back to the old side (reverse feed)."""

    def after_commit(self, on: Doing) -> list[Finding]:
        """After the users are served again: start the reverse feed, remove the forward one's
        leavings on the old side, and record what the new side began with."""

    def way_back(self) -> WayBack:
        """What going back would cost now, as far as this database is concerned.  Cheap."""

    def bring_back(self, on: Doing, to: Path) -> tuple[list[Finding], int]:
        """Going back after the switch, the new side being stopped: every write of the new side to
        the old one; or, where that cannot be, the rows that only the new side has as files below
        ``to``.  Returns the findings and how many rows stay behind.  Ends with the old database
        free of our fence.  What the feed needs stands until ``let_go``: the hand-back may still be
        undone, and then the way back must not be lost."""

    def follow_back(self) -> list[Finding]:
        """A hand-back was undone: the reverse feed, if there was one, goes on."""

    def leavings(self) -> tuple[str, ...]:
        """What of this upgrade stands on either server now besides the data.  Changes nothing."""

    def let_go(self) -> list[Finding]:
        """Remove every trace of this upgrade from the old side, and every feed from the new one
        (going back, rollback, retire).  The new side's data stays.  Fine when nothing is there."""

    def retire(self, on: Doing, archive: Path) -> list[Finding]:
        """Step retire: archive the old database below ``archive`` where it is not among the old
        side's files, read the archive back, and only then remove the old database."""


class Files(Protocol):
    """One tree of files of one side (uploads, media, keys)."""

    name: str
    path: Path

    def size(self) -> tuple[int, int]:
        """Entries and bytes."""

    def copy_to(self, target: Files, progress: Progress | None = None) -> CopyReport:
        """Make ``target``, of the same kind, equal to this tree; only what differs is copied.  In
        use is fine."""

    def add_to(self, target: Files) -> CopyReport:
        """Copy what ``target``, of the same kind, lacks or has otherwise; the rest of it stays."""

    def belong_to(self, account: str) -> None:
        """Copies to this tree give everything in it to ``account``, as chown has it; what it
        belonged to in the other tree does not count, and is not compared."""

    def touches(self, size: int) -> tuple[str, ...]:
        """What a copy of this tree, of so many bytes, changes for a while on its machine, in words
        for the plan."""

    def here(self, path: Path) -> Files:
        """A tree of the same kind at a path of the machine that Crossfade runs on."""

    def digest(self) -> Digest:
        """Every entry with its kind, content, owner, mode, times, links and extended attributes."""

    def position(self) -> str:
        """A mark over names, sizes and times of all entries: changes with every usual write."""

    def remove(self) -> None:
        """Remove the tree (new side only); fine when it is gone."""


class Traffic(Protocol):
    """Whatever stands in front of the application and can hold."""

    traits: TrafficTraits
    listen: Address
    ports: tuple[RelayedPort, ...]

    def look(self) -> TrafficState | None:
        """How it stands; None when it does not run."""

    def ensure(self, targets: Mapping[Side, Address]) -> None:
        """Make sure that it runs and knows both addresses.  Never changes where traffic goes: an
        address that is the other side's now takes the side along."""

    def hold(
        self,
        *,
        lease: float,
        at_most: float,
        commit_to: Side,
        commit_token: Path,
        reads: bool = False,
    ) -> None:
        """Make requests wait.  The lease (seconds) must be renewed; no hold outlasts ``at_most``.

        With ``reads`` safe ones (GET, HEAD, OPTIONS; no upgrades) go on to the side meanwhile: only
        of a gate whose traits say that it can.  They end by a second call without it and another
        drain, before which no switch is possible.

        When the lease ends, requests go to ``commit_to`` if ``commit_token`` exists, else to the
        side that they went to before."""

    def renew(self, lease: float) -> None:
        """Renew the lease.  Raises Failed when the hold is over."""

    def drain(self, timeout: float) -> TrafficState:
        """Wait until no request is in flight.  Raises Failed after ``timeout`` seconds."""

    def switch(self, side: Side) -> None:
        """Point traffic at ``side``; only while held.  Closes pools, cuts tunnels."""

    def release(self, pace: int = PACE) -> None:
        """Let waiting requests go, at most ``pace`` in flight at once at first."""

    def record(self, path: Path | None) -> None:
        """Write a line for every request to ``path`` from now on; None ends it."""

    def install(self, targets: Mapping[Side, Address], *, act: bool) -> str:
        """What must be changed in what stands in front, so that it can hold, as a diff; with
        ``act`` it is done.  Empty when nothing is to be done.  Raises Refused, Failed."""

    def leave(self, side: Side, *, act: bool) -> str:
        """Take out what ``install`` put in; traffic then goes to ``side``, without any of us.  The
        same diff; empty when nothing of ours is in it.  Raises Refused, Failed."""

    def count_late(self, since: float | None, names: Sequence[str] = ()) -> None:
        """Count who comes, by name and address, from this moment on (wall clock); None ends it.
        Who asks for none of ``names``, if some are given, counts as one (``Late.OTHER``).  Only of
        a gate whose traits say that it can."""

    def stop(self) -> None:
        """End the gate's process.  Fine when it does not run."""


def not_taken(traffic: Traffic) -> dict[Address, str]:
    """Of its other ports those where it does not listen, each with why."""
    if not traffic.ports:
        return {}
    state = traffic.look()
    stand = {port.port: port.why for port in state.ports} if state else {}
    why = "the gate does not run" if state is None else "the gate was not told, or is an older one"
    found = {port.listen: stand.get(port, why) for port in traffic.ports}
    return {at: why for at, why in found.items() if why}


class Check(Protocol):
    """Something that is asked of a running application (or of an installed one)."""

    name: str

    def run(self) -> Finding:
        """Ask once, quickly.  Never raises for an application that fails: the finding says so."""


class Configuration(Protocol):
    """Carries the old side's custom configuration over."""

    def render(self, new: Installation, *, muted: bool = False) -> Rendering:
        """Read the old side's files and rewrite what must differ.  Changes nothing.

        muted: as a rehearsal has it, with what silences the application's effects."""

    def agrees(self, rehearsed: Installation, *, muted: bool) -> Finding:
        """The finding that the rehearsal's rendering and the cutover's, of the same files and
        decisions, differ by places and the rehearsal's mutes only."""

    def originals(self) -> Mapping[str, bytes]:
        """Every configuration file of the old side, by its path there.  Raises Failed."""

    def ask(self, settings: Iterable[Judgement]) -> Path:
        """Write the questions about settings down where a person can answer them; that file.  The
        answers that are there already stay."""

    def answer(
        self, settings: Iterable[Judgement], about: Judgement, choice: str, value: object = None
    ) -> None:
        """Write the answer about one of a rendering's settings down."""

    def take_back(self, settings: Iterable[Judgement], setting: str = "") -> list[str]:
        """Take the answers to a rendering's settings back that are called so; all of them for no
        name.  What they were about."""

    def active_effects(self, rendering: Rendering) -> tuple[str, ...]:
        """Side effects on the outside that the application, so configured, would have."""


class DeadMan(Protocol):
    """Starts a side again if nobody renews: the lease that outlives us.

    The token is one file.  Renaming it decides the race between us and the switch: exactly one of
    ``commit``, ``stand_down`` and the firing switch gets it.
    """

    def arm(self, revival: Sequence[tuple[str, ...]], lease: float) -> None:
        """Start the watching process with a new token.  When it fires it kills the runner if that
        still lives (one writer), then runs the revival's commands in order."""

    def renew(self, lease: float) -> bool:
        """Put the deadline off.  False when the token is gone."""

    def commit(self) -> bool:
        """Take the token for the commit point.  False when it fired first; True again later."""

    def stand_down(self) -> bool:
        """Take the token for going back.  False when it fired first (it revives by itself)."""

    def hand_over(self) -> None:
        """Let it fire now and go on trying, without killing us.  Fine when the token is gone."""

    def state(self) -> str:
        """One of: none, armed, committed, stood-down, fired."""

    @property
    def commit_token(self) -> Path:
        """The file that exists if, and only if, ``commit`` succeeded."""
