"""Ask apt and dpkg of a host: what is installed, what would be done, and do it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from crossfade.drivers.installs._deeds import run
from crossfade.errors import Failed
from crossfade.ports import Host

__all__ = ["Change", "Plan", "change", "installed", "simulate"]

_ENVIRONMENT: Final = {
    "LC_ALL": "C",
    "DEBIAN_FRONTEND": "noninteractive",
    "NEEDRESTART_SUSPEND": "1",
    "APT_LISTCHANGES_FRONTEND": "none",
}
_WAIT: Final = ("-o", "DPkg::Lock::Timeout=120")
_ONLY: Final = (
    *("--no-install-recommends", "--no-auto-remove", "-o", "APT::Keep-Downloaded-Packages=false"),
    *("-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold"),
)
_LINE: Final = re.compile(r"^Inst (\S+)(?: \[([^\]]*)\])? \((\S+)", re.MULTILINE)
_GONE: Final = re.compile(r"^(?:Remv|Purg) (\S+)", re.MULTILINE)
_DOWN: Final = re.compile(
    r"^The following packages will be DOWNGRADED:\n((?: .*\n)+)", re.MULTILINE
)
_UNFINISHED: Final = re.compile(r"^Conf ", re.MULTILINE)
_UNKNOWN: Final = re.compile(
    r"^E: ((?:Unable to locate package|Version '.*' for '.*' was not found"
    r"|Package '.*' has no installation candidate|Couldn't find any package).*)$",
    re.MULTILINE,
)

# Services of new packages are not started: two of one application would work at once.  A policy of
# the machine's own is left alone; it may allow what it likes.  The mark tells one that a killed run
# of ours left behind.
_QUIETLY: Final = """
policy=/usr/sbin/policy-rc.d
mark='# crossfade: no service starts while it installs'
if [ ! -e "$policy" ] || grep -qxF "$mark" "$policy"; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 1' HUP INT PIPE TERM
    printf '#!/bin/sh\\n%s\\nexit 101\\n' "$mark" >"$policy" && chmod 755 "$policy" || exit
fi
"$@"
"""


@dataclass(frozen=True, slots=True)
class Change:
    """A package that gets a version; before is empty for one that is new."""

    name: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What apt would do.  unknown is its sentence about a package that it does not know."""

    changes: tuple[Change, ...] = ()
    removed: tuple[str, ...] = ()
    downgraded: tuple[str, ...] = ()
    unfinished: bool = False
    unknown: str = ""


def installed(host: Host, names: Sequence[str]) -> dict[str, str]:
    """Those of the packages that are wholly installed, with their versions."""
    if not names:
        return {}
    form = "${db:Status-Status} ${binary:Package} ${Version}\\n"
    argv = ("dpkg-query", "--show", f"--showformat={form}", "--", *names)
    told = run(host, argv, env=_ENVIRONMENT, timeout=60, ok=(0, 1)).out.decode()
    found = {}
    for line in told.splitlines():
        status, name, version = line.split(" ")
        if status == "installed":
            found[name if name in names else name.partition(":")[0]] = version
    return found


def simulate(host: Host, packages: Sequence[str], *, deed: str = "install") -> Plan:
    """What apt would do; its lists are fetched anew only when it does not know a package."""
    plan = _simulated(host, packages, deed)
    if plan.unknown:
        run(host, ("apt-get", "update", "--quiet=2", *_WAIT), env=_ENVIRONMENT)
        plan = _simulated(host, packages, deed)
    return plan


def _simulated(host: Host, packages: Sequence[str], deed: str) -> Plan:
    argv = ("apt-get", deed, "--simulate", *_ONLY, *_WAIT, "--", *packages)
    done = run(host, argv, env=_ENVIRONMENT, timeout=300, ok=(0, 100))
    told = done.out.decode(errors="replace")
    if done.status:
        errors = done.err.decode(errors="replace")
        found = _UNKNOWN.search(errors)
        if not found:
            last = "\n".join(errors.strip().splitlines()[-8:])
            what = "apt finds no way to do that without touching other packages."
            raise Failed("packages-conflict", what, where=f"apt-get {deed}\n{last}")
        return Plan(unknown=f"apt says: {found[1].rstrip('.')}.")
    down = _DOWN.search(told)
    return Plan(
        tuple(Change(*each) for each in _LINE.findall(told)),
        tuple(_GONE.findall(told)),
        tuple(down[1].split()) if down else (),
        bool(_UNFINISHED.search(told)),
    )


def change(host: Host, deed: str, packages: Sequence[str]) -> None:
    """Let apt do it; it removes nothing on its own, and starts no service."""
    keep = ("--no-remove",) if deed == "install" else ()
    argv = ("apt-get", deed, "--yes", "--quiet=2", *keep, *_ONLY, *_WAIT, "--", *packages)
    run(host, ("sh", "-c", _QUIETLY, "sh", *argv), env=_ENVIRONMENT)
