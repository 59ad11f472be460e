"""From what the detectors have written down to the inventory."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import replace

from crossfade.finding._book import Book
from crossfade.finding._far import Far
from crossfade.finding._inventory import Coverage, Found, Inventory
from crossfade.finding._rules import HASHED, below, configures
from crossfade.finding._values import Masks
from crossfade.recipes import may_name_secret

__all__ = ["stand", "together"]

_SMALL = 200  # bytes


def stand(far: Far, book: Book) -> None:
    """Look how each found file stands, and take its sum."""
    names = [name for name in book.files() if not name.endswith("/")]
    for entry in far.look(names).values():
        book.seen(entry)
    book.sums = _sums(far, book, names)


def together(
    book: Book, masks: Masks, *, host: str, root: str, account: str, processes: int
) -> Inventory:
    """The inventory of what was written down."""
    found = [
        _standing(one, book, masks)
        for (name, value), one in sorted(book.found.items())
        if value or name not in book.unchanged
    ]
    baseless = sorted(path for path in book.without_base if configures(path))
    if others := len(book.without_base) - len(baseless):
        book.left_out["without base, and not configuration by their names"] += others
    coverage = Coverage(
        account=account,
        roots=tuple(dict.fromkeys(book.roots)),
        files=book.looked + book.compared,
        processes=processes,
        unreadable=tuple(sorted(book.unreadable)),
        without_base=tuple(baseless),
        left_out=dict(book.left_out),
        unparsed=dict(sorted(book.unparsed.items())),
        detectors=dict(book.ran),
    )
    return Inventory(host, root, tuple(found), coverage)


def _standing(one: Found, book: Book, masks: Masks) -> Found:
    """With how its file stands.  The plain sum of a short secret would let one guess it."""
    entry = book.entries.get(one.name)
    if entry is None or one.fingerprint is not None:
        return one
    value = book.sums.get(one.name)
    small = value and entry.size < _SMALL and may_name_secret(posixpath.basename(one.name))
    return replace(
        one,
        sha256=None if small else value,
        fingerprint=masks.of("", value or "")[1] if small else None,
        mode=entry.mode,
        owner=entry.owner,
        group=entry.group,
        size=entry.size,
        link=entry.link or None,
    )


def _sums(far: Far, book: Book, names: Sequence[str]) -> dict[str, str]:
    """Sums of the found files; of links only where their end may be read."""
    there = {name: book.entries[name] for name in names if name in book.entries}
    links = [name for name, entry in there.items() if entry.kind == "l"]
    inside = {n for n, end in far.real(links).items() if below(end, (*book.roots, "/etc"))}
    return far.sums(
        name
        for name, entry in there.items()
        if not entry.shut and entry.size <= HASHED and (entry.kind == "f" or name in inside)
    )
