"""What Debian's package database says of files: who ships them, and with which sums."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from crossfade.finding._book import Book
from crossfade.finding._far import Far, as_bytes, as_text, portions
from crossfade.finding._inventory import Base, Kind
from crossfade.finding._rules import HASHED, classified

__all__ = ["Packages", "Shipped"]

_OWNERS: Final = """
LC_ALL=C; export LC_ALL
cd /var/lib/dpkg/info 2>/dev/null || exit 0
grep -Hx -F -f - -- *.list 2>/dev/null | tr '\\n' '\\0'
printf 'end\\0'
"""
_BELOW: Final = """
LC_ALL=C; export LC_ALL
cd /var/lib/dpkg/info 2>/dev/null && grep -H -E -e "$1" -- *.list 2>/dev/null | tr '\\n' '\\0'
printf 'end\\0'
"""
_SHIPPED: Final = r"""
LC_ALL=C; export LC_ALL
cd /var/lib/dpkg/info || exit 1
dpkg-query -W -f 'package\n${binary:Package}\n${Version}\n${Conffiles}\n' -- "$@" 2>/dev/null |
    tr '\n' '\0'
for package; do
    printf 'sums\0%s\0' "$package"
    [ ! -f "$package.md5sums" ] || tr '\n' '\0' <"$package.md5sums"
