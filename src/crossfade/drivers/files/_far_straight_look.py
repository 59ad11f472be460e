"""Whether two machines see each other, found out before a way straight between them is opened.

The one tries to connect to the other, at the addresses and with the ssh that the way itself would
use.  A refusal is fine: nobody listens there until a copy begins.  Silence is a firewall's, and
nothing would come through it then.  Nothing is made on either machine, and nothing is changed.
"""

from __future__ import annotations

import re
import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from crossfade.drivers.files._far_straight import ADDRESSES, PORTS, in_short, only_here
from crossfade.errors import Failed
from crossfade.ports import Host, ReachedBySsh

__all__ = ["Sight", "look"]

_SECONDS: Final = 3
_BEGIN: Final = "LC_ALL=C; export LC_ALL; PATH=$PATH:/usr/sbin:/sbin\n"

_ASK: Final = (
    _BEGIN
    + r"""
for one in ssh ssh-keygen sshd; do command -v "$one" >/dev/null || echo "without $one"; done
{
    set -- $SSH_CONNECTION
    for one in "$3" $(hostname -I); do echo "at $one"; done
} 2>/dev/null
"""
)

# $1 a port, $2 seconds, then addresses, which are tried side by side.
_TRY: Final = (
    _BEGIN
    + r"""
port=$1; seconds=$2; shift 2
for one; do
    printf '%s\t%s\n' "$one" "$(
        ssh -F /dev/null -T -p "$port" -o BatchMode=yes -o ConnectTimeout="$seconds" \
            -o ConnectionAttempts=1 -o IdentitiesOnly=yes -o IdentityAgent=none \
            -o PreferredAuthentications=none -o StrictHostKeyChecking=yes \
            -o UserKnownHostsFile=/dev/null -o GlobalKnownHostsFile=/dev/null \
            -o ClearAllForwardings=yes -o LogLevel=ERROR -- "$one" true 2>&1 </dev/null |
            tail -n 1)" &
done
wait
"""
)
_NOT_CONNECTED: Final = re.compile(r"connect to (?:host|address) \S+ port \d+: (.*\S)")
_REFUSED: Final = "Connection refused"


@dataclass(frozen=True, slots=True)
class Sight:
    """reached is at which address of one machine the other arrives, in words, and empty when
    neither does; why is then the reason, and to and port where the old one tried in vain."""

    reached: str
    why: str = ""
    to: str = ""
    port: int = 0


@dataclass(frozen=True, slots=True)
class _End:
    host: ReachedBySsh
    login: ReachedBySsh
    without: frozenset[str]
    addresses: tuple[str, ...]


def look(old: Host, new: Host, port: int) -> Sight | None:
    """Whether a way straight from one to the other can be expected at ``port``, or at any (0).

    None where there is none to be looked for.  Raises nothing: a machine that cannot be asked is
    one that is not seen."""
    if old is new or not (isinstance(old, ReachedBySsh) and isinstance(new, ReachedBySsh)):
        return None
    try:
        with ThreadPoolExecutor(2) as pool:
            ours, theirs = pool.map(_asked, (old, new))
            tries = [pool.submit(_tried, *p, port) for p in ((ours, theirs), (theirs, ours))]
            there, back = (one.result() for one in tries)
    except Failed as failed:
        return Sight("", in_short(failed))
    return there if there.reached or not back.reached else back


def _asked(host: ReachedBySsh) -> _End:
    login = host.by_login()
    said = login.run(("sh", "-c", _ASK)).out.decode("utf-8", "replace").splitlines()
    told = [line.partition(" ")[::2] for line in said]
    without = frozenset(rest for word, rest in told if word == "without")
    usable = dict.fromkeys(
        rest for word, rest in told if word == "at" and rest and not rest.startswith("fe80")
    )
    return _End(host, login, without, tuple(sorted(usable, key=only_here)[:ADDRESSES]))


def _tried(caller: _End, listener: _End, port: int) -> Sight:
    """Whether one arrives at the other."""
    for end, wanted in ((caller, {"ssh", "ssh-keygen"}), (listener, {"sshd", "ssh-keygen"})):
        if lacks := sorted(wanted & end.without):
            return Sight("", f"{end.host.name} has no {' and no '.join(lacks)}")
    if not listener.addresses:
        return Sight("", f"{listener.host.name} says no address of its own")
    at = port or secrets.choice(PORTS)
    words = (str(at), str(_SECONDS), *listener.addresses)
    said = caller.login.run(("sh", "-c", _TRY, "crossfade", *words))
    found = dict(
        line.partition("\t")[::2] for line in said.out.decode("utf-8", "replace").splitlines()
    )
    why = ""
    for address in listener.addresses:
        problem = _problem(found.get(address, ""), at if port else 0, listener.host.name)
        if not problem:
            return Sight(f"{caller.host.name} reaches {listener.host.name} at {address}")
        why = why or f"{caller.host.name} to {address}: {problem}"
    return Sight("", why, listener.addresses[0], at)


def _problem(said: str, port: int, name: str) -> str:
    """What ssh's last line says against it; empty for nothing.  An answer at a port that was given
    (not 0) is somebody's who listens there already."""
    if failed := _NOT_CONNECTED.search(said):
        return "" if failed[1] == _REFUSED else failed[1]
    return f"somebody listens at port {port} of {name}" if port else ""
