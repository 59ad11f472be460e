"""Late comers: who still comes to the gate after the names in the DNS lead elsewhere.

Counted by the name that was asked for and the client's address, in a file beside the state, written
about once a second.  It is no part of the state: when it cannot be read nobody is counted, and
whoever asks is told so.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from crossfade.ports import Late

if TYPE_CHECKING:
    from crossfade.gateway.exchange import Exchange

__all__ = ["LateComers"]

MOST = 1000
"""So many pairs of name and address are told apart; further ones count as ``others``."""
OTHER = Late.OTHER
_SHOWN = 100
_log = logging.getLogger("crossfade.gateway")

Key = tuple[str, str]


class LateComers:
    """The table, kept at ``path``.  A pair has its count, and when it came first and last (wall
    clock).  since is since when they are counted; 0: they are not."""

    def __init__(self, path: Path | None = None) -> None:
        self.since = 0.0
        self._names: frozenset[str] = frozenset()
        self._path = path
        self._seen: dict[Key, tuple[int, float, float]] = {}
        self._dirty = False

    def load(self) -> None:
        """Take up what was kept."""
        if self._path is None or not self._path.exists():
            return
        try:
            data = json.loads(self._path.read_bytes())
            self._seen = {
                (str(name), str(address)): (int(count), float(first), float(last))
                for name, address, count, first, last in data["seen"]
            }
            self._names = frozenset(str(name) for name in data["names"])
            self.since = float(data["since"])
        except (OSError, ValueError, TypeError, KeyError) as error:
            _log.error("who came late is not known any more: %s", type(error).__name__)
            self._seen = {}

    def count(self, since: float, names: Sequence[str]) -> None:
        """Count from now on, forgetting who came before; 0 ends it.  Who asks for none of the
        names, if there are some, counts as one: machines that try every address must not fill the
        table.  Raises OSError."""
        wanted = sorted({name.lower() for name in names})
        self.write(json.dumps({"since": since, "names": wanted, "seen": []}).encode())
        self.since, self._names = since, frozenset(wanted)
        self._seen.clear()
        self._dirty = False

    def add(self, exchange: Exchange) -> None:
        """A request has come."""
        name, address = _who(exchange)
        if self._names and name not in self._names:
            name, address = OTHER, "-"
        self.came(name, address, exchange.arrived_at)

    def came(self, name: str, address: str, at: float) -> None:
        """Somebody has come, at this moment."""
        key = (name, address)
        if key not in self._seen and len(self._seen) >= MOST:
            key = ("others", "others")
        count, first, _ = self._seen.get(key, (0, at, 0.0))
        self._seen[key] = (count + 1, first, at)
        self._dirty = True

    def stays(self, name: str, address: str, at: float) -> None:
        """Somebody is still here, who came before."""
        if seen := self._seen.get((name, address)):
            self._seen[name, address] = (*seen[:2], at)
            self._dirty = True
        else:
            self.came(name, address, at)

    def as_json(self) -> list[Mapping[str, object]]:
        """Those who came last, the last first."""
        rows = sorted(self._seen.items(), key=lambda row: -row[1][2])[:_SHOWN]
        return [
            {"name": name, "address": address, "count": count, "first": first, "last": last}
            for (name, address), (count, first, last) in rows
        ]

    def text(self) -> bytes | None:
        """What is to be written; None when nothing has changed since it was last asked for."""
        if not self._dirty:
            return None
        self._dirty = False
        seen = [[*key, *row] for key, row in self._seen.items()]
        kept = {"since": self.since, "names": sorted(self._names), "seen": seen}
        return json.dumps(kept).encode()

    def write(self, text: bytes) -> None:
        """Keep it.  Raises OSError."""
        if self._path is None:
            return
        temporary = self._path.with_name(f"{self._path.name}.new")
        temporary.touch(mode=0o600)
        temporary.write_bytes(text)
        temporary.replace(self._path)


def _who(exchange: Exchange) -> Key:
    """The name without its port, and the client.  A proxy on this machine tells who its client is;
    nobody else is believed."""
    name, _, port = exchange.head.host.decode("ascii", "replace").lower().rpartition(":")
    if not name or not port.isdigit():
        name = exchange.head.host.decode("ascii", "replace").lower()
    peer = exchange.client.peer.decode("ascii", "replace") if exchange.client else "unknown"
    with suppress(ValueError):
        if exchange.head.via and ip_address(peer).is_loopback:
            told = exchange.head.via[-1].rpartition(b",")[2].strip().decode("ascii", "replace")
            peer = str(ip_address(told))
    return name or "-", peer
