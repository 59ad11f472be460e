"""Step 9: archive the old side, remove it, and remove every trace of the upgrade from it."""

import json
import os
import shutil
from pathlib import Path
from typing import BinaryIO

from crossfade.errors import Failed
from crossfade.model import Evidence, Finding, PlannedStep, Problem, Reversal, Side
from crossfade.ports import Work
from crossfade.steps import _front
from crossfade.steps._names import not_led
from crossfade.steps._stands import stands

__all__ = ["name", "preview", "reversal", "run", "undo"]

name = "retire"
reversal = Reversal.IMPOSSIBLE
_CHUNK = 1 << 20
_COMPARE = ("sh", "-c", 'exec tar --compare --gzip --file - --directory "$1" >&2', "sh")


def preview(work: Work) -> PlannedStep:
    """What would be archived and removed."""
    places = old_places(work)
    actions = (
        f"archive {', '.join(map(str, places))} to {work.directory / 'archive'}",
        f"remove the program at {work.old.installation.root}",
        *(f"remove {place}" for place in places),
        *([machine.describe()] if (machine := work.old.machine) else []),
        *(("put the names' TTLs back",) if work.names else ()),
        *(("archive and remove its jobs",) if work.old.jobs.known() else ()),
        *(("lead the web server past the gate, to the new side",) if work.front else ()),
    )
    old, new = work.old.installation, work.new.installation
    needed = [new.root, new.config, new.data] if new.host == old.host else []
    needed += [work.directory] if work.old.host.name == work.here.name else []
    problems = [
        Problem(
            "old-place-holds-more",
            Finding(f"{place} holds only the old side", "only", f"also {inner}", "paths", False),
            f"mv {inner} ANOTHER-PLACE   (or remove the old side by hand)",
        )
        for place in places
        for inner in needed
        if inner == place or place in inner.parents
    ]
    problems += not_led(work)
    touches = tuple(f"{place} is removed" for place in places)
    return PlannedStep(name, actions, reversal, touches=touches, problems=tuple(problems))


def run(work: Work) -> Evidence:
    """Archive, verify the archive, and only then remove."""
    state = work.traffic.look()
    if state is None or state.side is not Side.NEW:
        raise Failed(
            "old-side-serves", "The old side serves; only a side without traffic is retired."
        )
    findings = [Finding.equal("traffic goes to", Side.NEW, state.side, "gate, read back")]
    if work.names:  # first: while they cannot be put back, nothing is removed
        findings += work.names.restore_ttl()
    if (machine := work.old.machine) and machine.going():  # so the archive was proven before
        return _ended(work, [*findings, *machine.remove()])
    findings += _front.lead_past(work, Side.NEW)
    work.old.service.stop(work.limits.stop)
    places = [place for place in old_places(work) if work.old.host.exists(place)]
    for n, carrier in work.carriers.items():
        findings += carrier.let_go()
        work.old.databases[n].lift()  # an archive that is restored one day must accept writes
        findings += carrier.retire(work, work.directory / "archive")
    with work.timed("archive"), work.progress("archiving the old side"):
        findings.extend(_archive(work, place) for place in places)
    if not all(finding.holds for finding in findings):
        raise Failed(
            "archive-unproven", "The archive does not read back as written; nothing removed."
        )
    with work.timed("remove"):
        findings += work.old.service.retire(work.directory / "archive")
        findings += work.old.jobs.retire(work.directory / "archive")
        work.old.install.remove()  # leaves alone what is no environment of its own kind
        for place in places:
            work.old.host.remove(place)
            there = work.old.host.exists(place)
            findings.append(Finding.equal(f"{place} stands", False, there, "old side's host"))
    if machine:
        with work.timed("machine"):
            findings += machine.remove()
    return _ended(work, findings)


def _ended(work: Work, findings: list[Finding]) -> Evidence:
    """With every attempt's archive: one of them may have been killed after it had archived."""
    archives = sorted(work.directory.parent.glob(f"{work.run}-*/archive"))
    there = [f"archive {archive} on {work.here.name}" for archive in archives]
    return Evidence(name, tuple(findings), {"stands": [*there, *stands(work.new)]})


def undo(work: Work) -> Evidence:
    """There is no way back from here but the archive.  A machine that does not go is only left."""
    if (machine := work.old.machine) and machine.going():
        return Evidence(name, (), {"left": machine.name})
    raise Failed(
        "retired",
        "The old side is retired; its archive is all that is left.",
        where=str(work.directory / "archive"),
    )


def old_places(work: Work) -> list[Path]:
    """Configuration and data: what is archived and removed."""
    installation = work.old.installation
    places = {installation.config, installation.data}
    outermost = [p for p in sorted(places) if not any(q in p.parents for q in places)]
    return outermost


def _archive(work: Work, place: Path) -> Finding:
    """Archive a directory of the old side on this machine, and compare every byte."""
    archive = work.directory / "archive" / f"{place.name}.tar.gz"
    host = work.old.host
    work.here.make_directory(archive.parent)
    create = ("tar", "--create", "--gzip", "--xattrs", "--sparse", "--numeric-owner")
    argv = (*create, "--directory", str(place.parent), "--", place.name)
    with host.reading(argv) as data, _private(archive) as file:
        shutil.copyfileobj(data, file, _CHUNK)
        file.flush()
        os.fsync(file.fileno())
    said = "no difference"
    try:
        with archive.open("rb") as file, host.feeding((*_COMPARE, str(place.parent))) as into:
            shutil.copyfileobj(file, into, _CHUNK)
    except Failed as failed:
        said = failed.where[-200:]
    work.here.write(archive.with_suffix(".json"), json.dumps({"from": str(place)}).encode())
    claim = f"the archive of {place} reads back equal"
    return Finding.equal(claim, "no difference", said, "tar --compare")


def _private(path: Path) -> BinaryIO:
    return open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")  # noqa: PTH123
