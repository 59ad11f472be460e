"""No web server at all: users come to the application's own port, and the kernel leads new
connections from there to the gate, by a table of nftables that is ours alone.

Connections that stood before stay with the old side.  They are ended between two requests, so that
clients come again, through the gate.  The table does not outlive a restart of the machine.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from crossfade.drivers.fronts import _ruleset
from crossfade.drivers.fronts._asked import AskedFront
from crossfade.drivers.fronts._kept import end_past, wait_for
from crossfade.drivers.fronts.way import Way
from crossfade.drivers.listeners import listening_pids
from crossfade.drivers.procfs import command_of
from crossfade.errors import Failed, RecoveryFailed
from crossfade.manifest import FrontSpec
from crossfade.model import Address, Finding, Side
from crossfade.ports import Doing, FrontMemory, FrontPlan, Host

__all__ = ["RedirectFront"]

_LEAVES = 10.0
_NEEDED = (
    "Users reach it by the redirect and the gate, which both have to stay, and do not come back "
    "by themselves when the machine starts again."
)


class RedirectFront(AskedFront):
    """``ports.Front`` without a server: a redirect from the public address to the gate."""

    title = "the redirect"

    def __init__(
        self, spec: FrontSpec, way: Way, host: Host, directory: Path, memory: FrontMemory
    ) -> None:
        self.spec = spec
        assert spec.public  # noqa: S101 - the manifest's rules see to it
        self.public = spec.public
        self.name = f"the redirect of {spec.public}"
        self.way = way
        self.table = f"crossfade_{sha256(str(directory).encode()).hexdigest()[:10]}"
        self._memory = memory
        self._host = host

    def inserted_by(self) -> str:
        """Who asked for the insertion that stands; empty when none does."""
        return str(self._noted().get("by", ""))

    def plan(self) -> FrontPlan:
        """What ``insert`` would change; see the port."""
        self._must_be_owned()
        self._nft(self._leading(), "--check")
        now = self._rules()
        if now == "leads":
            return FrontPlan((), "")
        return FrontPlan(
            (f"nftables, table inet {self.table}",), self._leading(), tuple(self._warnings())
        )

    def plan_out(self, to: Side) -> FrontPlan:
        """What ``take_out`` would change; see the port."""
        if not self._rules():
            return FrontPlan((), "")
        self._must_listen(to)
        text = _ruleset.gone(self.table)
        self._nft(text, "--check")
        return FrontPlan((f"nftables, table inet {self.table}",), text)

    def insert(self, on: Doing, by: str) -> list[Finding]:
        """Lead new connections to the gate, and end those that stood before; see the port."""
        self._must_be_owned()
        answer = self.answer()
        self.gate_must_pass(answer)
        noted = self._noted()
        stood = noted.get("state") == "in"
        self._memory.note({"state": "in", "by": noted["by"] if stood else by})
        try:
            self.way.farewell(False)
            with on.timed("front files"):
                self._nft(self._leading())
            with on.timed("front reload"):
                back = self.read_back(True, answer)
            if not back.holds:
                raise Failed("front-unproven", f"{back.claim}: {back.observed}.", where=back.source)
        except BaseException as trouble:
            self._put_back(str(noted.get("state", "")), trouble)
            self._memory.note(noted or {"state": "out"})
            raise
        return [back, self._past(on)]

    def take_out(self, on: Doing, to: Side) -> list[Finding]:
        """Lead past the gate again; see the port.  A second call ends what still goes through."""
        if not self._noted() and not self._rules():
            return []
        self._must_listen(to)
        again = self._noted().get("state") == "leaving"
        try:
            answer: int | None = self.answer()
        except Failed:
            answer = None  # perhaps because the gate does not run: all the more is it to go
        before = self._rules()
        self._memory.note({**self._noted(), "state": "leaving"})
        try:
            with on.timed("front files"):
                if before:
                    self._nft(_ruleset.leaving(self.table))
            with on.timed("front reload"):
                back = self.read_back(False, answer)
            if not back.holds:
                raise Failed("front-unproven", f"{back.claim}: {back.observed}.", where=back.source)
        except BaseException as trouble:
            if before == "leads":
                self._put_back("in", trouble)
                self._memory.note({**self._noted(), "state": "in"})
            raise
        return [back, self._leave(on, again=again)]

    def renew(self) -> None:
        """The machine was started again, which took the redirect: put it back.  Raises Failed."""
        if self._noted().get("state") == "in" and self._rules() != "leads":
            self._nft(self._leading())

    # Looking.

    def _noted(self) -> Mapping[str, Any]:
        """What was noted of the insertion that stands; empty when none does."""
        noted = self._memory.last()
        return noted if noted.get("state") in ("in", "leaving") else {}

    def _leading(self) -> str:
        past = dict.fromkeys(map(_numeric, self.way.sides.values()))
        return _ruleset.leading(self.table, self.public, past, self.way.gate)

    def _rules(self) -> str:
        """``leads`` when our table leads to the gate, ``leaves`` when it is there and does not."""
        done = self._host.run(("nft", "list", "table", "inet", self.table), ok=(0, 1))
        if done.status:
            return ""
        return "leads" if b"redirect to" in done.out else "leaves"

    def _must_be_owned(self) -> None:
        """The old side alone listens at the public address; or nobody, where the redirect is what
        serves there since an earlier upgrade.  Raises Failed(redirect-foreign)."""
        public, own = listening_pids(self.public), listening_pids(self.way.old)
        if not public and self._noted():
            return
        if not public or public != own:
            raise Failed(
                "redirect-foreign",
                f"Not the old side alone listens at {self.public}: there is {_named(public)}, and"
                f" at {self.way.old} {_named(own)}.",
                where="traffic.front.redirect, old.address; the kernel's sockets",
                next="edit crossfade.yaml   (both are to be addresses of the old side)",
            )

    def _must_listen(self, to: Side) -> None:
        """Who listens at the public address is the side.  Raises Failed(redirect-needed)."""
        there = self.way.sides[to]
        public, own = listening_pids(self.public), listening_pids(there)
        if not public or not public & own:
            raise Failed(
                "redirect-needed",
                f"The {to} side does not listen at {self.public}: there is {_named(public)}, and "
                f"at {there} {_named(own)}.  {_NEEDED}",
                where=f"nftables, table inet {self.table}",
                next="crossfade gate remove   (once the side listens there as well)",
            )

    def _warnings(self) -> list[str]:
        """What only the operator can see to."""
        found = []
        done = self._host.run(("nft", "list", "ruleset"), ok=(0, 1))
        if b"hook input" in done.out:
            found.append(
                f"a firewall looks at what comes in: it has to let in port {self.way.gate.port}, "
                f"which redirected connections go to (nft: ct status dnat accept)"
            )
        own = self.way.old
        alone = own.host.startswith("127.") and own.host != "127.0.0.1"  # nobody's usual way
        if not alone and _covers(self.public, own):
            found.append(
                f"programs on this machine that connect to {self.way.old} go past the gate; they "
                f"are to use another address of this machine"
            )
        return found

    # Changing.

    def _nft(self, text: str, *more: str) -> None:
        """Let nft carry out a file, all of it or nothing.  Raises Failed."""
        try:
            self._host.run(("nft", *more, "--file", "-"), stdin=text.encode(), timeout=30.0)
        except Failed as failed:
            if failed.code == "command-missing":
                raise Failed(
                    "redirect-no-program",
                    "There is no nft on this machine, which sets the redirect.",
                    where=failed.where,
                    next="apt-get install nftables",
                ) from failed
            raise Failed(
                "redirect-refused",
                f"The kernel did not take our table {self.table}; this needs root's rights, and "
                "nftables with NAT.",
                where=failed.where,
                next="crossfade plan   (as root)",
            ) from failed

    def _put_back(self, state: str, trouble: BaseException) -> None:
        """The table as we found it."""
        found = {"in": self._leading(), "leaving": _ruleset.leaving(self.table)}
        try:
            self._nft(found.get(state, _ruleset.gone(self.table)))
        except Failed as second:
            raise RecoveryFailed(
                "front-not-put-back",
                f"After this failed: {trouble}  putting back failed too: {second}",
                where=f"nftables, table inet {self.table}\n{second.where}",
                now="The table may lead to the gate; the gate runs, and passes requests on.",
                next="crossfade gate remove",
            ) from second

    def _past(self, on: Doing) -> Finding:
        """End the connections that stood before we came between."""
        own = _numeric(self.way.old)
        ended, left, why = end_past(self.public.port, own)
        claim = "clients' connections that still go past the gate"
        seen = f"{left}; {ended} were ended between two requests{f'; {why}' if why else ''}"
        if left:
            on.tell(f"{claim}: {left} {why}; they end when the old side stops, at the latest")
        return Finding(claim, "none, if they come to rest", seen, "kernel", True)

    def _leave(self, on: Doing, *, again: bool) -> Finding:
        """Let clients leave the gate, and remove the table when they have: the kernel would else
        forget how their connections are led."""
        with suppress(Failed):  # a gate that does not run has no connections
            left = wait_for(lambda: self.way.farewell(True), _LEAVES)
            if left and not again:
                on.tell(
                    f"{left} connections still go through the gate; next: crossfade gate remove"
                )
                what = f"empty, for {left} connections that still go through the gate"
                return Finding(f"our table {self.table}", "removed, or empty", what, "nft", True)
        self._nft(_ruleset.gone(self.table))
        self._memory.note({"state": "out"})
        there = self._rules()
        return Finding(f"our table {self.table}", "removed", there or "removed", "nft", not there)


def _named(pids: set[int]) -> str:
    names = (f"pid {pid} ({' '.join(command_of(pid))[:80]})" for pid in sorted(pids))
    return ", ".join(names) or "nobody"


def _numeric(address: Address) -> Address:
    """The same with a number for a name."""
    with suppress(OSError):
        found = socket.getaddrinfo(address.host, None, type=socket.SOCK_STREAM)
        return Address(str(found[0][4][0]), address.port)
    return address


def _unspecified(host: str) -> bool:
    return host in ("0.0.0.0", "::")  # noqa: S104 - recognised, not bound


def _covers(public: Address, own: Address) -> bool:
    return public.port == own.port and (_unspecified(public.host) or public.host == own.host)
