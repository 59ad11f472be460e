"""One tree against its pristine files."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from crossfade.finding._book import Book
from crossfade.finding._far import Entry, Far
from crossfade.finding._inventory import Base, Kind
from crossfade.finding._rules import BACKUP, HASHED, below, configures
from crossfade.finding._stock import Stock

__all__ = ["Difference"]

_DERIVED = re.compile(
    r"(.*/)?(pyvenv\.cfg|\.lock|lib64|\.gitignore|CACHEDIR\.TAG|\.crossfade-installed"
    r"|bin/(activate[\w.]*|Activate\.ps1|python[\d.]*|(deactivate|pydoc)\.bat))"
)
_MANY = 10


@dataclass
class Difference:
    """A tree at ``root`` (its files and links by path) and its stock.  nested are roots of their
    own inside of it; applications are WARs, each with a slash at its end."""

    book: Book
    root: str
    component: str
    stock: Stock
    there: Mapping[str, Entry]
    nested: Collection[str]
    applications: Collection[str]

    def write(self, far: Far) -> None:
        """Compare, and write the findings down."""
        shipped = self.stock.files()
        common = {path for path in self.there if self._name(path) in shipped}
        self._modified(far, common, shipped)
        self._added(sorted(set(self.there) - common), shipped)
        self._deleted(sorted(set(shipped) - {self._name(path) for path in self.there}))

    def _name(self, path: str) -> str:
        return path.removeprefix(f"{self.root}/")

    @property
    def _of(self) -> str:
        version = self.stock.version
        return f"{self.stock.how} {version}" if version else self.stock.how

    def _modified(self, far: Far, common: Collection[str], shipped: Mapping[str, str]) -> None:
        there, book = self.there, self.book
        sums = far.sums(p for p in common if there[p].size <= HASHED and not there[p].shut)
        book.sums |= sums
        book.compared += len(sums)
        for path in sorted(common):
            value = shipped[self._name(path)]
            if not value or sums.get(path) == value:
                book.unchanged.add(path)
            elif path in sums:
                base = Base(self.stock.how, self.stock.version, value)
                detail = f"differs from the pristine file ({self._of})"
                book.note(path, Kind.MODIFIED, self.component, "stock-diff", detail, base=base)
            elif not there[path].shut:
                book.left_out["over 256 MiB, or no longer there"] += 1

    def _added(self, paths: Collection[str], shipped: Mapping[str, str]) -> None:
        """Files that the stock has not.  Many of one new directory that do not look like
        configuration are told as the directory."""
        known = {part for name in shipped for part in _parents(name)}
        many: dict[str, list[str]] = {}
        for path in paths:
            name = self._name(path)
            if BACKUP.search(path):
                continue
            if (self.stock.how == "pip" and _DERIVED.fullmatch(name)) or (
                f"{path}/" in self.applications
            ):
                self.book.left_out["made by the installer, or the application itself"] += 1
                continue
            new = next((part for part in _parents(name) if part not in known), None)
            if new is not None and not configures(path):
                many.setdefault(new, []).append(path)
            else:
                self._add(path)
        for new, inside in many.items():
            if len(inside) > _MANY:
                detail = f"{len(inside)} files that the pristine tree has not ({self._of})"
                place = f"{self.root}/{new}/"
                self.book.note(place, Kind.ASSET, self.component, "unowned", detail)
            else:
                for path in inside:
                    self._add(path)

    def _add(self, path: str) -> None:
        detail = f"the pristine tree has no such file ({self._of})"
        self.book.note(path, Kind.ADDED, self.component, "stock-diff", detail)
        self.book.note(path, Kind.ADDED, self.component, "unowned", "nothing has shipped it")

    def _deleted(self, names: Collection[str]) -> None:
        """What is not there; a directory of which nothing is left is told as one."""
        left = {part for path in self.there for part in _parents(self._name(path))}
        base = Base(self.stock.how, self.stock.version)
        gone: dict[str, int] = {}
        for name in names:
            path = f"{self.root}/{name}"
            if name.endswith((".pyc", ".pyo")) or below(path, self.nested):
                continue
            whole = next((part for part in _parents(name) if part not in left), None)
            told = path if whole is None else f"{self.root}/{whole}/"
            gone[told] = gone.get(told, 0) + 1
        for told, count in gone.items():
            what = f"{count} files" if told.endswith("/") else "it"
            detail = f"the pristine tree has {what} ({self._of})"
            self.book.note(told, Kind.DELETED, self.component, "stock-diff", detail, base=base)


def _parents(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[:at]) for at in range(1, len(parts))]
