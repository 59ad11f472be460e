"""The directory of kept backups: each is written under a temporary name, and counts once renamed.

A backup is a directory ``<upgrade>.<site>.<attempt>`` with ``backup.json`` in it.  Only such ones
of this site are ever removed.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from crossfade.errors import Failed
from crossfade.model import Finding
from crossfade.ports import Files, Host, KeptBackup

__all__ = ["ABOUT", "PARTIAL", "LocalBackups", "described", "fetched", "read_backup"]

ABOUT = "backup.json"
PARTIAL = ".partial"
_DAY = 86400.0


@dataclass(frozen=True, slots=True)
class LocalBackups:
    """Implements ``ports.Backups`` by directories below ``place`` on this machine.

    upgrade and site (``[a-z0-9]``) name whose they are.  keep is how many upgrades' backups stay,
    keep_days for how many days at most (None: for ever).  wanted is False when none is to be made.
    settled tells of an upgrade and attempt whether nobody will go back to it: it went back before
    its commit, or its old side is retired."""

    place: Path
    upgrade: str
    site: str
    settled: Callable[[str, str], bool]
    keep: int = 3
    keep_days: float | None = None
    wanted: bool = True

    @property
    def host(self) -> Host | None:
        """The machine that has them; None for this one."""
        return None

    @property
    def machine(self) -> str:
        """What it is called; empty for this one."""
        return ""

    @property
    def stage(self) -> Path:
        """Where databases' backups are made, on this machine."""
        return self.place

    @contextmanager
    def begin(self, label: str) -> Iterator[Path]:
        """An empty directory (mode 0700) for the attempt's backup.  Raises Failed."""
        self.discard()
        partial = self._path(label).with_name(self._path(label).name + PARTIAL)
        with _explained(self.place):
            partial.mkdir(mode=0o700, parents=True)
        yield partial

    def pair(self, label: str, tree: Files, host: Host, to: Path) -> tuple[Files, Files]:
        """A tree of ``host`` as it is copied from, and its copy in the attempt's backup."""
        del label, host
        return tree, tree.here(to / "files" / tree.name)

    def bring(self, label: str, to: Path, files: Mapping[str, Mapping[str, Any]]) -> list[Finding]:
        """Nothing: it is made where it is kept."""
        del label, to, files
        return []

    def finish(self, label: str, about: Mapping[str, object]) -> Path:
        """The backup was proven: describe it, and from now on it counts.  Raises Failed."""
        path = self._path(label)
        partial = path.with_name(path.name + PARTIAL)
        text = described(self, label, about)
        with _explained(path):
            written = os.open(partial / ABOUT, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(written, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            for directory in (*(p for p in partial.iterdir() if p.is_dir()), partial):
                _sync(directory)
            shutil.rmtree(path, ignore_errors=True)  # the same attempt's, from before a crash
            partial.rename(path)
            _sync(self.place)
        return path

    def discard(self) -> list[str]:
        """Remove what was begun and never proven; its names."""
        unfinished = self.leavings()
        for name in unfinished:
            shutil.rmtree(name, ignore_errors=True)
        return unfinished

    def leavings(self) -> list[str]:
        """Paths of what was begun and never proven.  Changes nothing."""
        return sorted(map(str, self.place.glob(f"*.{self.site}.*{PARTIAL}")))

    def listed(self) -> list[KeptBackup]:
        """This site's backups, newest first.  What is not ours, or cannot be read, is left out."""
        found = []
        for file in self.place.glob(f"*.{self.site}.*/{ABOUT}"):
            if file.parent.name.endswith(PARTIAL):
                continue
            try:
                text = file.read_text("utf-8")
            except (OSError, ValueError):
                continue
            if one := read_backup(self.site, file.parent, text):
                found.append(one)
        return sorted(found, key=lambda backup: -backup.made)

    def surplus(self, coming: str = "") -> list[KeptBackup]:
        """Which would be removed now, or once the attempt ``coming`` of this upgrade has one.

        Never the newest, never one whose upgrade may still be rolled back."""
        seen: list[str] = [self.upgrade] if coming else []
        gone = []
        for backup in self.listed():
            replaced, newest = backup.upgrade in seen, not seen
            if not replaced:
                seen.append(backup.upgrade)
            if newest or not self.settled(backup.upgrade, backup.attempt):
                continue
            days = (time.time() - backup.made) / _DAY
            late = self.keep_days is not None and days > self.keep_days
            if replaced or late or len(seen) > self.keep:
                gone.append(backup)
        return gone

    def thin_out(self) -> list[str]:
        """Remove the surplus; the names of what was removed."""
        removed = []
        for backup in self.surplus():
            self.drop(backup)
            removed.append(backup.path.name)
        return removed

    def drop(self, backup: KeptBackup) -> None:
        """Remove one.  Raises Failed."""
        doomed = backup.path.with_name(backup.path.name + PARTIAL)
        with _explained(backup.path):
            backup.path.rename(doomed)  # never half a backup under a name that counts
            shutil.rmtree(doomed)

    def _path(self, label: str) -> Path:
        return self.place / f"{self.upgrade}.{self.site}.{label}"


def described(backups: LocalBackups, label: str, about: Mapping[str, object]) -> str:
    """The text of a backup's ``backup.json``."""
    whose = {"upgrade": backups.upgrade, "site": backups.site, "attempt": label}
    made = {**whose, "made": time.time(), **about}
    return json.dumps(made, ensure_ascii=False, indent=1) + "\n"


def read_backup(site: str, path: Path, text: str) -> KeptBackup | None:
    """What such a text describes; None when it is not this site's, or makes no sense."""
    try:
        about: dict[str, Any] = json.loads(text)
        ours = about["site"] == site
        one = KeptBackup(about["upgrade"], about["attempt"], float(about["made"]), path, about)
    except (ValueError, KeyError, TypeError):
        return None
    return one if ours else None


def fetched(backup: KeptBackup, source: Files, target: Files) -> list[Finding]:
    """Copy a backup and read the copy back: as it is kept, and as it was when it was proven."""
    source.copy_to(target)
    differing = source.digest().differences(target.digest())
    claim = "what was fetched is what is kept"
    seen = ", ".join(differing[:5]) or "nothing"
    found = [Finding(claim, "nothing", seen, "differences between digests", not differing)]
    changed = []
    for name, said in backup.about["files"].items():
        summed = sha256()
        with (target.path / unquote(name)).open("rb") as file:
            while block := file.read(1 << 20):
                summed.update(block)
        if summed.hexdigest() != said["sha256"]:
            changed.append(name)
    claim = "its databases and configuration are those that were proven"
    seen = ", ".join(changed[:5]) or "nothing"
    found.append(Finding(claim, "nothing", seen, f"changed since {ABOUT} was written", not changed))
    return found


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Failed(
            "backup-not-kept",
            f"The backup cannot be kept: {error.strerror or error}.",
            where=str(error.filename or path),
        ) from error
