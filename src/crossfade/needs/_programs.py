"""Programs: what our commands on a machine run, with the package that brings it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from crossfade.model import Finding
from crossfade.needs._asking import Question
from crossfade.needs._machines import About, Machine
from crossfade.needs._need import Need

__all__ = ["asked", "version_of"]


@dataclass(frozen=True, slots=True)
class Tools:
    """A package of Debian, what we run of it (a | b: one of them will do), and the lowest version
    that does; shown is the program that tells its version, and gnu whose it has to be."""

    package: str
    programs: str
    least: tuple[int, ...] = ()
    shown: str = ""
    gnu: bool = False


_FILES: Final = (
    Tools(
        "coreutils",
        "cat chmod chown date head id mkdir mv od rm stat sync timeout wc",
        (8, 24),
        "stat",
        gnu=True,
    ),
    Tools("findutils", "find", (), "find", gnu=True),
    Tools("grep", "grep", (), "grep", gnu=True),
)
"""What every machine but this one needs: the hosts' own work on files."""

_TREES: Final = (
    # b2sum came with 8.26
    Tools(
        "coreutils", "b2sum cp cut dd rmdir sha256sum sort split touch", (8, 26), "stat", gnu=True
    ),
    Tools("findutils", "find xargs", (), "find", gnu=True),
    Tools("tar", "tar", (1, 27), "tar", gnu=True),  # --xattrs and --acls
    Tools("grep", "grep", (), "grep", gnu=True),
)
"""What both machines need when data goes from one to the other."""

_SYSTEMD: Final = (Tools("systemd", "systemctl journalctl", (230,), "systemctl"),)
_INSTALLS: Final = {
    "apt": (Tools("apt", "apt-get dpkg-query"),),
    "tarball": (Tools("tar", "tar"), Tools("gzip", "gzip")),
}
_REDIRECT: Final = (Tools("nftables", "nft"),)
_SSH: Final = (Tools("openssh-client", "ssh ssh-keygen"),)
_CLIENTS: Final = {
    "mysql": (
        Tools("mariadb-client", "mariadb-dump|mysqldump mariadb|mysql"),
        Tools("gzip", "gzip"),
    ),
}
"""What this machine needs for databases on servers; those of PostgreSQL have to be as new as its
server, which the plan looks at."""

# $1 a program that tells its version, or nothing; the others are programs, a|b for one of them.
_ASK: Final = r"""
if [ -n "$1" ]; then "$1" --version 2>&1 | head -n 1; else echo; fi
shift
for each; do
    IFS='|'; set -- $each; unset IFS
    for one; do command -v -- "$one" >/dev/null 2>&1 && continue 2; done
    printf '%s\n' "$each"
done
"""


def asked(about: About, machine: Machine) -> Iterator[Question]:
    """One question for each package."""
    for tools in _wanted(about, machine):
        yield _question(machine, tools)


def _wanted(about: About, machine: Machine) -> list[Tools]:
    """By the drivers of the sides that are on the machine."""
    recipe, wanted = about.manifest.recipe, list[Tools]()
    if not machine.here:
        wanted += _FILES
    has_backups = about.keeps_elsewhere and (
        machine.here or machine.spec == about.manifest.backup.host
    )
    if (about.wide and machine.sides) or has_backups:
        wanted += _TREES
    if any(side.service.driver == "systemd" for _, side in machine.sides):
        wanted += _SYSTEMD
    if machine.new and not (machine.contained or machine.here):
        wanted += _INSTALLS.get(recipe.install.driver, ())
    if machine.here and (front := about.manifest.traffic.front) and front.driver == "redirect":
        wanted += _REDIRECT
    if machine.here:
        sides = (about.old, about.new)
        if about.keeps_elsewhere or any(side.host.driver == "ssh" for side in sides):
            wanted += _SSH
        kinds = {there.kind for side in sides for there in side.databases.values()}
        wanted += [tools for kind in sorted(kinds) for tools in _CLIENTS.get(kind, ())]
    return _joined(wanted)


def _joined(wanted: list[Tools]) -> list[Tools]:
    """Each package once, with all that is wanted of it."""
    found: dict[str, Tools] = {}
    for one in wanted:
        known = found.get(one.package, one)
        programs = dict.fromkeys((*known.programs.split(), *one.programs.split()))
        found[one.package] = Tools(
            one.package,
            " ".join(programs),
            max(known.least, one.least),
            known.shown or one.shown,
            known.gnu or one.gnu,
        )
    return list(found.values())


def _question(machine: Machine, tools: Tools) -> Question:
    def judge(told: str) -> list[Need]:
        first, _, rest = told.partition("\n")
        missing = ", ".join(rest.split()).replace("|", " or ")
        seen = f"no {missing}" if missing else _too_old(tools, first)
        claim = f"{machine.name} has {tools.package}"
        if seen and tools.gnu:
            claim += " of GNU"
        finding = Finding(claim, _expected(tools), seen or "it has", "command -v", not seen)
        return [Need("host-lacks-tool", finding, machine.install(tools.package))]

    return Question(_ASK, (tools.shown, *tools.programs.split()), judge)


def _expected(tools: Tools) -> str:
    least = f", version {'.'.join(map(str, tools.least))} or newer" if tools.least else ""
    return f"{tools.programs.replace(' ', ', ').replace('|', ' or ')}{least}"


def _too_old(tools: Tools, said: str) -> str:
    """Why what tells its version so will not do; empty when it will."""
    if not tools.shown:
        return ""
    if tools.gnu and "(GNU " not in said and "(uutils " not in said:
        return f"{tools.shown} is another one: {said[:80]}"
    found = version_of(said)
    if tools.least and found and "(uutils " not in said and found < tools.least:
        return f"only version {'.'.join(map(str, found))}"
    return ""


def version_of(said: str) -> tuple[int, ...]:
    """The version in a line such as ``tar (GNU tar) 1.34`` or ``systemd 252 (252.39)``."""
    found = re.search(r"(?:\)|^systemd) v?(\d+(?:\.\d+)*)", said)
    return tuple(int(number) for number in found[1].split(".")) if found else ()
