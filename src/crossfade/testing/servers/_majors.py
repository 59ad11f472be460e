"""Which PostgreSQL majors this machine has, and where their programs are."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from crossfade.errors import Failed
from crossfade.testing.servers._pins import CLIENTS, SERVERS

__all__ = [
    "cache",
    "caches",
    "client_directory",
    "clients_of",
    "find_major",
    "installed",
    "majors",
    "newest",
    "server_directory",
]

_PLACES = (("/usr/lib/postgresql", "*/bin"), ("/usr", "pgsql-*/bin"))
"""Where distributions put each major's programs: Debian's family, Red Hat's family."""


def cache() -> Path:
    """Where fetched servers are put: as root where other accounts can reach them too."""
    if os.geteuid() == 0:
        return Path("/var/cache/crossfade/postgresql")
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "crossfade" / "postgresql"


def caches() -> tuple[Path, ...]:
    """Where fetched servers may be: our own cache, and the one that root filled for everybody."""
    return tuple(dict.fromkeys((cache(), Path("/var/cache/crossfade/postgresql"))))


def server_directory(base: Path, major: int) -> Path:
    """Where in a cache the fetched server of a major stands (all of it, or nothing)."""
    return base / f"server-{SERVERS[major].version}"


def client_directory(base: Path, major: int) -> Path:
    """Where in a cache the fetched client programs of a major stand (all of them, or nothing)."""
    return base / f"client-{CLIENTS[major].version}"


def installed() -> dict[int, Path]:
    """For each major that can be started here, the directory of its programs."""
    found: dict[int, Path] = {}
    for root, pattern in _PLACES:
        for programs in Path(root).glob(pattern):
            name = programs.parent.name.removeprefix("pgsql-")
            if name.isdigit() and os.access(programs / "postgres", os.X_OK):
                found.setdefault(int(name), programs)
    if platform.machine() == "x86_64":  # fetched programs are for this processor only
        for base in caches():
            for major in SERVERS:
                programs = server_directory(base, major) / "native" / "bin"
                if os.access(programs / "postgres", os.X_OK):
                    found.setdefault(major, programs)
    return found


def clients_of(major: int) -> tuple[Path, ...]:
    """Directories with client programs of this major and newer ones, nearest first."""
    places = [(number, 0, path) for number, path in installed().items()]
    for base in caches():
        for number, pin in CLIENTS.items():
            programs = client_directory(base, number) / pin.programs
            if os.access(programs, os.X_OK):
                places.append((number, 1, programs))
    return tuple(path for number, _, path in sorted(places) if number >= major)


def majors() -> tuple[int, ...]:
    """The PostgreSQL majors that can be started here, oldest first."""
    return tuple(sorted(installed()))


def newest() -> int:
    """The newest of them.  Raises Failed ``program-missing`` when there is none."""
    have = majors()
    if not have:
        raise _missing("PostgreSQL", "the package postgresql (Debian)")
    return have[-1]


def find_major(major: int) -> Path:
    """The directory of one major's programs.  Raises Failed ``program-missing``."""
    programs = installed().get(major)
    if programs is None:
        raise _missing(
            f"PostgreSQL {major}",
            f"python -m crossfade.testing.servers --major {major}"
            if major in SERVERS
            else f"the package postgresql-{major}",
        )
    return programs


def _missing(what: str, needed: str) -> Failed:
    return Failed(
        "program-missing", f"{what} is not installed on this machine.", where=f"needed: {needed}"
    )
