"""HAProxy as the gate: a Lua action holds, two servers a side take the traffic, one file decides.

The Lua script (``haproxy.lua``) is put into an existing configuration by ``install`` and taken out
by ``leave``.  The state file is written first, and then HAProxy is asked to read it; so whatever is
restarted, goes by what was decided.  How the hold was chosen: the knowledge of traffic, section 2;
``set maxconn frontend`` kills HAProxy 2.6 (haproxy/haproxy#2726) and is never used.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from crossfade.drivers.traffic import _haproxy_watch as watcher
from crossfade.drivers.traffic._haproxy_edit import KINDS
from crossfade.drivers.traffic._haproxy_install import Installation
from crossfade.drivers.traffic._haproxy_socket import NotRunning, RuntimeSocket
from crossfade.drivers.traffic._haproxy_state import Decided, Hold, StateFile
from crossfade.errors import Failed, Refused
from crossfade.model import Address, Side
from crossfade.ports import PACE, RelayedPort, TrafficState, TrafficTraits

__all__ = ["HaproxyTraffic"]

_AGAIN = 0.06
"""Seconds between the two looks that end a drain; a process left behind shows itself within it."""
_POLL = 0.02
_UNDER_WAY = 0.1
"""Seconds for a request that has a server's name already to be on its way to that server."""
Live = Mapping[str, str]


