"""Finding programs, and installing the distribution's packages that bring them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from crossfade.errors import Failed
from crossfade.testing.servers._majors import majors

__all__ = ["find_program", "install_packages", "missing_packages"]

_ADMIN_PATH = "/usr/local/sbin:/usr/sbin:/sbin"  # not on every account's PATH
_PROGRAMS = {
    "mariadb": (
        ("mariadbd", "mariadb-server-core"),  # the programs alone: no service, no data directory
        ("mariadb-install-db", "mariadb-server-core"),
        ("mariadb", "mariadb-client-core"),
        ("mariadb-dump", "mariadb-client"),
    ),
    "mydumper": (("mydumper", "mydumper"), ("myloader", "mydumper")),
    "pgcopydb": (("pgcopydb", "pgcopydb"),),
}
"""For each kind of thing the programs that show it is there, and the package of each (Debian)."""
_CLUSTERS = Path("/etc/postgresql-common/createcluster.d/crossfade.conf")
_KEEP_SMALL = "--no-install-recommends"
_TOUCH_NOTHING = ("--no-upgrade", "--no-remove")
"""What is installed stays as it is: no service of this machine is restarted or removed."""


def find_program(name: str) -> Path | None:
    """A program on PATH or where administrators' programs are."""
    found = shutil.which(name) or shutil.which(name, path=_ADMIN_PATH)
    return Path(found) if found else None


def missing_packages(kinds: Iterable[str]) -> tuple[str, ...]:
    """The packages to install for these kinds: postgres, mariadb, mydumper, pgcopydb."""
    missing: dict[str, None] = {}
    for kind in kinds:
        if kind == "postgres":
            if not majors():
                missing["postgresql"] = None
            continue
        for program, package in _PROGRAMS[kind]:
            if find_program(program) is None:
                missing[package] = None
    return tuple(missing)


def install_packages(kinds: Iterable[str]) -> tuple[str, ...]:
    """Install what is missing for these kinds with apt; returns the packages, none if all is there.

    No server is started and nothing that is installed is changed.  Raises Failed
    ``packages-missing`` (naming them) when we are not root or there is no apt, and
    ``packages-not-installed`` when apt fails."""
    missing = missing_packages(kinds)
    if not missing:
        return ()
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise Failed(
            "packages-missing",
            f"Programs are missing, and only root can install them: {', '.join(missing)}.",
            where="packages of Debian and Ubuntu",
            next=f"apt-get install {' '.join(missing)}",
        )
    with _no_cluster():
        _apt("update", "--quiet=2")
        _apt("install", "--yes", "--quiet=2", _KEEP_SMALL, *_TOUCH_NOTHING, *missing)
    return missing


@contextmanager
def _no_cluster() -> Iterator[None]:
    """Keep Debian's package from making and starting a PostgreSQL server of its own."""
    made = [path for path in (_CLUSTERS.parent, _CLUSTERS.parent.parent) if not path.exists()]
    _CLUSTERS.parent.mkdir(parents=True, exist_ok=True)
    _CLUSTERS.write_text(
        "# Only while crossfade installs packages: no server that nobody asked for.\n"
        "create_main_cluster = off\n",
        encoding="utf-8",
    )
    try:
        yield
    finally:
        _CLUSTERS.unlink(missing_ok=True)
        for path in made:
            if not any(path.iterdir()):
                path.rmdir()


def _apt(*words: str) -> None:
    done = subprocess.run(
        ("apt-get", *words),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_SUSPEND": "1"},
        check=False,
    )
    if done.returncode:
        last = done.stdout.decode(errors="replace").strip().splitlines()[-8:]
        raise Failed(
            "packages-not-installed",
            f"apt-get {words[0]} failed with exit code {done.returncode}.",
            where="\n".join((f"apt-get {' '.join(words)}", *last)),
        )
