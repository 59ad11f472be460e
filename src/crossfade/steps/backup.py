"""Step 3: read a consistent copy of the old side's databases while it works."""

from crossfade.model import Evidence, Finding, PlannedStep, Reversal
from crossfade.ports import Work

__all__ = ["name", "preview", "reversal", "run", "undo"]

name = "backup"
reversal = Reversal.FREE


def preview(work: Work) -> PlannedStep:
    """How big the copy is."""
    sizes = {n: database.size() for n, database in work.old.databases.items()}
    actions = tuple(
        f"copy database {n} ({work.old.databases[n].describe()}) while it is in use" for n in sizes
    )
    needs = {work.directory: sum(sizes.values())}
    return PlannedStep(name, actions, reversal, needs=needs)


def run(work: Work) -> Evidence:
    """Copy every database, and prove each copy by its own integrity check."""
    findings: list[Finding] = []
    details: dict[str, object] = {}
    for n, database in work.old.databases.items():
        backup = work.copy("backup", n)
        with work.timed(f"copy {n}"), work.progress(f"copying database {n}") as progress:
            size = database.copy_to(work.directory / "backup" / n, progress)
        with work.timed(f"verify {n}"):
            findings.append(backup.sound())
        details[n] = {"bytes": size}
    if not findings:
        findings.append(Finding.equal("databases to copy", 0, 0, "recipe"))
    return Evidence(name, tuple(findings), details)


def undo(work: Work) -> Evidence:
    """A rehearsal's copy is removed with everything else; a cutover's is kept as the backup."""
    return Evidence(name, (), {"left": str(work.directory / "backup")})
