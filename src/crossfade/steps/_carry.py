"""The last copy: what flows from the old side to the new one once nothing writes any more.

The rehearsal does exactly the same with the old side still working, which is where the predicted
pause comes from.
"""

from collections.abc import Callable
from pathlib import Path

from crossfade.model import Digest, Finding
from crossfade.ports import Files, Work
from crossfade.steps._health import ask_all, wait_healthy

__all__ = ["carry_and_start", "equal"]


def carry_and_start(work: Work, proven: Callable[[str, Path], Finding]) -> list[Finding]:
    """Copy databases and the trees' differences, start the new version, ask it everything.

    proven takes the name of a database and its last copy, and says whether the copy is right.
    """
    findings: list[Finding] = []
    for name, database in work.old.databases.items():
        last = work.directory / "last" / name
        with work.timed(f"copy {name}"):
            database.copy_to(last)
        with work.timed(f"compare {name}"):
            findings.append(proven(name, last))
        with work.timed(f"place {name}"):
            work.new.databases[name].place(last, move=True)
    for name, tree in work.old.files.items():
        with work.timed(f"files {name}"):
            tree.copy_to(work.new.files[name].path)
            findings.append(_trees(work, name, tree))
    with work.timed("start"):
        work.new.service.start()
        findings.append(wait_healthy(work, work.new, work.limits.start))
    with work.timed("checks"):
        findings.extend(ask_all(work.new))
    return findings


def _trees(work: Work, name: str, tree: Files) -> Finding:
    """In a cutover nothing writes any more, so both trees are equal.  In a rehearsal the old side
    works on: what it changed meanwhile is left out of the comparison."""
    before = tree.position()
    there = work.new.files[name].digest()
    here = tree.digest()
    if work.pause_began is None and (tree.position() != before or here.differences(there)):
        tree.copy_to(work.new.files[name].path)
        there = work.new.files[name].digest()
        changed = len(tree.digest().differences(there))
        few = changed <= max(10, there.count // 2)
        seen = f"{there.count} entries, {changed} of them in use"
        return Finding(f"tree {name} is carried", "all but what is in use", seen, "digests", few)
    return equal(f"tree {name}", here, there)


def equal(
    what: str,
    expected: Digest,
    observed: Digest,
    source: str = "rows and checksum of every part, on both sides",
) -> Finding:
    """A finding that holds when both digests are equal; it names what differs."""
    differing = expected.differences(observed)
    seen = str(observed) if not differing else f"{observed}; differs in {', '.join(differing[:5])}"
    return Finding(f"{what} is equal on both sides", str(expected), seen, source, not differing)