done
printf 'end\0'
"""
_ASIDE: Final = r"""
LC_ALL=C; export LC_ALL
[ -d /var/lib/dpkg/info ] && command -v dpkg-query >/dev/null && printf 'dpkg\0'
[ ! -h /lib ] || printf 'merged\0'
[ ! -r /var/lib/dpkg/diversions ] || tr '\n' '\0' </var/lib/dpkg/diversions
printf 'ucf\0'
[ ! -r /var/lib/ucf/hashfile ] || tr '\n' '\0' </var/lib/ucf/hashfile
printf 'end\0'
"""
_MERGED: Final = re.compile(r"/(usr/)?(bin|sbin|lib(?:32|64|x32)?)/")
_TRIMMED: Final = re.compile(r"/usr/share/(doc|man|locale|info|lintian|gnome/help|omf)/")
_CONFFILE: Final = re.compile(rb" (/.+) ([0-9a-f]{32})")  # one that is obsolete has a word more
_LINE: Final = re.compile(rb"([0-9a-f]{32})  (.+)")


@dataclass(frozen=True, slots=True)
class Shipped:
    """A file as a package ships it."""

    path: str
    package: str
    version: str
    md5: str
    conffile: bool


class Packages:
    """The package database of the machine; empty where there is none."""

    def __init__(self, far: Far) -> None:
        self._far = far
        words = far.ask(_ASIDE)
        self.there = words[:1] == [b"dpkg"]
        at = words.index(b"ucf") if b"ucf" in words else len(words)
        self._merged = b"merged" in words[:at]
        diverted = words[int(self.there) + self._merged : at]
        self._diverted = {as_text(one) for one in diverted[::3]}
        self.ucf = {
            as_text(found[2]): found[1].decode("ascii")
            for found in map(_LINE.fullmatch, words[at + 1 :])
            if found
        }
        self._shipped: dict[str, dict[str, Shipped]] = {}
        self._owners: dict[str, str | None] = {}

    def owners(self, paths: Iterable[str]) -> dict[str, str]:
        """The package that owns each path; those that nobody owns are left out."""
        asked = {path for path in paths if "\n" not in path and path.startswith("/")}
        new = [path for path in asked if path not in self._owners] if self.there else []
        for portion in portions(new, lambda path: 3 * len(path) + 100):
            self._owners |= dict.fromkeys(portion)
            names = {alias: path for path in portion for alias in _aliases(path)}
            lines = self._far.ask(_OWNERS, stdin=b"".join(as_bytes(n) + b"\n" for n in names))
            for line in lines:
                package, _, name = as_text(line).partition(".list:")
                if name in names and self._owners[names[name]] is None:
                    self._owners[names[name]] = package
        return {path: owner for path in asked if (owner := self._owners.get(path))}

    def below(self, directories: Iterable[str]) -> dict[str, str]:
        """Every path that packages own in these directories, with its package."""
        wanted = [one.rstrip("/") for one in directories if "\n" not in one]
        if not (self.there and wanted):
            return {}
        names = {alias: one for one in wanted for alias in _aliases(one)}
        pattern = "^(" + "|".join(re.escape(name) for name in sorted(names)) + ")/"
        found = {}
        for line in self._far.stream(_BELOW, pattern.replace("\\-", "-")):
            package, _, path = as_text(line).partition(".list:")
            alias = next((name for name in names if path.startswith(f"{name}/")), None)
            if alias is not None:
                found[names[alias] + path.removeprefix(alias)] = package
        return found

    def shipped(self, packages: Iterable[str]) -> dict[str, Shipped]:
        """The files of these packages whose sums are known, by path."""
        wanted = sorted(set(packages))
        missing = [one for one in wanted if one not in self._shipped]
        if missing and self.there:
            self._read(missing)
        return {path: one for name in wanted for path, one in self._shipped.get(name, {}).items()}

    def _read(self, packages: list[str]) -> None:
        self._shipped |= {package: {} for package in packages}
        versions: dict[str, str] = {}
        package, sums = "", False
        words = self._far.stream(_SHIPPED, *packages)
        for word in words:
            if word in (b"package", b"sums"):
                package, sums = as_text(next(words)), word == b"sums"
                if not sums:
                    versions[package] = as_text(next(words))
            elif sums and (found := _LINE.fullmatch(word)):
                path = "/" + as_text(found[2])
                self._add(package, versions.get(package, ""), path, found[1], conffile=False)
            elif not sums and (conffile := _CONFFILE.fullmatch(word)):
                path = as_text(conffile[1])
                self._add(package, versions[package], path, conffile[2], conffile=True)

    def _add(self, package: str, version: str, path: str, md5: bytes, *, conffile: bool) -> None:
        if path not in self._diverted and not (_TRIMMED.match(path) and not conffile):
            if self._merged and _MERGED.match(path):
                path = f"/usr{path.removeprefix('/usr')}"
            one = Shipped(path, package, version, md5.decode("ascii", "replace"), conffile)
            self._shipped.setdefault(package, {}).setdefault(path, one)

    # -- what that says of files -----------------------------------------------------------------

    def judge(self, book: Book, packages: Iterable[str], component: str = "") -> None:
        """Compare everything that these packages ship; what differs is a finding."""
        shipped = self.shipped(packages)
        self._compare(book, shipped, component)

    def judge_files(self, book: Book, paths: Iterable[str], component: str = "") -> set[str]:
        """Compare these files where a package, or ucf, has their sums.  Returns those that some
        package owns."""
        asked = set(paths)
        owners = self.owners(asked)
        shipped = self.shipped(owners.values())
        known = {}
        for path in asked:
            one = next((shipped[a] for a in _aliases(path) if a in shipped), None)
            if one:
                known[path] = one
        self._compare(book, known, component)
        return set(owners)

    def judge_ucf(self, book: Book, paths: Iterable[str], component: str = "") -> None:
        """Compare those of the files that were installed by ucf."""
        asked = [path for path in paths if path in self.ucf]
        for path, value in self._far.sums(asked, "md5").items():
            if value == self.ucf[path]:
                book.unchanged.add(path)
                continue
            detail = "differs from what its package shipped last, by ucf"
            where = component or classified(path)[0]
            base = Base("ucf")
            book.note(path, Kind.MODIFIED, where, "package-db", detail, base=base)

    def _compare(self, book: Book, shipped: dict[str, Shipped], component: str) -> None:
        entries = self._far.look(shipped)
        small = [path for path, one in entries.items() if one.size <= HASHED]
        sums = self._far.sums(small, "md5")
        book.compared += len(sums)
        for path, one in shipped.items():
            where = component or classified(path)[0]
            what = f"{one.package} {one.version}"
            base = Base("package", one.version)
            if path not in entries:
                book.note(path, Kind.DELETED, where, "package-db", f"{what} has it", base=base)
            elif entries[path].shut:
                book.seen(entries[path])
            elif path not in sums:
                book.left_out["over 256 MiB, or no longer there"] += 1
            elif sums[path] == one.md5:
                book.unchanged.add(path)
            else:
                detail = f"differs from {'the conffile' if one.conffile else 'the file'} of {what}"
                book.note(path, Kind.MODIFIED, where, "package-db", detail, base=base)


def _aliases(path: str) -> tuple[str, ...]:
    """A path's names on a system that has merged /usr: packages may use either."""
    found = _MERGED.match(path)
    if not found:
        return (path,)
    other = path.removeprefix("/usr") if found[1] else f"/usr{path}"
    return (path, other)
