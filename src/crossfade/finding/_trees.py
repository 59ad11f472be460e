"""The trees of the installation: against their pristine files, and what nothing has shipped."""

from __future__ import annotations

import io
import itertools
import posixpath
import re
import statistics
import zipfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from crossfade.errors import Failed
from crossfade.finding._book import Book
from crossfade.finding._difference import Difference
from crossfade.finding._far import PARSED, Entry, Far
from crossfade.finding._inventory import Base, Kind
from crossfade.finding._nearest import Candidate, nearest
from crossfade.finding._packages import Packages
from crossfade.finding._rules import BACKUP, GENERATED, HASHED, PRUNED, below, configures, pruned
from crossfade.finding._stock import ArchiveStock, Changes, PipStock, Stock
from crossfade.finding._switches import switches
from crossfade.ports import Host

__all__ = ["Trees", "tomcat_version"]

_SHALLOW = 4
_LATE = 3600  # seconds after the bulk of a tree


@dataclass
class Trees:
    """Trees that belong to the installation.

    programs are where programs stand, each with its component; configs are directories for
    configuration, and homes of accounts; data is not looked into beyond what looks like
    configuration at its top.
    """

    programs: Mapping[str, str]
    configs: Mapping[str, str]
    data: Sequence[str]
    stocks: Mapping[str, Stock | Changes]
    candidates: Mapping[str, Sequence[Candidate]]
    shallow: Collection[str] = ()
    """Roots that may hold anything (a home, a directory of data and configuration): only what is
    at their top, ``_SHALLOW`` levels deep, is listed."""
    shared: dict[str, list[str]] = field(default_factory=dict)
    """Homes of which only those files count whose path has one of these words."""
    files: dict[str, list[Entry]] = field(default_factory=dict)
    """The entries below each root, by root; each belongs to the deepest one."""
    unpacked: set[str] = field(default_factory=set)
    """WARs that stand beside what was unpacked from them, each with a slash."""

    def list(self, far: Far, book: Book) -> None:
        """List everything, with one command, or two."""
        everywhere = {**self.programs, **self.configs}
        inside = [one for one in self.data if one not in everywhere]
        used = {part for stock in self.stocks.values() for part in _directories(stock)}
        names = [name for name in PRUNED if name not in used]
        tops = [root for root in everywhere if not below(posixpath.dirname(root), everywhere)]
        self.files = {root: [] for root in everywhere}
        prune = pruned(names, inside)
        whole = far.tree(sorted(set(tops) - set(self.shallow)), prune)
        some = far.tree(sorted(set(tops) & set(self.shallow)), prune, _SHALLOW)
        for entry in itertools.chain(whole, some):
            if entry.kind == "gone":
                book.trouble("unowned", f"{entry.path} is not there")
            elif entry.kind == "X":
                rule = "data directories" if entry.path in inside else "caches, logs and the like"
                book.left_out[rule] += 1
            else:
                self._take(entry, everywhere, book)
        book.roots += [root for root in everywhere if self.files[root]]

    def _take(self, entry: Entry, everywhere: Iterable[str], book: Book) -> None:
        root = below(entry.path, everywhere)
        book.seen(entry)
        if root in self.shallow and entry.kind == "d":
            depth = entry.path.removeprefix(root or "").count("/")
            book.left_out["directories too deep in a home or in data"] += depth >= _SHALLOW
        if root is not None:
            self.files[root].append(entry)
            book.looked += entry.kind == "f"

    def unpack(self, host: Host, far: Far, book: Book, scratch: Path) -> None:
        """Compare what was unpacked from a WAR beside it with the WAR, which is brought here."""
        everything = {one.path: one for of in self.files.values() for one in of}
        for war in [path for path in everything if path.endswith(".war")]:
            place = war.removesuffix(".war")
            self.unpacked.add(f"{war}/")
            if not any(path.startswith(f"{place}/WEB-INF/") for path in everything):
                continue
            root = below(war, self.files)
            if root is None or place in self.stocks:
                continue
            archive = scratch / f"{len(self.unpacked)}.war"
            if everything[war].size > HASHED or not _fetched(host, war, archive):
                book.trouble("stock-diff", f"{war} could not be brought here to compare with")
                continue
            self.stocks = {**self.stocks, place: ArchiveStock(archive)}
            self.programs = {**self.programs, place: "app"}
            mine = [one for one in self.files[root] if below(one.path, (place,))]
            self.files[root] = [one for one in self.files[root] if one not in mine]
            self.files[place] = mine

    # -- against the stock -----------------------------------------------------------------------

    def compare(self, far: Far, book: Book, packages: Packages) -> None:
        """Each program's tree with its stock; where there is none, with what packages or pip say,
        or with the nearest text that is known."""
        for root, component in self.programs.items():
            there = {one.path: one for one in self.files[root] if one.kind in "fl"}
            stock = self.stocks.get(root)
            if isinstance(stock, Changes):
                _reported(book, root, component, stock)
            elif stock is not None:
                self._differences(far, book, root, component, stock, there)
            else:
                self._without_stock(far, book, packages, root, component, there)

    def _without_stock(
        self,
        far: Far,
        book: Book,
        packages: Packages,
        root: str,
        component: str,
        there: dict[str, Entry],
    ) -> None:
        records = {p: e.size for p, e in there.items() if p.endswith(".dist-info/RECORD")}
        if records:
            pip = PipStock.there(far, root, records)
            book.ran.setdefault("package-db", "ran")
            self._differences(far, book, root, component, pip, there)
            return
        owned = packages.judge_files(book, there, component)
        rest = {path: one for path, one in there.items() if path not in owned and one.kind == "f"}
        if owned:
            for path in rest:
                if configures(path):
                    detail = "no package owns it, in a directory of the program"
                    book.note(path, Kind.ADDED, component, "unowned", detail)
            return
        if rest:
            version = tomcat_version(far, there)
            of = f" (Tomcat {version})" if version else ""
            book.trouble("stock-diff", f"no pristine files of {root}{of} at hand")
        self._inferred(far, book, root, component, rest)

    def _differences(
        self,
        far: Far,
        book: Book,
        root: str,
        component: str,
        stock: Stock,
        there: dict[str, Entry],
    ) -> None:
        nested = [one for one in self.files if one != root]
        Difference(book, root, component, stock, there, nested, self.unpacked).write(far)

    def _inferred(
        self, far: Far, book: Book, root: str, component: str, rest: dict[str, Entry]
    ) -> None:
        wanted = {p: self.candidates.get(p.removeprefix(f"{root}/"), ()) for p in rest}
        sizes = {p: rest[p].size for p, known in wanted.items() if known and rest[p].size <= PARSED}
        texts = far.texts(sizes)
        for path in rest:
            best = nearest(texts[path], wanted[path]) if path in texts else None
            if best is None:
                book.without_base.add(path)
            elif best.distance == 0 and texts[path] == best.data:
                book.unchanged.add(path)
            else:
                versions = "..".join(dict.fromkeys((best.versions[0], best.versions[-1])))
                base = Base("inferred", versions, margin=best.margin)
                detail = f"{best.distance} lines from the nearest text that is known ({versions})"
                book.note(path, Kind.MODIFIED, component, "stock-diff", detail, base=base)

    # -- what nothing has shipped ----------------------------------------------------------------

    def unowned(self, far: Far, book: Book, packages: Packages) -> None:
        """Files of configuration directories and homes that no package has shipped."""
        entries = {
            one.path: (root, one)
            for root in self.configs
            for one in self.files[root]
            if one.kind in "fl" and not BACKUP.search(one.path) and one.path not in GENERATED
        }
        if not entries:
            return
        owned = packages.owners(entries)
        packages.judge_files(book, owned)
        packages.judge_ucf(book, entries)
        links = [path for path, (_, one) in entries.items() if one.kind == "l"]
        switched = switches(far, packages, links)
        for path, (root, one) in entries.items():
            if path in owned or path in packages.ucf:
                continue
            if one.link.startswith("/etc/alternatives/") or switched.get(path, "") is None:
                book.left_out["links that packages make"] += 1
                continue
            if root in self.shared and not self._named(path.removeprefix(root), root):
                book.left_out["files in root's home that do not name the application"] += 1
                continue
            if not configures(path) and path not in switched:
                book.left_out["not configuration by their names"] += 1
                continue
            component = self.configs[root]
            kind = Kind.OVERLAY if component in ("app", "home") else Kind.ADDED
            what = "the account's home" if component == "home" else root
            detail = f"no package owns it, in {what}"
            if path in switched:
                detail = f"switched on: a link to {switched[path]}, which a package has shipped"
            book.note(path, kind, component, "unowned", detail)

    def _named(self, name: str, root: str) -> bool:
        """Whether a path in a shared home has a word of the application, or the name of its WAR."""
        wars = [posixpath.basename(war.rstrip("/")).removesuffix(".war") for war in self.unpacked]
        words = [word.lower() for word in (*self.shared[root], *wars) if len(word) > 2]
        return any(word in name.lower() for word in words if word != "root")

    def late(self, book: Book) -> None:
        """Hints: copies beside a file, and files without a base that changed after the rest."""
        for root in self.files:
            files = [one for one in self.files[root] if one.kind == "f"]
            usual = statistics.median([one.changed for one in files] or [0.0])
            for one in files:
                component = self.programs.get(root) or self.configs.get(root, "app")
                if root in self.shared and not self._named(one.path.removeprefix(root), root):
                    continue
                if match := BACKUP.search(one.path):
                    beside = one.path[: match.start()]
                    detail = f"a copy, by its name, of {beside}, which {_stand(book, beside)}"
                    book.note(one.path, Kind.HINT, component, "hints", detail)
                elif one.path in book.without_base and one.changed > usual + _LATE:
                    detail = "changed more than an hour after most of its tree"
                    book.note(one.path, Kind.HINT, component, "hints", detail)


