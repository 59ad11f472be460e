"""The kept backup of a cutover: databases, trees and configuration, proven by restoring them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote

from crossfade.errors import Failed
from crossfade.model import Digest, Finding, Run
from crossfade.ports import Files, Kept, Work

__all__ = ["actions", "keep", "keeps", "needs", "warnings"]

_CHUNK = 1 << 20
_FORMAT = 1


def keeps(work: Work) -> bool:
    """Whether this run makes a backup that is kept."""
    return work.run is Run.CUTOVER and work.backups.wanted


def actions(work: Work) -> tuple[str, ...]:
    """What is done for it, for the plan."""
    if not keeps(work):
        return ()
    return (
        f"keep a backup of databases, trees and configuration below {_place(work)},"
        " and prove it by restoring it",
    )


def warnings(work: Work) -> tuple[str, ...]:
    """That a safety is left out, for the plan."""
    if work.run is not Run.CUTOVER or work.backups.wanted:
        return ()
    return ("no backup of the old side is kept: backup.when is never",)


def needs(work: Work, sizes: Sequence[int]) -> tuple[dict[Path, int], dict[Path, int]]:
    """Bytes on this machine: what is kept, and the largest database once more, to try it; and bytes
    on the machine that has the backups, where that is another one.

    sizes are those of the databases."""
    if not keeps(work):
        return {}, {}
    trees = sum(tree.size()[1] for tree in work.old.files.values())
    made = sum(sizes) + max(sizes, default=0)
    if work.backups.host is None:
        return {work.backups.place: made + trees}, {}
    return {work.backups.stage: made}, {work.backups.place: sum(sizes) + trees}


def _place(work: Work) -> str:
    on = f" on {work.backups.machine}" if work.backups.machine else ""
    return f"{work.backups.place}{on}"


def keep(work: Work) -> tuple[list[Finding], str]:
    """Make the backup while the old side works; only one that was restored counts.

    Returns the findings and where it is.  Raises Failed ``backup-unproven``."""
    old = work.old.installation
    with work.timed("keep"), work.backups.begin(work.label) as to:
        kept = {n: _database(work, n, to) for n in work.carriers}
        sizes: dict[str, int] = {}
        trees = {n: _tree(work, n, tree, to, sizes) for n, tree in work.old.files.items()}
        configuration = _configuration(work, to)
        findings = [f for one in kept.values() for f in one.findings]
        findings += [finding for finding, _ in trees.values()]
        findings.append(configuration)
        sums = _sums(to, [*(to / one.file for one in kept.values()), *_all(to)])
        if all(finding.holds for finding in findings):
            findings += work.backups.bring(work.label, to, sums)
        wrong = [finding for finding in findings if not finding.holds]
        if wrong:
            what = "The backup does not give back what was backed up, so it does not count."
            where = "\n".join(f"{finding.claim}: {finding.observed}" for finding in wrong)
            raise Failed("backup-unproven", what, where=where)
        about = {
            "format": _FORMAT,
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "application": old.application,
            "version": old.version,
            "host": old.host,
            "databases": {n: one.as_json() for n, one in kept.items()},
            "trees": {
                n: {
                    "directory": f"files/{n}",
                    "from": str(work.old.files[n].path),
                    "entries": digest.count,
                    "digest": digest.checksum,
                }
                for n, (_, digest) in trees.items()
            },
            "files": sums,
            "bytes": sum(one["bytes"] for one in sums.values()) + sum(sizes.values()),
            "verified": [finding.as_json() for finding in findings],
        }
        path = work.backups.finish(work.label, about)
    on = f" on {work.backups.machine}" if work.backups.machine else ""
    return findings, f"{path}{on}"


def _database(work: Work, name: str, to: Path) -> Kept:
    work.tell(f"keeping a backup of database {name}")
    return work.carriers[name].keep(work, to)


def _tree(
    work: Work, name: str, given: Files, to: Path, sizes: dict[str, int]
) -> tuple[Finding, Digest]:
    """A copy of a tree in use, read back; what the old side changes meanwhile is left out.  sizes
    gets its bytes."""
    tree, copy = work.backups.pair(work.label, given, work.old.host, to)
    with work.progress(f"backing up {name}") as bar:
        tree.copy_to(copy, bar)
    before = tree.position()
    here = tree.digest()
    if tree.position() != before or here.differences(copy.digest()):
        before = tree.position()
        tree.copy_to(copy)
        here = tree.digest()
    there = copy.digest()
    for index in (to / "files").glob(".*"):  # what a further pass would know
        index.unlink()
    sizes[name] = copy.size()[1]
    changed = here.differences(there)
    in_use = tree.position() != before and len(changed) <= max(10, there.count // 2)
    seen = f"{there.count} entries, {there.checksum}"
    if changed:
        seen += f"; {len(changed)} of them differ{', in use' if in_use else ''}"
    claim = f"the backup of tree {name} reads back as the old side's"
    expected = f"{here.count} entries, {here.checksum}"
    return Finding(claim, expected, seen, "digests", in_use or not changed), there


def _configuration(work: Work, to: Path) -> Finding:
    """Every configuration file of the old side, below its whole path, read back."""
    wanted = dict(work.configuration.originals())
    for name, data in wanted.items():
        work.here.write(to / "configuration" / name.lstrip("/"), data)
    there = {n: work.here.read(to / "configuration" / n.lstrip("/")) for n in wanted}
    claim = "the backup of the configuration reads back equal"
    same = sorted(n for n in wanted if there[n] == wanted[n])
    return Finding.equal(claim, f"{len(wanted)} files", f"{len(same)} files", "all bytes")


def _all(to: Path) -> Iterable[Path]:
    return (path for path in (to / "configuration").rglob("*") if path.is_file())


def _sums(to: Path, paths: Iterable[Path]) -> dict[str, dict[str, Any]]:
    """Size and SHA-256 of each file, by its path in the backup.  Trees have digests instead."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(paths):
        summed = sha256()
        with path.open("rb") as file:
            while block := file.read(_CHUNK):
                summed.update(block)
        name = os.fsencode(path.relative_to(to))
        found[quote(name, safe="/ ")] = {
            "bytes": path.stat().st_size,
            "sha256": summed.hexdigest(),
        }
    return found
