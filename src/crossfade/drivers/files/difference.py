"""What a pass has to do: the difference between two scans, as data."""

from __future__ import annotations

import stat
from dataclasses import dataclass, field

from crossfade.drivers.files.entries import Entry, groups_of, parent_of
from crossfade.drivers.files.index import Index

__all__ = ["Difference", "difference"]


@dataclass(slots=True)
class Difference:
    """Names by what is to be done with them.

    remove lists what is in the way at the target, deepest first; make the directories that are
    missing, highest first; files and others (links, FIFOs) what has to be looked at; links maps
    further names of a file to its first one; settle the directories whose metadata has to be
    looked at once everything else is done; equal what nobody touched since the last pass; reuse
    the names whose target may be kept when its content is the same.
    """

    remove: list[str] = field(default_factory=list)
    make: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    links: dict[str, str] = field(default_factory=dict)
    settle: set[str] = field(default_factory=set)
    equal: set[str] = field(default_factory=set)
    reuse: set[str] = field(default_factory=set)


def difference(source: dict[str, Entry], target: dict[str, Entry], index: Index) -> Difference:
    """Compare two scans with the help of what is known from the pass before."""
    found = Difference()
    groups, there_groups = groups_of(source.items()), groups_of(target.items())
    for name, entry in reversed(target.items()):
        wanted = source.get(name)
        if wanted is None or wanted.kind != entry.kind:
            found.remove.append(name)
            found.settle.add(parent_of(name))
    for name, entry in source.items():
        there = target.get(name)
        if there is not None and there.kind != entry.kind:
            there = None
        group = groups.get(name, ())
        if there is not None:
            names = len(group) or 1
            if stat.S_ISDIR(entry.mode) or (
                there.links == names and there_groups.get(name, ()) == group
            ):
                found.reuse.add(name)
                if index.unchanged(name, entry, there):
                    found.equal.add(name)
                    continue
        _sort_in(found, name, entry, group, missing=there is None)
    found.settle = {name for name in found.settle if name in source}
    return found


def _sort_in(
    found: Difference, name: str, entry: Entry, group: tuple[str, ...], *, missing: bool
) -> None:
    if stat.S_ISDIR(entry.mode):
        found.settle.add(name)
        if missing:
            found.make.append(name)
            found.settle.add(parent_of(name))
        return
    found.settle.add(parent_of(name))
    if group and group[0] != name:
        found.links[name] = group[0]
    elif stat.S_ISREG(entry.mode):
        found.files.append(name)
    else:
        found.others.append(name)
