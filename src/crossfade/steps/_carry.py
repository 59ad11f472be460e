"""The last changes: what flows from the old side to the new one once nothing writes any more.

The rehearsal does exactly the same with the old side still working, which is where the predicted
pause comes from.
"""

from functools import partial

from crossfade.model import Finding, Run
from crossfade.ports import Files, Work
from crossfade.steps import configure
from crossfade.steps._beside import all_beside
from crossfade.steps._health import ask_all, wait_healthy
from crossfade.steps._owners import settle_owners

__all__ = ["carry_and_start"]


def carry_and_start(work: Work) -> list[Finding]:
    """Bring the databases' and trees' last changes, start the new version, ask it everything."""
    findings: list[Finding] = []
    settle_owners(work)
    trees = {n: partial(_tree, work, n, tree) for n, tree in work.old.files.items()}
    with all_beside(trees) as carried:
        for carrier in work.carriers.values():
            findings += carrier.bring_last(work, still=work.run is not Run.REHEARSAL)
        for name, tree in carried.items():
            with work.timed(f"files {name}"):
                findings.append(tree())
    if work.run is not Run.REHEARSAL:
        findings += configure.follow(work)
    with work.timed("start"):
        configure.point_straight(work)
        work.new.service.start()
        findings.append(wait_healthy(work, work.new, work.limits.start))
        findings += work.new.service.held()
    if work.run is not Run.REHEARSAL:
        for carrier in work.carriers.values():
            carrier.begin_way_back()
    with work.timed("checks"):
        findings.extend(ask_all(work.new))
    return findings


def _tree(work: Work, name: str, tree: Files) -> Finding:
    """What changed in a tree, and the proof.  In a cutover nothing writes any more, so both are
    equal.  In a rehearsal the old side works on: what it changed meanwhile is left out."""
    tree.copy_to(work.new.files[name])
    before = tree.position()
    there = work.new.files[name].digest()
    here = tree.digest()
    if work.pause_began is None and (tree.position() != before or here.differences(there)):
        tree.copy_to(work.new.files[name])
        there = work.new.files[name].digest()
        changed = len(tree.digest().differences(there))
        few = changed <= max(10, there.count // 2)
        seen = f"{there.count} entries, {changed} of them in use"
        return Finding(f"tree {name} is carried", "all but what is in use", seen, "digests", few)
    return Finding.same(f"tree {name}", here, there)
