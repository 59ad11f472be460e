"""Which PostgreSQL majors this machine has, and where their programs are."""

from __future__ import annotations

from pathlib import Path

from crossfade.errors import Failed

__all__ = ["find_major", "installed", "majors", "newest"]

_PLACES = (("/usr/lib/postgresql", "*/bin"), ("/usr", "pgsql-*/bin"))
"""Where distributions put each major's programs: Debian's family, Red Hat's family."""


def installed() -> dict[int, Path]:
    """For each major that can be started here, the directory of its programs."""
    found: dict[int, Path] = {}
    for root, pattern in _PLACES:
        for programs in Path(root).glob(pattern):
            major = programs.parent.name.removeprefix("pgsql-")
            if major.isdigit() and (programs / "postgres").exists():
                found.setdefault(int(major), programs)
    return found


def majors() -> tuple[int, ...]:
    """The PostgreSQL majors that can be started here, oldest first."""
    return tuple(sorted(installed()))


def newest() -> int:
    """The newest of them.  Raises Failed ``program-missing`` when there is none."""
    have = majors()
    if not have:
        raise _missing("PostgreSQL")
    return have[-1]


def find_major(major: int) -> Path:
    """The directory of one major's programs.  Raises Failed ``program-missing``."""
    programs = installed().get(major)
    if programs is None:
        raise _missing(f"PostgreSQL {major}")
    return programs


def _missing(what: str) -> Failed:
    return Failed(
        "program-missing",
        f"{what} is not installed on this machine.",
        where="needed: the package postgresql-15 (Debian 12)",
    )
