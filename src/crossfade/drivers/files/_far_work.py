"""What a pass between two machines has to do: the difference of what find said of both."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from crossfade.drivers.files._far_hash import Hashes, Terms
from crossfade.drivers.files._far_scan import FarEntry, Seen, above, groups
from crossfade.drivers.files.entries import HERE, parent_of

__all__ = ["FarWork", "Memory", "work_for"]

Memory = dict[str, tuple[tuple[int, ...], tuple[int, ...], bool]]
"""For every entry that is equal on both sides: what it was on the source and on the target, and
whether any later write must be seen by that."""


@dataclass(slots=True)
class FarWork:
    """remove: what is in the way, deepest first; send: what is no directory; directories: those
    whose metadata is to be settled, deepest first; new: the bytes that are new."""

    remove: list[str] = field(default_factory=list)
    send: list[str] = field(default_factory=list)
    directories: list[str] = field(default_factory=list)
    changed: int = 0
    removed: int = 0
    new: int = 0
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
    gone = _gone(here, there, keep=keep)
    found.remove, found.removed = gone, sum(name not in here for name in gone)
    ours, theirs = groups(here), groups(there)
    equal, asked = set(), []
    for name, entry in here.items():
        other = there.get(name)
        if other is None or other.kind != entry.kind:
            continue
        if memory.get(name) == (entry.key, other.key, True) and _linked(name, ours, theirs):
            equal.add(name)
        elif stat.S_ISREG(entry.mode) and (other.size, other.mtime) == (entry.size, entry.mtime):
            asked.append(name)
    with ThreadPoolExecutor(2) as pool:
        asking = pool.submit(hashes[1].of, target, asked)
        one, two = hashes[0].of(source, asked), asking.result()
    same = {name for name in asked if name in one and one[name] == two.get(name)}
    for name, entry in here.items():
        other = there.get(name)
        if name in equal or other is None or other.kind != entry.kind or name in gone:
            continue
        if stat.S_ISREG(entry.mode) and name not in same:
            continue
        remembered = memory.get(name)
        touched = remembered is not None and remembered[0] != entry.key
        alike = terms.metadata(entry) == terms.metadata(other)
        if alike and not touched and _linked(name, ours, theirs):
            equal.add(name)
    found.same = sorted(equal)
    _sort(found, here, there, equal, same, ours)
    return found


def _linked(
    name: str, ours: dict[str, tuple[str, ...]], theirs: dict[str, tuple[str, ...]]
) -> bool:
    return ours.get(name, ()) == theirs.get(name, ())


def _gone(here: dict[str, FarEntry], there: dict[str, FarEntry], *, keep: bool) -> list[str]:
    """What is to be removed, deepest first."""
    found = []
    for name, entry in there.items():
        wanted = here.get(name)
        other_kind = wanted is not None and (wanted.kind != entry.kind)
        if other_kind or (wanted is None and not keep):
            found.append(name)
    return sorted(found, key=lambda name: name.count("/"), reverse=True)


def _sort(
    found: FarWork,
    here: dict[str, FarEntry],
    there: dict[str, FarEntry],
    equal: set[str],
    same: set[str],
    ours: dict[str, tuple[str, ...]],
) -> None:
    send = set()
    settle = {parent_of(name) for name in found.remove if name != HERE}
    for name, entry in here.items():
        if name in equal:
            continue
        if stat.S_ISDIR(entry.mode):
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
