"""Step 4: put the copy into the new side's own databases and file trees."""

from crossfade.model import Evidence, Finding, PlannedStep, Reversal
from crossfade.ports import Work
from crossfade.steps._owners import settle_owners

__all__ = ["name", "preview", "reversal", "run", "undo"]

name = "restore"
reversal = Reversal.FREE


def preview(work: Work) -> PlannedStep:
    """How much goes where."""
    total = 0
    touches: list[str] = []
    actions = [f"restore database {n} for the new side" for n in work.carriers]
    for n, tree in work.old.files.items():
        entries, size = tree.size()
        total += size
        touches += tree.touches(size)
        actions.append(f"copy {n}: {entries} entries, {size / 1e6:.1f} MB, while in use")
    return PlannedStep(
        name,
        tuple(actions),
        reversal,
        touches=tuple(touches),
        needs_there={work.new.installation.data: total},
    )


def run(work: Work) -> Evidence:
    """Place the copies and bring the trees over."""
    findings: list[Finding] = []
    details: dict[str, object] = {}
    settle_owners(work)
    for carrier in work.carriers.values():
        findings += carrier.restore(work)
    for n, tree in work.old.files.items():
        with work.timed(f"files {n}"), work.progress(f"copying {n}") as progress:
            report = tree.copy_to(work.new.files[n], progress)
        with work.timed(f"digest {n}"):  # hashed now, so that the pause only looks at changes
            there = work.new.files[n].digest()
            tree.digest()
        details[n] = {"copied": report.copied, "bytes": report.bytes, "entries": there.count}
        if report.way:
            work.tell(f"{n} came {report.way}")
            details[f"{n} came"] = report.way
        findings.append(
            Finding(
                f"tree {n} arrived", "a tree", f"{there.count} entries", "new side", there.count > 0
            )
        )
    return Evidence(name, tuple(findings), details)


def undo(work: Work) -> Evidence:
    """End the feeds, then remove the new side's databases; its trees go with its places."""
    findings = [f for carrier in work.carriers.values() for f in carrier.let_go()]
    for database in work.new.databases.values():
        database.remove()
    return Evidence(name, tuple(findings), {})
