"""The ``apt`` install: Debian's packages, which stand in the machine's own directories.

apt is asked first what it would do.  It is refused when that touches a package that was there
before and was not asked for, or takes one back to an older version.  What was new is remembered in
a note in ``root``, and only that is ever removed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from crossfade.drivers.installs import _apt
from crossfade.drivers.installs._deeds import BEGAN, NOTE, check_packages, note_of, shell, where
from crossfade.errors import Failed
from crossfade.ports import Host, Progress

__all__ = ["AptInstall"]

_FORM: Final = re.compile(
    r"[a-z0-9][a-z0-9.+-]*[a-z0-9+](?::[a-z0-9-]+)?(?:=[A-Za-z0-9][A-Za-z0-9.+:~-]*)?", re.ASCII
)


@dataclass(frozen=True, slots=True)
class _Note:
    """What was asked for, and what was new, with its versions."""

    packages: tuple[str, ...]
    added: dict[str, str]


class AptInstall:
    """Packages of Debian or Ubuntu; ``root`` holds only our notes.

    packages are ``name=version`` (or ``name``, for whichever version apt chooses).  Services that
    come with them are not started by the installation.  It takes root's rights on the host.
    """

    def __init__(self, host: Host, root: Path, packages: Sequence[str]) -> None:
        check_packages(packages, _FORM, "name=version")
        self.host = host
        self.root = root
        self.packages = tuple(packages)
        self._asked = {
            name: version for name, _, version in (one.partition("=") for one in packages)
        }

    def describe(self) -> tuple[str, ...]:
        """What will be done; it asks apt only for what it has at hand."""
        names = ", ".join(self.packages)
        place = where(self.host, "the machine's own directories")
        if self.done():
            return (f"{names} is installed in {place}",)
        told = [f"install {names} by apt in {place}, without starting services"]
        there = self._versions()
        told += [
            f"this takes {name} of that machine from {there[name]} to {version}"
            for name, version in self._asked.items()
            if version and there.get(name, version) != version
        ]
        return (*told, f"note at {self.root} what was new, so that only that is ever removed")

    def done(self) -> bool:
        """Whether we brought these packages to their end, and they are still installed so."""
        note = self._note(NOTE)
        return note.packages == tuple(sorted(self.packages)) and self._stands(self._versions())

    def _stands(self, there: Mapping[str, str]) -> bool:
        return all(
            name in there and version in {"", there[name]} for name, version in self._asked.items()
        )

    def _versions(self) -> dict[str, str]:
        """The installed ones of what is asked for, with their versions."""
        return _apt.installed(self.host, tuple(self._asked))

    def _note(self, name: str) -> _Note:
        try:
            found = json.loads(note_of(self.host, self.root / name) or "{}")
            return _Note(tuple(found["packages"]), dict(found["added"]))
        except (ValueError, LookupError, TypeError):
            return _Note((), {})

    def _ours(self) -> dict[str, str]:
        """What our tries have added, with its versions."""
        return {**self._note(NOTE).added, **self._note(BEGAN).added}

    def install(self, progress: Progress | None = None) -> None:
        """Ask apt what it would do, refuse or note it, and let it.

        Raises Failed: package-missing, packages-conflict, and what apt says."""
        if self.done():
            return
        plan = _apt.simulate(self.host, self.packages)
        ours = self._ours()
        self._check(plan, ours)
        new = [each for each in plan.changes if not each.before or each.name in ours]
        note = {
            "packages": sorted(self.packages),
            "added": ours | {each.name: each.after for each in new},
        }
        data = (json.dumps(note, indent=1) + "\n").encode()
        self.host.write(self.root / BEGAN, data, mode=0o644)
        if plan.changes or plan.unfinished:
            _apt.change(self.host, "install", self.packages)
        if not self._stands(self._versions()):
            raise _missing(self.host, "apt ended well, but not everything asked for is installed.")
        self.host.write(self.root / NOTE, data, mode=0o644)
        self.host.remove(self.root / BEGAN)

    def _check(self, plan: _apt.Plan, ours: Mapping[str, str]) -> None:
        if plan.unknown:
            raise _missing(self.host, plan.unknown)
        wrong = [f"remove {name}" for name in plan.removed]
        wrong += [f"take {name} to an older version" for name in plan.downgraded]
        wrong += [
            f"change {each.name} from {each.before} to {each.after}"
            for each in plan.changes
            if each.before and each.name not in self._asked and each.name not in ours
        ]
        if wrong:
            what = f"apt would touch what was not asked for: {'; '.join(wrong[:8])}."
            raise Failed("packages-conflict", what, where=where(self.host, "apt-get"))
        coming = {each.name: each.after for each in plan.changes}
        there = self._versions()
        for name, version in self._asked.items():
            found = coming.get(name, there.get(name, ""))
            if not found or version not in {"", found}:
                what = f"apt has no package {name}" + (
                    f" in version {version}." if version else "."
                )
                raise _missing(self.host, what)

    def fingerprint(self) -> str:
        """16 hex digits over the packages and all that came with them; empty when not done."""
        if not self.done():
            return ""
        names = sorted({*self._asked, *self._note(NOTE).added})
        found = sorted(_apt.installed(self.host, names).items())
        return sha256(repr(found).encode()).hexdigest()[:16]

    def remove(self) -> None:
        """Remove the packages that were new and still have our version, and the notes.  Their data
        and configuration stay, as with every removal by apt.

        Raises Failed(packages-conflict) when others need them by now."""
        added = self._ours()
        there = _apt.installed(self.host, sorted(added))
        ours = [name for name, version in sorted(added.items()) if there.get(name) == version]
        if ours:
            plan = _apt.simulate(self.host, ours, deed="remove")
            others = [name for name in plan.removed if name not in ours]
            if others or plan.changes:
                what = f"With our packages apt would also remove {', '.join(others[:8])}."
                raise Failed("packages-conflict", what, where=where(self.host, "apt-get"))
            _apt.change(self.host, "remove", ours)
        text = 'cd -- "$1" 2>/dev/null || exit 0; rm -f -- "$2" "$3"; cd / && rmdir -- "$1"; :'
        shell(self.host, f"{text} 2>/dev/null", str(self.root), NOTE, BEGAN)


def _missing(host: Host, what: str) -> Failed:
    return Failed("package-missing", what, where=where(host, "apt-get"))
