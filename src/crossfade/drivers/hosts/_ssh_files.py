"""Work on far files: the shell text of each deed, and how its answers are read.

In each text the variable p is the path, token is new for every attempt, and earlier has the tokens
of the attempts before, which a cut link ended.
"""

from __future__ import annotations

import ipaddress
from typing import Final, Literal

from crossfade.drivers.listeners import IPAddress, inodes_at, sockets
from crossfade.model import Address

__all__ = [
    "DEVICE",
    "EXISTS",
    "FREE",
    "LONGEST",
    "MAKE_DIRECTORY",
    "MISSING_TOOLS",
    "NOTHING_THERE",
    "OWNERS",
    "READ",
    "REMOVE",
    "SOCKETS",
    "WRITE",
    "first_owner",
    "in_the_way",
    "is_full",
    "reason",
]

LONGEST: Final = 3600.0
"""Seconds that a deed may take: only what hangs takes longer."""

NOTHING_THERE: Final = ("No such file or directory", "Not a directory")
_FULL: Final = (b"No space left on device", b"Disk quota exceeded")

_TOOLS: Final = (
    "cat chmod chown find grep head id mkdir mv od rm stat sync timeout wc sed sha256sum tar xargs"
)

MISSING_TOOLS: Final = (
    f'for i in {_TOOLS}; do command -v "$i" >/dev/null || echo "$i"; done; '
    "mv -T --version >/dev/null 2>&1 || echo 'mv (of GNU)'; "
    "stat -f -c %a / >/dev/null 2>&1 || echo 'stat (of GNU)'"
)

READ: Final = 'exec cat -- "$p"'

EXISTS: Final = 'stat -c %F -- "$p" >/dev/null'

# The size is compared because a cut link looks like the end of the data; and only so much is read
# because the end of the data would have to wait for a packet of its own.
WRITE: Final = (
    'd=${p%/*}; d=${d:-/}; mkdir -p -- "$d" || exit; '
    'for i in $earlier; do rm -f -- "$d/.crossfade-$i"; done; t=$d/.crossfade-$token; '
    "trap 'rm -f -- \"$t\"' EXIT; trap 'exit 1' HUP INT PIPE TERM; set -C; "
    'head -c "$size" > "$t" || exit; '
    '[ "$(wc -c < "$t")" -eq "$size" ] || { echo "write: it did not arrive whole" >&2; exit 1; }; '
    'if [ -n "$owner" ]; then chown -- "$owner" "$t" || exit; fi; '
    'chmod -- "$mode" "$t" && sync -- "$t" && mv -fT -- "$t" "$p" && sync -- "$d"'
)

MAKE_DIRECTORY: Final = (
    '[ ! -d "$p" ] || exit 0; d=${p%/*}; mkdir -p -- "${d:-/}" || exit; '
    'mkdir -m "$mode" -- "$p" || [ -d "$p" ]'
)

# An ordinary user is let into directories of its own that shut it out.
REMOVE: Final = (
    'rm -rf -- "$p" 2>/dev/null || { if [ "$(id -u)" != 0 ]; then '
    'find "$p" -type d ! -perm -700 -exec chmod u+rwx {} \\; 2>/dev/null; fi; rm -rf -- "$p"; }'
)

_NEAREST: Final = (
    'while ! [ -e "$p" ]; do case $p in */*) p=${p%/*}; p=${p:-/};; *) p=.;; esac; done; '
)
FREE: Final = _NEAREST + "stat -f -c '%a %S' -- \"$p\""
DEVICE: Final = _NEAREST + 'stat -c %d -- "$p"'

SOCKETS: Final = (
    "printf '\\001\\000' | od -An -tu2; getent ahosts \"$host\" || :; echo tables; "
    "cat /proc/net/tcp /proc/net/tcp6 2>/dev/null || :"
)

OWNERS: Final = (
    'for i in $inodes; do find /proc/[0-9]*/fd -lname "socket:\\[$i\\]" 2>/dev/null; done | '
    'while IFS=/ read -r _ _ i _; do printf \'%s \' "$i"; cat "/proc/$i/comm"; done'
)


def reason(errors: bytes) -> str:
    """The last words of a tool's errors: those of the system."""
    lines = errors.decode(errors="replace").strip().splitlines()
    return lines[-1].rpartition(": ")[2] if lines else "the far shell was ended"


def is_full(errors: bytes) -> bool:
    """Whether a tool failed because the disk is full."""
    return any(words in errors for words in _FULL)


def in_the_way(address: Address, answer: str) -> set[str]:
    """The far sockets that listen at an address, from the answer to ``SOCKETS``."""
    head, _, tables = answer.partition("tables\n")
    order, *names = head.splitlines() or [""]
    byteorder: Literal["little", "big"] = "big" if order.strip() == "256" else "little"
    wanted = {one for line in (address.host, *names) for one in _addresses(line)}
    return inodes_at(address.port, wanted, sockets(tables, byteorder))


def _addresses(line: str) -> tuple[IPAddress, ...]:
    """The address that a line begins with, if it does."""
    try:
        return (ipaddress.ip_address((line.split() or [""])[0].partition("%")[0]),)
    except ValueError:
        return ()


def first_owner(answer: str) -> str:
    """``pid 12 (python)`` from the answer to ``OWNERS``; empty when nobody is to be seen."""
    found = []
    for line in answer.splitlines():
        pid, _, name = line.partition(" ")
        if pid.isdigit() and name:
            found.append((int(pid), name.strip()))
    return "pid {} ({})".format(*min(found)) if found else ""
