"""Rights: root's, where a driver needs them, and places that can be written or made."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from crossfade.manifest import SideSpec
from crossfade.model import Finding
from crossfade.needs._asking import Question
from crossfade.needs._machines import About, Machine
from crossfade.needs._need import Need

__all__ = ["asked"]

_UNITS: Final = Path("/etc/systemd/system")

# The directory that holds it is what counts: what stands there is replaced as a whole.  Of what is
# not there, that is the nearest one that is.
_WRITABLE: Final = r"""
for p; do
    case $p in */*) p=${p%/*};; *) p=.;; esac
    p=${p:-/}
    while ! [ -e "$p" ]; do p=${p%/*}; p=${p:-/}; done
    if ! [ -d "$p" ]; then echo 'a file is in its way'
    elif ! [ -w "$p" ] || ! [ -x "$p" ]; then echo "we may not write to what holds it"
    else echo
    fi
done
"""


def asked(about: About, machine: Machine) -> Iterator[Question]:
    """Root's rights, the new side's places, and that of the kept backup."""
    why = [f"to start and stop {s.service.unit}" for _, s in machine.sides if _systemd(s)]
    install = about.manifest.recipe.install.driver
    if machine.new and install == "apt" and not machine.contained:
        why.append("to install packages")
    if why:
        yield Question("id -u", (), lambda told: [_root(machine, why, told.strip())])
    places = list[Path]()
    if machine.new and not machine.contained:
        new = machine.new
        places = [new.root, new.config, new.data]
        if _systemd(new):
            places.append(_UNITS / new.service.unit)
    if about.keeps_elsewhere and machine.spec == about.manifest.backup.host:
        places.append(about.manifest.backup.place / "one")
    if places:
        distinct = list(dict.fromkeys(places))
        yield Question(
            _WRITABLE,
            [str(place) for place in distinct],
            lambda told: [
                _place(machine, place, seen)
                for place, seen in zip(distinct, told.splitlines(), strict=True)
            ],
        )


def _systemd(side: SideSpec) -> bool:
    return side.service.driver == "systemd"


def _root(machine: Machine, why: list[str], uid: str) -> Need:
    seen = "we are root" if uid == "0" else f"we are the account with the number {uid}"
    claim = f"we have root's rights on {machine.name}, {' and '.join(dict.fromkeys(why))}"
    finding = Finding(claim, "we are root", seen, "id -u", uid == "0")
    fix = "edit crossfade.yaml   (host: {ssh: …, sudo: true}, or log in there as root)"
    return Need("root-needed", finding, "sudo crossfade doctor" if machine.here else fix)


def _place(machine: Machine, place: Path, seen: str) -> Need:
    claim = f"{place} on {machine.name} can be made and removed"
    finding = Finding(claim, "it can", seen or "it can", "test -w", not seen)
    look = machine.fix("ls", "-ld", str(place.parent))
    return Need("place-unwritable", finding, f"{look}   (mend its rights, or name another place)")
