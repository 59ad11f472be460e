"""Reachability: the gate reaches the new side's address, and the new side its databases.

That we reach the machines is shown by their answers, and that we reach the databases by the plan.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Final

from crossfade.model import Address, Finding
from crossfade.needs._asking import Question
from crossfade.needs._machines import About, Machine
from crossfade.needs._need import Need

__all__ = ["answered", "asked", "needs", "reached"]

_PATIENCE: Final = 3.0
_REFUSED: Final = "refused"

# $1 seconds, $2 host, $3 port.  bash and nc are the shell's usual ways; without them nobody asks.
_CONNECT: Final = r"""
if command -v bash >/dev/null; then
    timeout "$1" bash -c 'exec 3<>"/dev/tcp/$1/$2"' bash "$2" "$3"
elif command -v nc >/dev/null; then timeout "$1" nc -z "$2" "$3"
else echo unknown; exit
fi
echo $?
"""


def needs(about: About) -> list[Need]:
    """Whether this machine, where the gate is, reaches the new side's address.  A refusal is fine:
    nobody listens there yet.  Silence is not: a firewall would swallow the users' requests too."""
    if about.new.host.driver == "local":
        return []
    address = about.new.address
    why = reached(address, _PATIENCE)
    finding = Finding(
        f"the gate reaches {address}, where the new side will be",
        "an answer, or a refusal",
        why or "it does",
        "TCP from this machine",
        not why,
    )
    fix = f"nc -vz {address.host} {address.port}   (let it through the firewall between them)"
    return [Need("address-unreachable", finding, fix)]


def reached(address: Address, patience: float) -> str:
    """Why an address does not even refuse within some seconds; empty when it does."""
    why = answered(address, patience)
    return "" if why == _REFUSED else why


def answered(address: Address, patience: float) -> str:
    """Why nobody accepts a connection there within some seconds; empty when somebody does."""
    try:
        socket.create_connection((address.host, address.port), timeout=patience).close()
    except ConnectionRefusedError:
        return _REFUSED
    except TimeoutError:
        return f"silence for {patience:.0f} s"
    except OSError as error:
        return error.strerror or str(error)
    return ""


def asked(about: About, machine: Machine) -> Iterator[Question]:
    """Whether the new side's machine reaches the servers of its databases."""
    if not machine.new or machine.here or machine.contained:
        return  # from here the plan itself connects; a container has its own networks
    for name, there in machine.new.databases.items():
        yield _question(machine, name, there.address)


def _question(machine: Machine, name: str, at: Address) -> Question:
    words = (f"{_PATIENCE:.0f}", at.host, str(at.port))
    return Question(_CONNECT, words, lambda told: _judged(machine, name, at, told))


def _judged(machine: Machine, name: str, at: Address, told: str) -> list[Need]:
    status = told.strip()
    if status == "unknown":
        return []
    finding = Finding(
        f"{machine.name} reaches the server of database {name} at {at}",
        "it does",
        "it does" if status == "0" else "no connection",
        "TCP from there",
        status == "0",
    )
    fix = f"edit crossfade.yaml   (an address in new.databases.{name}.url that leads there)"
    return [Need("database-unreachable", finding, fix)]
