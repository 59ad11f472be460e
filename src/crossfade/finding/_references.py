"""Files that found files name: included ones, keys, certificates, scripts, places for uploads."""

from __future__ import annotations

import fnmatch
import posixpath
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from crossfade.finding._book import Book
from crossfade.finding._far import PARSED, Entry, Far
from crossfade.finding._inventory import Kind
from crossfade.finding._packages import Packages
from crossfade.finding._rules import BACKUP, GENERATED, LONG, below, classified, deep

__all__ = ["References", "decoded"]

_DEPTH: Final = 3
_MANY: Final = 4000  # references followed at one depth
_ABSOLUTE: Final = re.compile(r"""(?:(?<==-)|(?<![\w.~/-]))/[^\s"'`<>|;,:=(){}\[\]\\$#&!]+""")
_RELATIVE: Final = re.compile(
    r"""(?<![\w./~-])(?:\.{1,2}/)?[\w@-][\w.@+-]*(?:/[\w.@+*?-]+)*"""
    r"\.(?:conf|cnf|cfg|ini|ya?ml|toml|json|xml|properties|env|groovy|sh|py|pem|key|crt|cer|jks"
    r"|p12|pfx|keystore|png|svg|jpe?g|gif|ico|css|html?|ftl|j2)(?![\w.])"
)
_INCLUDES: Final = re.compile(
    r"""^\s*(?:!?include(?:dir|_dir|_if_exists|Optional)?|source|\.)[\s=:]+["']?([^\s"';]+)""",
    re.IGNORECASE | re.MULTILINE,
)
_NEVER: Final = re.compile(
    r"/(dev|proc|sys|run|tmp|var/(run|lock|tmp|log|cache)|usr/share/(zoneinfo|doc|man|java))(/.*)?"
    r"|.*\.(log|pid|sock|lock)|/(usr/)?s?bin/[^/]*|/usr/lib/jvm(/.*)?"
)


