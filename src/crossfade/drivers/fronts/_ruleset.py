"""Our own table of nftables, as text for ``nft -f``.  Nothing else of the ruleset is touched.

Only the first packet of a connection (SYN) is looked at: of one that stood before us conntrack
knows nothing, so its next packet would else be taken for a new connection, led to the gate, and
reset there.  A file for nft is one transaction: it holds as a whole or not at all.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from crossfade.model import Address

__all__ = ["gone", "leading", "leaving"]

_FIRST = "tcp flags & (fin | syn | rst | ack) == syn"
_EARLY = -101  # just before dstnat, where container engines have theirs


def leading(table: str, public: Address, past: Iterable[Address], gate: Address) -> str:
    """New connections to ``public`` go to the gate's port; those that are made on this machine to
    ``past``, the sides' own addresses, do not: Crossfade and the gate reach the sides there."""
    rule = f"{_to(public)} tcp dport {public.port} {_FIRST} redirect to :{gate.port}"
    ways = [f"{_at(own.host)} tcp dport {own.port} accept" for own in past]
    return _table(table, [f'iifname != "lo" {rule}'], [*ways, rule])


def leaving(table: str) -> str:
    """No new connection is led to the gate.  Those that were still are: the kernel goes on
    translating their addresses only while some rule needs to know connections."""
    stays = ["ct status dnat accept"]
    return _table(table, stays, stays)


def gone(table: str) -> str:
    """The table is not there, whether or not it was."""
    return f"table inet {table}\ndelete table inet {table}\n"


def _table(name: str, outside: list[str], here: list[str]) -> str:
    """Both chains: for connections from outside and for those that are made on this machine."""
    chains = ""
    for hook, rules in (("prerouting", outside), ("output", here)):
        lines = "".join(f"    {rule}\n" for rule in rules)
        head = f"    type nat hook {hook} priority {_EARLY}; policy accept;\n"
        chains += f"  chain {hook} {{\n{head}{lines}  }}\n"
    return f"{gone(name)}table inet {name} {{\n{chains}}}\n"


def _to(public: Address) -> str:
    """What matches the addresses that users connect to."""
    host = ipaddress.ip_address(public.host)
    if not host.is_unspecified:
        return _at(public.host)
    # a listener at :: takes both kinds
    only = "" if host.version == 6 else "meta nfproto ipv4 "
    return f"{only}fib daddr type local"


def _at(host: str) -> str:
    return f"{'ip6' if ipaddress.ip_address(host).version == 6 else 'ip'} daddr {host}"
