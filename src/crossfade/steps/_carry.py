"""The last copy: what flows from the old side to the new one once nothing writes any more.

The rehearsal does exactly the same with the old side still working, which is where the predicted
pause comes from.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from crossfade.model import Digest, Finding
from crossfade.ports import Database, Files, Work
from crossfade.steps._health import ask_all, wait_healthy

__all__ = ["alike", "carry_and_start", "equal"]


Compare = Callable[[str, Digest, Digest], Finding]


def carry_and_start(
    work: Work, pair: Callable[[str], tuple[Database, Database]], compare: Compare
) -> list[Finding]:
    """Copy databases and the trees' differences, start the new version, prove everything.

    pair gives, for the name of a database, the two to compare.  Their digests are taken while the
    new version starts: neither of them is the file that it opens, and the commit point waits for
    both.
    """
    findings: list[Finding] = []
    for name, database in work.old.databases.items():
        with work.timed(f"copy {name}"):
            final = work.directory / "final" / name
            database.copy_to(final)
            work.new.databases[name].place(final)
            same = work.new.databases[name].matches(final)
        claim = f"database {name} of the new side is the last copy, byte for byte"
        findings.append(Finding.equal(claim, True, same, "new side"))
    for name, tree in work.old.files.items():
        with work.timed(f"files {name}"):
            tree.copy_to(work.new.files[name].path)
            findings.append(_trees(work, name, tree))
    with ExitStack() as stack:
        digests = stack.enter_context(ThreadPoolExecutor(4, "digest"))
        with work.timed("start"):
            pairs = {
                name: [digests.submit(database.digest) for database in pair(name)]
                for name in work.old.databases
            }
            work.new.service.start()
            findings.append(wait_healthy(work, work.new, work.limits.start))
        with work.timed("checks"):
            findings.extend(ask_all(work.new))
        with work.timed("digests"):
            for name, (one, other) in pairs.items():
                findings.append(compare(f"database {name}", one.result(), other.result()))
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


def equal(what: str, expected: Digest, observed: Digest) -> Finding:
    differing = expected.differences(observed)
    seen = str(observed) if not differing else f"{observed}; differs in {', '.join(differing[:5])}"
    source = "rows and checksum of every part, on both sides"
    return Finding(f"{what} is equal on both sides", str(expected), seen, source, not differing)


def alike(what: str, expected: Digest, observed: Digest) -> Finding:
    """Two copies of a database in use, taken one after the other: same tables, same schema."""
    tables = f"{len(expected.parts)} tables, schema {expected.parts['schema'].checksum[:16]}"
    seen = f"{len(observed.parts)} tables, schema {observed.parts['schema'].checksum[:16]}"
    return Finding.equal(f"{what} has the same schema in both copies", tables, seen, "digests")
