"""Where things are on the old side, and where they go on the new one."""

from __future__ import annotations

import os.path
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from crossfade.configuration._database_url import Database, file_of, moved, moved_file
from crossfade.configuration._parse import parse
from crossfade.configuration._parsed import ParsedFile, Value
from crossfade.errors import Failed, UsageError
from crossfade.manifest import resolve
from crossfade.model import Endpoint, Installation
from crossfade.recipes import KeyReference, PartSpec, RewriteSpec

__all__ = ["Reader", "Reads", "absolute", "database", "locate", "mapped", "references", "translate"]

_EVERYWHERE = ("0.0.0.0", "[::]")  # noqa: S104 - a program that listens everywhere goes on so


class Reads(Protocol):
    """All that configuration may do on a host; every ``ports.Host`` can."""

    def read(self, path: Path) -> bytes:
        """The whole file.  Raises Failed when it cannot be read."""

    def exists(self, path: Path) -> bool:
        """Whether anything is there.  Raises Failed when that cannot be seen."""


def absolute(text: str, old: Installation) -> str:
    """A path as the application means it: relative ones count from its data directory."""
    if text.startswith("/") and ".." not in text.split("/"):
        return text
    return os.path.normpath(old.data / text)


def mapped(path: Path, old: Installation, new: Installation, key: str = "") -> Path:
    """The place on the new side of a path on the old side, by the longest directory around it.

    Raises UsageError ``path-outside``, naming ``key``, for a path below neither directory.
    """
    text = _mapped_text(str(path), old, new)
    if text is None:
        raise _outside(str(path), old, key)
    return Path(text)


class Reader:
    """Reads and parses each file of a host once, so that one rendering sees one state."""

    def __init__(self, host: Reads) -> None:
        self._host = host
        self._data: dict[Path, bytes] = {}
        self._parsed: dict[tuple[str, Path], ParsedFile] = {}

    def read(self, path: Path) -> bytes:
        """The whole file.  Raises Failed."""
        if path not in self._data:
            try:
                self._data[path] = self._host.read(path)
            except Failed as failed:
                if failed.code == "file-unreadable":
                    failed.next = f"crossfade config plan   (first make {path} a file to be read)"
                raise
        return self._data[path]

    @property
    def known(self) -> set[str]:
        """The files that were read."""
        return {str(path) for path in self._data}

    def exists(self, path: Path) -> bool:
        """Whether anything is there."""
        return self._host.exists(path)

    def parsed(self, path: Path, format: str) -> ParsedFile:
        """The file, read as that format.  Raises Failed."""
        if (format, path) not in self._parsed:
            self._parsed[format, path] = parse(format, path, self.read(path))
        return self._parsed[format, path]


def references(
    specs: Iterable[KeyReference], old: Installation, reader: Reader
) -> list[tuple[str, str]]:
    """The paths that the first key which is set holds: (key, absolute path) pairs."""
    for reference in specs:
        file = reader.parsed(old.config / reference.file, reference.format)
        texts = [
            (f"{reference.file} {found.key}", absolute(file_of(found.text), old))
            for found in file.find(reference.key)
            if found.is_text and found.text
        ]
        if texts:
            return texts
    return []


def locate(spec: PartSpec, old: Installation, host: Reads) -> Path:
    """Where a database or a tree is on the old side: as its configuration says, else the recipe's
    place below {data}.  Raises Failed when the configuration cannot be read."""
    found = references(spec.path_from, old, Reader(host))
    return Path(found[0][1]) if found else old.data / spec.path


def translate(
    rule: RewriteSpec, found: Value, old: Installation, new: Installation
) -> str | int | None:
    """The value for the new side; None when the value is not one of the old side.

    Raises UsageError ``path-outside`` where the rule refuses a path outside.
    """
    text = found.text
    if rule.to == "database-url":
        return _translate_database_url(rule, found, old, new)
    if rule.to.startswith("database-"):
        return _translate_database(rule, found, old, new)
    if rule.to == "path":
        return _translate_path(rule, found, old, new) if found.is_text else None
    if rule.to == "port":
        if text != str(old.inside.port):
            return None
        return str(new.inside.port) if found.is_text else new.inside.port
    if rule.to == "address" and text in (f"{host}:{old.inside.port}" for host in _EVERYWHERE):
        return f"{text.rpartition(':')[0]}:{new.inside.port}"
    before, after = {
        "host": (old.inside.host, new.inside.host),
        "address": (str(old.inside), str(new.inside)),
        "version": (old.version, new.version),
    }[rule.to]
    return after if text == before else None


def _translate_database(
    rule: RewriteSpec, found: Value, old: Installation, new: Installation
) -> str | int | None:
    """A value of a database on a server; a password is read where its reference says."""
    if rule.database not in old.databases:
        return None
    kind = rule.to.removeprefix("database-")

    def value(endpoint: Endpoint) -> str:
        if kind == "password":
            return resolve(endpoint.password, endpoint.base) if endpoint.password else ""
        return endpoint.variables()["database" if kind == "name" else kind]

    before, after = (value(side.databases[rule.database]) for side in (old, new))
    if found.text != before:
        return None
    number = kind == "port" and after.isdigit() and not found.is_text
    return int(after) if number else after


def database(endpoint: Endpoint, *, secret: bool = False) -> Database:
    """What an address of this database says; its password only where it is asked for."""
    places = (endpoint.address, *([endpoint.beyond] if endpoint.beyond else []))
    password = resolve(endpoint.password, endpoint.base) if secret and endpoint.password else ""
    return Database(endpoint.kind, places, endpoint.database, endpoint.user, password)


def _translate_database_url(
    rule: RewriteSpec, found: Value, old: Installation, new: Installation
) -> str | None:
    """The address of a database in one text, on a server or in a file."""
    if rule.database in old.databases:
        sides = (database(side.databases[rule.database], secret=True) for side in (old, new))
        return moved(found.text, *sides)

    def place(path: str) -> str | None:
        return _moved_path(path, rule, found.key, old, new)

    return moved_file(found.text, place)


def _translate_path(
    rule: RewriteSpec, found: Value, old: Installation, new: Installation
) -> str | None:
    text = found.text
    if not text or text.startswith("~") or "://" in text or "\n" in text:
        return None  # no path that we understand; a leftover of the old side shows in the scan
    if not found.whole and not text.startswith("/"):
        return None  # a word of an expression, and nobody knows what it is put behind
    return _moved_path(text, rule, found.key, old, new)


def _moved_path(
    text: str, rule: RewriteSpec, key: str, old: Installation, new: Installation
) -> str | None:
    path = absolute(text, old)
    result = _mapped_text(path, old, new)
    if result is None and rule.outside == "refuse":
        raise _outside(path, old, key)
    if result is None and rule.outside == "into-data":
        return str(new.data / Path(path).name)
    return result


def _mapped_text(text: str, old: Installation, new: Installation) -> str | None:
    """The same in text, so that a slash at the end stays."""
    pairs = [(str(old.config), str(new.config)), (str(old.data), str(new.data))]
    for before, after in sorted(pairs, key=lambda pair: -len(pair[0])):
        if text == before or text.startswith(before + "/"):
            return after + text[len(before) :]
    return None


def _outside(path: str, old: Installation, key: str) -> UsageError:
    return UsageError(
        "path-outside",
        f"{key or 'a path'} is below neither the old side's data nor its configuration: {path}",
        where=f"old.data {old.data}, old.config {old.config}",
        next="edit crossfade.yaml, then: crossfade plan",
    )
