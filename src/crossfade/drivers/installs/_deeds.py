"""What every install does on a host: run a program, read and write its note, look for the host."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from crossfade.errors import Failed, UsageError
from crossfade.ports import Completed, Host

__all__ = [
    "BEGAN",
    "NOTE",
    "check_packages",
    "in_the_way",
    "is_here",
    "note_of",
    "run",
    "shell",
    "where",
]

NOTE: Final = ".crossfade-installed"
"""Written into the installation when it is whole; it says what was asked for."""
BEGAN: Final = ".crossfade-began"
"""Written before anything else, so that a broken try is known for ours."""

_FULL: Final = re.compile(
    r"no space left on device|disk quota exceeded|ENOSPC|enough free space", re.IGNORECASE
)
_NOTHING_LEFT: Final = 256 * 1024
_LONGEST: Final = 1800.0


def is_here(host: Host) -> bool:
    """Whether the host is the machine that we run on."""
    return bool(getattr(host, "here", False))


def where(host: Host, text: str) -> str:
    """A place for people, with the host if it is another machine."""
    return text if is_here(host) else f"on {host.name}: {text}"


def run(
    host: Host,
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float = _LONGEST,
    ok: tuple[int, ...] = (0,),
    place: Path | None = None,
) -> Completed:
    """Run a program of the host.  Raises Failed as the host does; disk-full when it says so, or
    when nothing is left where it writes (``place``)."""
    try:
        return host.run(argv, env=env, cwd=cwd, timeout=timeout, ok=ok)
    except Failed as error:
        if error.code == "command-failed" and (
            _FULL.search(error.where) or (place and host.free_bytes(place) < _NOTHING_LEFT)
        ):
            what = f"The disk is full: {Path(argv[0]).name} could not write what it installs."
            raise Failed("disk-full", what, where=error.where) from error
        raise


def shell(host: Host, text: str, *words: str, timeout: float = 120.0) -> bytes:
    """The output of a fixed text for the host's ``sh``; the words are its $1, $2 and so on."""
    return run(host, ("sh", "-c", text, "sh", *words), timeout=timeout).out


def note_of(host: Host, path: Path) -> str:
    """What a note of ours says; empty when there is none."""
    found = shell(host, '[ ! -f "$1" ] || exec cat -- "$1"', str(path))
    return found.decode(errors="replace")


def in_the_way(host: Host, root: Path, what: str) -> Failed:
    """Something that we did not make stands where the new version goes."""
    return Failed(
        "install-in-the-way",
        f"Something that is not {what} stands where the new version goes.",
        where=where(host, str(root)),
    )


def check_packages(packages: Sequence[str], form: re.Pattern[str], example: str) -> None:
    """Raises UsageError(package-refused) for a package that is not written as the kind wants it."""
    for package in packages:
        if not form.fullmatch(package):
            raise UsageError(
                "package-refused",
                f"{package!r} cannot be asked for; write {example}.",
                where="install.packages of the recipe",
                next="edit the recipe, then: crossfade plan",
            )