@dataclass
class References:
    """Follows what files name.

    roots are the trees that were looked at as a whole; bases directories that relative names may
    start from; variables what ``$NAME`` and ``${name}`` stand for; data are directories that are
    not looked into.
    """

    far: Far
    packages: Packages
    roots: list[str]
    bases: Sequence[str]
    variables: Mapping[str, str]
    data: Collection[str]
    programs: Collection[str] = ()
    """Those of the roots in which every file was judged."""
    sources: Collection[str] = ()
    """Files that are followed although they may be no findings: those of the unit."""

    def follow(self, book: Book) -> None:
        """From the found files on, three steps at most.  Nothing is followed twice."""
        read: set[str] = set()
        for _ in range(_DEPTH):
            new = [path for path in (*book.files(), *self.sources) if path not in read]
            new = list(dict.fromkeys(new))
            read |= set(new)
            self.read(book, new)
            named: dict[str, tuple[str, int]] = {}
            for path in new:
                for line, target in self._named(path, book.texts.get(path, "")):
                    if "*" not in target or self._of_ours(book, path):
                        named.setdefault(target, (path, line))
            if len(named) > _MANY:
                book.trouble("references", f"only {_MANY} of {len(named)} names were followed")
            if not self._add(book, dict(list(named.items())[:_MANY])):
                break

    def _of_ours(self, book: Book, path: str) -> bool:
        """Whether all that a file includes is the installation's: a proxy serves others too."""
        known = book.found.get((path, False))
        return known is None or known.component != "proxy"

    def read(self, book: Book, paths: Collection[str]) -> None:
        """Read found files, so far as they are no larger than 5 MB and text."""
        missing = [path for path in paths if path not in book.entries]
        for one in self.far.look(missing).values():
            book.seen(one)
        links = [p for p in paths if p in book.entries and book.entries[p].kind == "l"]
        inside = {p: real for p, real in self.far.real(links).items() if self._within(real)}
        ends = self.far.look(inside.values())
        sizes = {}
        for path in paths:
            if path not in book.entries or book.entries[path].shut or path in book.texts:
                continue
            end = ends.get(inside.get(path, ""), book.entries[path])
            if end.kind == "f" and end.size > PARSED:
                book.unparsed[path] = "over 5 MB: only its sum was taken"
            elif end.kind == "f":
                sizes[path] = end.size
        for path, data in self.far.texts(sizes).items():
            text = decoded(data)
            if text is None:
                book.unparsed[path] = "not text"
            else:
                book.texts[path] = text

    def _within(self, real: str) -> bool:
        """Whether a link's end may be read: in the installation, or in /etc."""
        return bool(below(real, (*self.roots, "/etc")))

    def _named(self, path: str, text: str) -> Iterator[tuple[int, str]]:
        """Paths that a text names, each with its line."""
        bases = [posixpath.dirname(path), *self.bases]
        seen = set()
        for number, line in enumerate(text.splitlines(), 1):
            if line in seen or not ("/" in line or "." in line or "include" in line.lower()):
                continue
            seen.add(line)
            if line.lstrip().startswith(("#", ";", "//", "*")) and "#!" not in line:
                continue
            line = self._filled(line)
            for match in _ABSOLUTE.finditer(line):
                yield number, posixpath.normpath(match[0].rstrip("."))
            if len(line) > LONG:
                continue  # data, or a program that was squeezed
            words = [match[0] for match in _RELATIVE.finditer(line)]
            words += [match[1] for match in _INCLUDES.finditer(line)]
            for word in words:
                if not word.startswith("/"):
                    for base in bases:
                        yield number, posixpath.normpath(posixpath.join(base, word))

    def _filled(self, line: str) -> str:
        def value(match: re.Match[str]) -> str:
            name = match[1] or match[2] or "HOME"
            return self.variables.get(name, match[0])

        return re.sub(r"\$\{?([A-Za-z_][\w.]*)\}?|%\(([\w]+)\)s|(?<![\w/])~(?=/)", value, line)

    def _add(self, book: Book, named: Mapping[str, tuple[str, int]]) -> bool:
        """Those of the names that are there and that nothing has shipped; whether there are any."""
        globs = {path for path in named if re.search(r"[*?\[]", path)}
        plain = [p for p in named if p not in globs and not _NEVER.fullmatch(p)]
        there = self.far.look(plain)
        sources = {path: named[path] for path in there}
        for glob, source in ((one, named[one]) for one in globs):
            there |= self._globbed(glob, source, sources)
        for one in [one for one in there.values() if one.kind == "d"]:
            path, line = sources[one.path]
            if self._of_ours(book, path) and self._included(book, path, line):
                there |= self._globbed(f"{one.path}/*", sources[one.path], sources)
        owned = self.packages.judge_files(book, there)
        self.packages.judge_ucf(book, there)
        before = len(book.found)
        links = [path for path, one in there.items() if one.kind == "l"]
        real = self.far.real(links)
        for path, one in there.items():
            if path not in owned and path not in book.unchanged and not self._own_place(path):
                self._note(book, one, sources[path], real.get(path))
        return len(book.found) > before

    def _own_place(self, path: str) -> bool:
        holds_root = any(below(root, (path,)) for root in (*self.roots, *self.bases))
        return holds_root or path in GENERATED or path in self.packages.ucf

    def _note(self, book: Book, one: Entry, source: tuple[str, int], real: str | None) -> None:
        where, line = source
        detail = f"{where} names it in line {line}"
        if one.kind == "d":
            told = (f"{one.path}/", False) in book.found
            if deep(one.path) and (told or not below(one.path, self.roots)):
                book.note(f"{one.path}/", Kind.ASSET, "app", "references", detail)
            return
        if BACKUP.search(one.path) or below(one.path, self.data) or one.path == where:
            return
        known = book.found.get((one.path, False))
        if known is not None and below(one.path, self.roots):
            book.note(one.path, known.kind, known.component, "references", detail)
            return
        if below(one.path, self.programs):
            return  # a whole tree was looked at, and it is no finding there
        book.seen(one)
        if one.kind == "l" and real is None:
            detail += "; a link that leads nowhere, or in a circle"
        elif one.kind == "l" and real and not self._within(real):
            detail += "; a link that leads out of the installation and is not followed"
        component, kind = classified(one.path)
        kind = kind if kind == Kind.ADDED else Kind.ASSET
        book.note(one.path, kind, component if kind == Kind.ADDED else "app", "references", detail)

    def _included(self, book: Book, path: str, line: int) -> bool:
        """Whether that line includes what it names."""
        lines = book.texts.get(path, "").splitlines()
        return line <= len(lines) and bool(_INCLUDES.search(lines[line - 1]))

    def _globbed(
        self, glob: str, source: tuple[str, int], sources: dict[str, tuple[str, int]]
    ) -> dict[str, Entry]:
        directory, pattern = posixpath.split(glob)
        if re.search(r"[*?\[]", directory) or not deep(f"{directory}/x"):
            return {}
        found = {
            one.path: one
            for one in self.far.tree([directory], "", 1)
            if one.kind in ("f", "l") and fnmatch.fnmatch(posixpath.basename(one.path), pattern)
        }
        for path in found:
            sources.setdefault(path, source)
        return found


def decoded(data: bytes) -> str | None:
    """Bytes as text, by their BOM, as UTF-8, else as Latin-1; None for what is no text."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    if b"\0" in data[:65536]:
        return None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")
