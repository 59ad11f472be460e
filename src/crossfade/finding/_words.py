"""An inventory for people: the coverage always first, so that nothing found is never nothing looked
at."""

from __future__ import annotations

from collections.abc import Iterator

from crossfade.finding._inventory import DETECTORS, Found, Inventory, Kind

__all__ = ["text"]

_SHOWN = 8
_TITLES = {
    Kind.MODIFIED: "changed",
    Kind.ADDED: "added",
    Kind.DELETED: "deleted",
    Kind.OVERLAY: "files of your own over the program's defaults",
    Kind.ENVIRONMENT: "only in the environment",
    Kind.ARGUMENT: "only on the command line",
    Kind.ASSET: "named by configuration",
    Kind.PERIPHERY: "around the program, listed only",
    Kind.HINT: "hints, nothing by themselves",
}


def text(inventory: Inventory) -> str:
    """The inventory in lines: coverage, then the findings by kind, each with its evidence."""
    return "".join(f"{line}\n" for line in _lines(inventory))


def _lines(inventory: Inventory) -> Iterator[str]:
    yield f"Customised: {_safe(inventory.root)} on {_safe(inventory.host)}"
    yield from _coverage(inventory)
    files = inventory.of(Kind.MODIFIED, Kind.ADDED, Kind.DELETED, Kind.OVERLAY, Kind.ASSET)
    values = inventory.of(Kind.ENVIRONMENT), inventory.of(Kind.ARGUMENT)
    around, hints = inventory.of(Kind.PERIPHERY), inventory.of(Kind.HINT)
    some = "" if inventory.coverage.whole else ", of what could be looked at"
    yield (
        f"  found       {len(files)} files, {len(values[0])} variables, {len(values[1])} arguments"
        f"{some}; {len(around)} around it, {len(hints)} hints"
    )
    for kind, title in _TITLES.items():
        of = inventory.of(kind)
        if of:
            yield f"{title} ({len(of)})"
        for one in of:
            yield from _finding(one)


def _coverage(inventory: Inventory) -> Iterator[str]:
    coverage = inventory.coverage
    yield (
        f"  looked at   {len(coverage.roots)} roots, {coverage.files} files, "
        f"{coverage.processes} processes, as {_safe(coverage.account)}; "
        f"{len(coverage.unreadable)} unreadable, {len(coverage.without_base)} without base, "
        f"{len(coverage.unparsed)} not looked into"
    )
    based = sum(one.base is not None and one.base.how != "inferred" for one in inventory.found)
    inferred = [one for one in inventory.found if one.base and one.base.how == "inferred"]
    said = f"  base known  of {based} files"
    for one in inferred[:_SHOWN]:
        assert one.base is not None  # noqa: S101
        further = "no other text known"
        if one.base.margin is not None:
            further = f"next best {one.base.margin} lines worse"
        said += f"; inferred: {_safe(one.name)} = {one.base.version}, {further}"
    yield said
    for detector, words in coverage.detectors.items():
        if words != "ran":
            yield f"  not wholly  {DETECTORS.get(detector, detector)}: {_safe(words)}"
    for path in coverage.unreadable[:_SHOWN]:
        yield f"  unreadable  {_safe(path)}"
    if len(coverage.unreadable) > _SHOWN:
        yield f"  unreadable  and {len(coverage.unreadable) - _SHOWN} more"
    for path, why in list(coverage.unparsed.items())[:_SHOWN]:
        yield f"  not parsed  {_safe(path)}: {why}"
    for rule, count in sorted(coverage.left_out.items()):
        yield f"  left out    {count}: {rule}"


def _finding(one: Found) -> Iterator[str]:
    value = ""
    if one.shown is not None:
        value = f" = {_safe(one.shown)}"
    elif one.fingerprint is not None:
        value = f" (fingerprint {one.fingerprint})"
    yield f"  {_safe(one.name)}{value}"
    for evidence in one.evidence[:3]:
        yield f"      {evidence.detector}: {_safe(evidence.detail)}"


def _safe(words: str) -> str:
    """For a terminal: line ends, control characters and bytes that are no text are written out."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode()
        for char in words
    )