class HaproxyTraffic:
    """The HAProxy on this machine, for one backend of its configuration.

    listen is where its clients connect, for people.  socket is its runtime socket (level admin),
    reload the command that reloads it, place a directory that HAProxy's user may read, below its
    chroot if it has one.  Nothing is kept in ``directory``."""

    traits = TrafficTraits(hold=True, exact_drain=True, settles_in=0.0)
    ports: tuple[RelayedPort, ...] = ()  # other ports are frontends of their own

    def __init__(
        self,
        listen: Address,
        directory: Path,
        *,
        backend: str,
        config: Path = Path("/etc/haproxy/haproxy.cfg"),
        socket: Path = Path("/run/haproxy/admin.sock"),
        reload: Sequence[str] = ("systemctl", "reload", "haproxy"),
        place: Path = Path("/var/lib/haproxy/crossfade"),
    ) -> None:
        self.listen = listen
        self.backend = backend
        self.place = place
        self._file = StateFile(place, backend)
        self._runtime = RuntimeSocket(socket)
        self._installation = Installation(backend, config, tuple(reload), place, self._runtime)

    def look(self) -> TrafficState | None:
        """How it stands; None when HAProxy does not run, or our part is not in it."""
        try:
            live = self._runtime.gate(self.backend)
            decided = self._file.read()
        except NotRunning:
            return None
        if decided is None or (live is None and not decided.left):
            return None
        return _state(decided, live)

    def install(self, targets: Mapping[Side, Address], *, act: bool) -> str:
        """What is changed in HAProxy's configuration, as a diff; with ``act`` it is done: checked,
        reloaded without loss, and proven.  Empty when it is there.  Raises Refused, Failed."""
        difference = self._installation.difference(targets)
        if act and (difference or not self._there()):
            self._installation.install(targets)
            self._change(lambda now: now)  # HAProxy reads what we write
            if self._live()["writable"] != "1":
                raise Failed(
                    "gate-state",
                    "HAProxy cannot write its counters.",
                    where=str(self._file.counts),
                )
        return difference

    def leave(self, side: Side, *, act: bool) -> str:
        """Take our part out, as ``install`` put it in; the backend then leads to ``side``."""
        now = self._file.read()
        if now is None or now.left:
            return ""
        state = self.look()
        if state is not None and state.held:
            raise Refused(
                "gate-held",
                "Requests are held; nothing is taken out now.",
                where=f"HAProxy, backend {self.backend}",
                next="crossfade status",
            )
        to = now.targets[side]
        difference = self._installation.without(to)
        if act:
            with self._file.locked():
                self._installation.remove(to)
                self._file.write(replace(now, side=side, left=True, serial=now.serial + 1))
                self._file.remove()
        return difference

    def ensure(self, targets: Mapping[Side, Address]) -> None:
        """Make sure that HAProxy knows both addresses; see the port.  It is not started from here.

        An address is first given to servers that nobody uses; then the sides take other names."""
        self._live()
        now = self._decided()
        if dict(now.targets) == dict(targets):
            return
        here = now.targets[now.side]
        side = next((s for s, address in targets.items() if address == here), now.side)
        if now.hold is not None:
            side = now.side
        order = (side, side.other)
        self._point(order[0], targets[order[0]])
        epoch = now.epoch + (side is not now.side)
        self._installation.retarget(targets)
        self._change(
            lambda now: replace(
                now,
                targets=dict(targets),
                side=side,
                epoch=epoch,
                drained=now.drained if side is now.side else None,
            )
        )
        time.sleep(_UNDER_WAY)
        self._point(order[1], targets[order[1]])

    def hold(
        self,
        *,
        lease: float,
        at_most: float,
        commit_to: Side,
        commit_token: Path,
        reads: bool = False,
    ) -> None:
        """Make requests wait; see the port.  Held already: renews the lease, takes the token.
        Never with ``reads``: its count of what is in flight does not tell reads from writes."""
        del reads
        token = commit_token.absolute()
        self._change(lambda now: now.held(lease, at_most, commit_to, token), held=True)
        watcher.start(self.place, self.backend, self._runtime.path)

    def renew(self, lease: float) -> None:
        """Renew the lease (seconds).  Raises Failed when the hold is over."""
        self._change(lambda now: now.renewed(self._needs(now, "gate-hold-over"), lease), held=True)
        watcher.start(self.place, self.backend, self._runtime.path)

    def drain(self, timeout: float) -> TrafficState:
        """Wait until no request is in flight.  Raises Failed after ``timeout`` seconds."""
        self._needs(self._decided(), "gate-refused")
        until = time.monotonic() + timeout
        while True:
            live = self._live()
            if live["held"] != "1":
                raise self._over()
            if live["in_flight"] == "0" and self._still(live):
                break
            if time.monotonic() >= until:
                count = live["in_flight"]
                if count == "0":
                    count = "some (of a process that a reload left behind)"
                raise Failed(
                    "gate-drain-timeout",
                    f"HAProxy at {self.listen} did not drain: after {timeout:g} s there are still "
                    f"{count} requests in flight ({live['waiting']} wait, "
                    f"{live['tunnels']} tunnels are open).",
                    where=f"backend {self.backend}, HAProxy's own count",
                )
            time.sleep(_POLL)
        live = self._change(lambda now: replace(now, drained=now.side), held=True)
        return _state(self._decided(), {**live, "in_flight": "0"})

    def switch(self, side: Side) -> None:
        """Point traffic at ``side``; only while held.  Fine when it goes there and is not held:
        then an earlier run has switched and released already."""
        live, now = self._live(), self._decided()
        if live["held"] != "1" and live["side"] == side.value:
            return
        self._needs(now, "gate-refused")
        self._change(lambda now: now.switched(side), held=True)

    def release(self, pace: int = PACE) -> None:
        """Let waiting requests go, at most ``pace`` in flight at once at first."""
        self._change(lambda now: now.released(pace))

    def record(self, path: Path | None) -> None:
        """HAProxy keeps its own log; no line is written for a request."""

    def count_late(self, since: float | None, names: Sequence[str] = ()) -> None:
        """Nobody is counted, as the traits say."""

    def stop(self) -> None:
        """HAProxy is not ours to stop.  Raises Refused."""
        raise Refused(
            "gate-not-ours",
            "HAProxy serves others too, so Crossfade does not stop it.",
            where=f"traffic, {self.listen}",
            next="crossfade gate remove",
        )

    def _there(self) -> bool:
        try:
            return self._runtime.gate(self.backend) is not None
        except NotRunning:
            return False

    def _live(self, what: str = "status") -> Live:
        """What our script in HAProxy says.  Raises Failed."""
        try:
            live = self._runtime.gate(self.backend, what)
        except NotRunning:
            raise Failed(
                "gate-unreachable",
                f"HAProxy at {self.listen} does not run, or has another socket.",
                where=f"traffic, {self._runtime.path}",
                next="systemctl status haproxy",
            ) from None
        if live is None:
            raise self._missing()
        return live

    def _missing(self) -> Failed:
        return Failed(
            "gate-not-installed",
            f"HAProxy runs, but what holds requests is not in it for the backend {self.backend}.",
            where=f"{self._installation.path}",
            next="crossfade gate install",
        )

    def _decided(self) -> Decided:
        """What was decided, with what HAProxy decided by itself since.  Raises Failed."""
        now = self._file.read()
        if now is None or now.left:
            raise self._missing()
        live = self._live()
        if now.hold is not None and live["held"] != "1":
            drained = None if live["drained"] == "-" else Side(live["drained"])
            side, epoch = Side(live["side"]), int(live["epoch"])
            now = replace(now, hold=None, side=side, epoch=epoch, drained=drained)
        return now

    def _change(self, change: Callable[[Decided], Decided], *, held: bool = False) -> Live:
        """Decide something: into the file first, then HAProxy reads it.  Raises Failed."""
        with self._file.locked():
            now = self._decided()
            then = replace(change(now), serial=now.serial + 1)
            self._file.write(then)
            live = self._live()
            if live["serial"] != str(then.serial):
                raise Failed(
                    "gate-state",
                    "HAProxy does not read its state file.",
                    where=f"{self._file.path}: its user needs the right to read it",
                )
            if held and live["held"] != "1":  # it ended between our look and our word
                self._file.write(replace(self._decided(), serial=then.serial + 1))
                raise self._over()
        return live

    def _needs(self, now: Decided, code: str) -> Hold:
        if now.hold is None:
            raise Failed(
                code,
                f"HAProxy at {self.listen} holds nothing; traffic goes to the {now.side} side.",
                where=f"backend {self.backend}",
            )
        return now.hold

    def _over(self) -> Failed:
        return Failed(
            "gate-hold-over",
            f"The hold of HAProxy at {self.listen} is over.",
            where=f"backend {self.backend}",
        )

    def _still(self, live: Live) -> bool:
        """Whether nothing is in flight at a second, exact look, also in no process that a reload
        left behind (see the script)."""
        mark = self._file.mark()
        time.sleep(_AGAIN)
        return self._live("exact")["in_flight"] == "0" and self._file.mark() == mark

    def _point(self, side: Side, to: Address) -> None:
        """Both servers of a side to an address; by number, for HAProxy resolves no names here."""
        try:
            host = str(socket.getaddrinfo(to.host, to.port)[0][4][0])
        except OSError:
            raise Failed(
                "gate-refused", f"The address {to} has no number.", where=f"the {side} side"
            ) from None
        for kind in KINDS:
            self._runtime.point(f"{self.backend}/crossfade_{side}{kind}", host, to.port)


def _state(decided: Decided, live: Live | None) -> TrafficState:
    if live is None:
        live = {"side": decided.side.value}
    return TrafficState(
        side=Side(live["side"]),
        held=live.get("held") == "1",
        in_flight=int(live.get("in_flight", 0)),
        waiting=int(live.get("waiting", 0)),
        tunnels=int(live.get("tunnels", 0)),
        total=int(live.get("total", 0)),
        failed=int(live.get("failed", 0)),
        served_after_drain=int(live.get("served_after_drain", 0)),
        writes_since_switch=int(live.get("writes_since_switch", 0)),
        lease_left=float(live.get("lease_left", 0)),
        targets=decided.targets,
    )
