"""How data will go between two machines: straight, or through this one.

Only told, for either is right: through this machine it takes this machine's line.
"""

from __future__ import annotations

from crossfade.drivers.files._far_straight_look import Sight, look
from crossfade.model import Finding, Side
from crossfade.needs._machines import About, Machine
from crossfade.needs._need import Need

__all__ = ["needs"]


def needs(about: About) -> list[Need]:
    """Whether the machines of old and new side see each other, where trees would go straight."""
    sides = {side: machine for machine in about.machines() for side, _ in machine.sides}
    old, new = sides[Side.OLD], sides[Side.NEW]
    if about.straight is None or old is new:
        return []
    sight = look(old.host, new.host, about.straight)
    if sight is None:
        return []
    finding = Finding(
        f"large trees of files from {old.name} to {new.name}",
        "data flows straight from old to new",
        f"data flows straight from old to new ({sight.reached})"
        if sight.reached
        else "old and new do not see each other; data flows through this machine "
        f"({sight.why or 'no reason was given'})",
        "ssh from one to the other",
        bool(sight.reached),
    )
    fix = "" if sight.reached else _fix(about.straight, sight, old, new)
    return [Need("machines-apart", finding, fix, stops=False, notice=True)]


def _fix(port: int, sight: Sight, old: Machine, new: Machine) -> str:
    """What makes them see each other; or what says that it is meant so."""
    meant = "or say that it is meant so: copy: {straight: false}"
    if not sight.to:
        lacks = old if sight.why.startswith(f"{old.host.name} ") else new
        return f"{lacks.install('openssh-server')}   ({meant})"
    if port:
        let = f"let {old.name} through the firewall to {new.name}, port {port}"
        return f"{old.fix('nc', '-vz', sight.to, str(port))}   ({let}; {meant})"
    let = f"or another at which the firewall lets {old.name} through to {new.name}"
    return f"edit crossfade.yaml   (copy: {{port: 22022}}, {let}; {meant})"
