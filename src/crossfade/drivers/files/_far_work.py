"""What a pass between two machines has to do: the difference of what find said of both."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from crossfade.drivers.files._far_hash import Hashes, Terms
from crossfade.drivers.files._far_scan import FarEntry, Seen, above, groups
from crossfade.drivers.files.entries import HERE, parent_of

__all__ = ["FarWork", "Memory", "work_for"]

Memory = dict[str, tuple[FarEntry, FarEntry | None, bool]]
"""For every entry that is equal on both sides: what it was on the source and on the target, and
whether any later write must be seen by that.  What was sent stands there without the target's."""


@dataclass(slots=True)
class FarWork:
    """remove: what is in the way, deepest first; send: what is no directory; directories: those
    whose metadata is to be settled, deepest first; new: the bytes that are new; unchanged: what is
    equal because nothing was done to it; same: what turned out to be equal."""

    remove: list[str] = field(default_factory=list)
    send: list[str] = field(default_factory=list)
    directories: list[str] = field(default_factory=list)
    changed: int = 0
    removed: int = 0
    new: int = 0
    unchanged: set[str] = field(default_factory=set)
    same: list[str] = field(default_factory=list)


def work_for(
    source: Seen,
    target: Seen,
    hashes: tuple[Hashes, Hashes],
    terms: Terms,
    memory: Memory,
    *,
    keep: bool,
) -> FarWork:
    """Compare both; contents are hashed only where size and time are equal and nobody knows."""
    here, there = source.entries, target.entries
    found = FarWork()
    ours, theirs = groups(here), groups(there)
    found.unchanged = _unchanged(here, there, memory)
    found.unchanged.difference_update(
        name for name in (*ours, *theirs) if not _linked(name, ours, theirs)
    )
    others = [name for name in here if name not in found.unchanged]
    asked = [
        name
        for name in others
        if stat.S_ISREG(here[name].mode)
        and (other := there.get(name)) is not None
        and (other.kind, other.size, other.mtime)
        == (here[name].kind, here[name].size, here[name].mtime)
    ]
    with ThreadPoolExecutor(2) as pool:
        asking = pool.submit(hashes[1].of, target, asked)
        one, two = hashes[0].of(source, asked), asking.result()
    same = {name for name in asked if name in one and one[name] == two.get(name)}
    for name in others:
        entry, other = here[name], there.get(name)
        if other is None or other.kind != entry.kind:
            continue
        if stat.S_ISREG(entry.mode) and name not in same:
            continue
        remembered = memory.get(name)
        touched = remembered is not None and remembered[0].key != entry.key
        alike = terms.metadata(entry) == terms.metadata(other)
        if alike and not touched and _linked(name, ours, theirs):
            found.same.append(name)
    found.remove = _gone(here, there, others, keep=keep)
    found.removed = sum(name not in here for name in found.remove)
    equal = set(found.same)
    others = [name for name in others if name not in equal]
    _sort(found, here, others, same, ours)
    return found


def _unchanged(here: dict[str, FarEntry], there: dict[str, FarEntry], memory: Memory) -> set[str]:
    """Names of which both entries are as they were when they were equal, and no write can have
    gone unseen.  An entry that find told in the same words is the same object."""
    return {
        name
        for name, (one, two, settled) in memory.items()
        if settled
        and (now := here.get(name)) is not None
        and (then := there.get(name)) is not None
        and two is not None
        and (now is one or now.key == one.key)
        and (then is two or then.key == two.key)
    }


def _linked(
    name: str, ours: dict[str, tuple[str, ...]], theirs: dict[str, tuple[str, ...]]
) -> bool:
    return ours.get(name, ()) == theirs.get(name, ())


def _gone(
    here: dict[str, FarEntry], there: dict[str, FarEntry], others: list[str], *, keep: bool
) -> list[str]:
    """What is to be removed, deepest first: of another kind, or not wanted."""
    found = [name for name in others if name in there and there[name].kind != here[name].kind]
    if not keep:
        found += there.keys() - here.keys()
    return sorted(found, key=lambda name: (-name.count("/"), name))


def _sort(
    found: FarWork,
    here: dict[str, FarEntry],
    others: list[str],
    same: set[str],
    ours: dict[str, tuple[str, ...]],
) -> None:
    send = set()
    settle = {parent_of(name) for name in found.remove if name != HERE}
    for name in others:
        if stat.S_ISDIR(here[name].mode):
            settle.add(name)
            found.changed += 1
            continue
        for one in ours.get(name, (name,)):
            send.add(one)
    counted = set()
    for name in send:
        entry = here[name]
        settle.update(above(name))
        if (entry.device, entry.inode) not in counted and name not in same:
            found.new += entry.size if stat.S_ISREG(entry.mode) else 0
        counted.add((entry.device, entry.inode))
    for name in list(settle):
        settle.update(above(name))
    found.send = sorted(send)
    found.changed += len(send)
    directories = (name for name in settle if name in here)
    found.directories = sorted(directories, key=lambda n: (n != HERE, n.count("/")), reverse=True)
