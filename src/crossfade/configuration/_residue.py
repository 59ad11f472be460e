"""Look for what still points at the old side in a file that goes to the new one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from crossfade.configuration._database_url import LOOPBACK, named
from crossfade.configuration._parsed import ParsedFile, between
from crossfade.configuration._places import database
from crossfade.model import Finding, Installation
from crossfade.recipes import mentions, name_is_secret
from crossfade.recipes._yaml import dotted

__all__ = ["Text", "residue", "texts"]


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of a rendered file: a value, or (without a key) a comment or an opaque file."""

    place: str
    text: str
    comment: bool = False


def texts(file: ParsedFile) -> Iterator[Text]:
    """Every scalar's value, as the application will read it, and what stands between them."""
    position = 0
    for scalar in file.scalars():
        yield from _between(file, position, scalar.start)
        names = ("…" if name_is_secret(name) else name for name in scalar.names)
        yield Text(f"{file.path.name}:{scalar.line} {dotted(tuple(names))}".rstrip(), scalar.value)
        position = scalar.end
    yield from _between(file, position, len(file.text))


def opaque_texts(path: Path, data: bytes) -> Iterator[Text]:
    """The lines of a file that is not looked into otherwise."""
    for number, line in enumerate(data.decode("latin-1").splitlines(), 1):
        yield Text(f"{path.name}:{number}", line)


def residue(pieces: Iterable[Text], old: Installation, new: Installation) -> Finding:
    """The finding: nothing points into the old side's directories.

    Mentions in comments, of the old program, and of the old address are told, but do not fail:
    nobody acts on a comment, and an address may be meant.  Between machines a directory may have
    one name on both.
    """
    places: list[str] = []
    told: list[str] = []
    same = {new.data, new.config, new.root} if new.host != old.host else set()
    directories = {str(place) for place in {old.data, old.config} - same}
    programs = [str(place) for place in {old.root} - same]
    port = re.compile(rf"(?<![\w.]){old.inside.port}(?![\w.])")
    for piece in pieces:
        if any(mentions(piece.text, directory) for directory in directories):
            (told if piece.comment else places).append(piece.place)
        elif not piece.comment and any(mentions(piece.text, root) for root in programs):
            told.append(f"{piece.place} (the old side's program)")
        elif not piece.comment and old.inside != new.inside and port.search(piece.text):
            told.append(f"{piece.place} (the old side's port)")
    observed = f"still in {', '.join(places)}" if places else "nothing"
    if told:
        observed += f"; also, perhaps on purpose: {', '.join(told)}"
    return Finding(
        claim="no rendered file points into the old side's data or configuration",
        expected="nothing",
        observed=observed,
        source="every value of the rendered files",
        holds=not places,
    )


def no_database(pieces: Iterable[Text], name: str, place: Path) -> Finding:
    """The finding: no value names the old side's database file."""
    places = [piece.place for piece in pieces if not piece.comment and place_in(piece, place)]
    return Finding(
        claim=f"no rendered file points at the old side's database {name}",
        expected="nothing",
        observed=f"still in {', '.join(places)}" if places else "nothing",
        source="every value of the rendered files",
        holds=not places,
    )


def no_server(
    pieces: Iterable[Text], name: str, old: Installation, new: Installation
) -> Iterator[Finding]:
    """The finding: no value is or holds an address of the old side's database on a server; none
    where both sides have the same one.  Other databases on that server, and its mere name, are
    told: who they mean is not certain."""
    before, after = (database(side.databases[name]) for side in (old, new))
    if (before.addresses, before.name) == (after.addresses, after.name):
        return
    hosts = {one.host for one in before.addresses} - {one.host for one in after.addresses}
    hosts -= LOOPBACK  # which is no more than a name of any machine
    words = [re.compile(rf"(?<![\w.-]){re.escape(host)}(?![\w-]|\.\w)") for host in hosts]
    places: list[str] = []
    told: list[str] = []
    for piece in pieces:
        if named(piece.text, before):
            (told if piece.comment else places).append(piece.place)
        elif not piece.comment and any(word.search(piece.text) for word in words):
            told.append(f"{piece.place} (the old side's server)")
    observed = f"still in {', '.join(places)}" if places else "nothing"
    if told:
        observed += f"; also, perhaps on purpose: {', '.join(told)}"
    yield Finding(
        claim=f"no rendered file points at the old side's database {name}",
        expected="nothing",
        observed=observed,
        source="every value of the rendered files",
        holds=not places,
    )


def place_in(piece: Text, place: Path) -> bool:
    """Whether a piece names this file."""
    return mentions(piece.text, str(place))


def _between(file: ParsedFile, start: int, end: int) -> Iterator[Text]:
    for number, line, comment in between(file, start, end):
        place = f"{file.path.name}:{number}"
        yield Text(f"{place} (comment)" if comment else place, line, comment)
