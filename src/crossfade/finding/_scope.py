"""What a look is given, and what is known of the places and names of an installation."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from crossfade.finding._mentions import Names
from crossfade.finding._nearest import Candidate
from crossfade.finding._rules import below, deep
from crossfade.finding._runtime import Process
from crossfade.finding._stock import Changes, Stock
from crossfade.finding._trees import Trees
from crossfade.model import Installation

__all__ = ["Running", "Scope", "bases", "names", "trees", "variables"]

_HERE = ("localhost", "127.0.0.1", "[::1]", "0.0.0.0", "*")  # noqa: S104 (as configuration says)


@dataclass(frozen=True, slots=True)
class Running:
    """What is known of the service: its unit, its process id, its account; each may be unknown."""

    unit: str = ""
    pid: int | None = None
    account: str = ""


@dataclass(frozen=True, slots=True)
class Scope:
    """What to look with.

    stocks are pristine trees by the directory that they are of; candidates texts that versions have
    shipped, by their path below a program's root; places more directories with configuration.
    public are names under which clients know it.  servers are kinds of database server (mysql,
    postgres) on the same machine, beyond those that are found.  key is for fingerprints; patience
    the seconds that one command may take.
    """

    stocks: Mapping[str, Stock | Changes] = field(default_factory=dict)
    candidates: Mapping[str, Sequence[Candidate]] = field(default_factory=dict)
    places: Sequence[str] = ()
    public: Sequence[str] = ()
    servers: Collection[str] = ()
    key: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    patience: float = 120.0


def trees(at: Installation, processes: Sequence[Process], home: str, scope: Scope) -> Trees:
    """The trees that belong to an installation: its program, Tomcat's, its configuration, and the
    home of its account."""
    programs = {str(at.root): "app"}
    for one in processes:
        environment = one.environment or {}
        told = [word.partition("=")[2] for word in one.argv if word.startswith("-Dcatalina.")]
        told += [environment.get(name, "") for name in ("CATALINA_BASE", "CATALINA_HOME")]
        for place in told:
            if place.startswith("/") and deep(place):
                programs[place.rstrip("/")] = "tomcat"
    programs |= {place: "app" for place in scope.stocks if place not in programs}
    configs: dict[str, str] = {}
    for place in (str(at.config), *scope.places):
        if place not in programs and not below(place, programs):
            configs[place] = "app"
    home = home.rstrip("/")
    if home and deep(home) and not below(home, (*programs, *configs)):
        configs[home] = "home"
    apart = [str(at.data)] if at.data not in (at.config, at.root) else []
    shallow = [place for place, of in configs.items() if of == "home" or place == str(at.data)]
    return Trees(programs, configs, apart, scope.stocks, scope.candidates, shallow)


def names(
    at: Installation,
    processes: Sequence[Process],
    units: Collection[str],
    hosts: Collection[str],
    account: str,
    scope: Scope,
) -> Names:
    """What files of the system may call the installation."""
    places = {str(at.root), str(at.config), str(at.data)}
    ports = {at.address.port, at.inside.port, *(port for o in processes for port in o.ports)}
    accounts = {one.account for one in processes} | {account}
    return Names(
        paths=sorted(place for place in places if deep(place)),
        units=units,
        ports=ports,
        hosts={*_HERE, at.address.host, at.inside.host, *hosts},
        public=scope.public,
        accounts=sorted(accounts - {"", "root", "nobody"}),
    )


def bases(at: Installation, processes: Sequence[Process]) -> list[str]:
    """Directories that relative names in configuration may start from."""
    found = [str(at.root), str(at.config), *(one.cwd for one in processes)]
    return list(dict.fromkeys(one for one in found if one and deep(one)))


def variables(at: Installation, processes: Sequence[Process], home: str) -> dict[str, str]:
    """Paths that variables and Java's properties stand for in configuration."""
    found = {"HOME": home} if home else {}
    for one in processes:
        found |= {
            name: value
            for name, value in (one.environment or {}).items()
            if value.startswith("/") and " " not in value and len(value) < 200
        }
        for word in one.argv:
            name, _, value = word.removeprefix("-D").partition("=")
            if word.startswith("-D") and value.startswith("/"):
                found[name] = value
    for name in ("CATALINA_HOME", "CATALINA_BASE", "catalina.home", "catalina.base"):
        found.setdefault(name, str(at.root))
    return found