def tomcat_version(far: Far, there: Mapping[str, Entry]) -> str | None:
    """The version of the Tomcat whose tree this is, by its notes or its own archive."""
    notes = next((p for p in there if p.endswith("/RELEASE-NOTES")), None)
    if notes:
        text = far.texts({notes: there[notes].size}).get(notes, b"")
        if found := re.search(rb"Apache Tomcat Version (\d[\w.-]*)", text):
            return found[1].decode("ascii")
    jar = next((p for p in there if p.endswith("/lib/catalina.jar")), None)
    if jar:
        try:
            data = far.texts({jar: there[jar].size}).get(jar, b"")
            with zipfile.ZipFile(io.BytesIO(data)) as opened:
                info = opened.read("org/apache/catalina/util/ServerInfo.properties")
        except (zipfile.BadZipFile, KeyError, OSError):
            return None
        if found := re.search(rb"server\.number=(\d+\.\d+\.\d+)", info):
            return found[1].decode("ascii")
    return None


def _reported(book: Book, root: str, component: str, engine: Changes) -> None:
    """What the engine says of a container's files since its image."""
    base = Base("image", engine.version)
    for name, change in engine.changes().items():
        path = f"{root.rstrip('/')}/{name}"
        if not re.match(r"(tmp|run|proc|sys|dev|var/(log|cache|tmp|run))/", name):
            detail = f"{change} in the container, since its image"
            book.note(path, Kind(change), component, "stock-diff", detail, base=base)


def _stand(book: Book, path: str) -> str:
    if path in book.unchanged:
        return "is as it was shipped"
    if (path, False) in book.found:
        return f"is {book.found[path, False].kind}"
    return "is there" if path in book.entries else "is not there"


def _directories(stock: Stock | Changes) -> set[str]:
    return {part for name in _names(stock) for part in name.split("/")[:-1]}


def _names(stock: Stock | Changes) -> Iterable[str]:
    return stock.files() if isinstance(stock, Stock) else ()


def _fetched(host: Host, path: str, into: Path) -> bool:
    """Bring a file here; False when it cannot be read."""
    try:
        with host.reading(("cat", "--", path)) as stream, into.open("wb") as file:
            while portion := stream.read(1 << 20):
                file.write(portion)
    except Failed:
        return False
    return True
