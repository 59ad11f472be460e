"""The one entrance: everything that was customised in an installation, by all detectors."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from crossfade.errors import Failed
from crossfade.finding import _scope
from crossfade.finding._book import Book
from crossfade.finding._far import Far, as_text
from crossfade.finding._inventory import DETECTORS, Inventory
from crossfade.finding._mentions import mentioning, periphery
from crossfade.finding._packages import Packages
from crossfade.finding._references import References
from crossfade.finding._runtime import Process, Unit, home_of, processes, unit, units_of
from crossfade.finding._scope import Running, Scope
from crossfade.finding._servers import database_servers, whole_packages
from crossfade.finding._together import stand, together
from crossfade.finding._trees import Trees
from crossfade.finding._units import named_units, write_opened, write_unit, write_values
from crossfade.finding._values import Masks
from crossfade.model import Installation
from crossfade.ports import Host

__all__ = ["look"]

_WHO: Final = r"""
id -un 2>/dev/null || id -u; hostname 2>/dev/null; hostname -f 2>/dev/null
for t in find grep xargs sha256sum md5sum base64 readlink timeout; do
    command -v "$t" >/dev/null || printf 'no %s\n' "$t"
done
find / -maxdepth 0 -readable -printf '' 2>/dev/null || printf 'no find of GNU\n'
"""


def look(
    host: Host,
    installation: Installation,
    running: Running | None = None,
    scope: Scope | None = None,
) -> Inventory:
    """Find what was customised.  Changes nothing, and reads with the account that ``host`` has.

    A detector that cannot run is named by the coverage with the reason.  Raises Failed only where
    the machine cannot be asked at all, or lacks the tools (host-lacks-tool).
    """
    return _Looking(host, installation, running or Running(), scope or Scope()).all()


class _Looking:
    """One look, from the process by the trees and the system to what all these name."""

    def __init__(
        self, host: Host, installation: Installation, running: Running, scope: Scope
    ) -> None:
        self._host, self._at = host, installation
        self._running, self._scope = running, scope
        self._far = Far(host, scope.patience)
        self._book = Book(ran=dict.fromkeys(DETECTORS, "ran"))
        self._processes: list[Process] = []
        self._units: dict[str, Unit] = {}
        self._home = ""
        self._shared = ""
        self._account = ""
        self._hosts: list[str] = []

    def all(self) -> Inventory:
        """Every detector, each in its turn."""
        self._who()
        far, book, packages = self._far, self._book, Packages(self._far)
        if not packages.there:
            book.trouble("package-db", "no package database of Debian's kind there")
        self._try("runtime", self._run)
        trees = _scope.trees(self._at, self._processes, self._home, self._scope)
        if self._shared:
            words = [self._at.application, *(one.removesuffix(".service") for one in self._units)]
            trees.shared[self._shared.rstrip("/")] = words
        self._compare(trees, packages)
        everything = [*trees.programs, *trees.configs]
        self._try("mentions", lambda: self._mentioned(packages, everything))
        self._try("runtime", lambda: write_opened(far, book, packages, self._processes, everything))
        references = References(
            *(far, packages, everything),
            _scope.bases(self._at, self._processes),
            _scope.variables(self._at, self._processes, self._home),
            trees.data,
            trees.programs,
            [path for one in self._units.values() for path in (one.file, *one.drop_ins) if path],
        )
        self._try("references", lambda: references.follow(book))
        self._try("package-db", lambda: self._servers(packages, references))
        self._try("references", lambda: references.follow(book))
        self._try("periphery", lambda: periphery(far, book, packages))
        self._try("hints", lambda: trees.late(book))
        masks, units = Masks(self._scope.key), list(self._units.values())
        self._try(
            "runtime",
            lambda: write_values(far, book, masks, self._processes, units, references),
        )
        self._try("stock-diff", lambda: stand(far, book))
        return together(
            *(book, masks),
            host=self._host.name,
            root=str(self._at.root),
            account=self._account,
            processes=len(self._processes),
        )

    def _try(self, detectors: str, act: Callable[[], None]) -> None:
        """Run a part; what goes wrong is said of its detectors, and the others go on."""
        trouble = []
        try:
            act()
        except Failed as error:
            trouble = [_in_words(error)]
        for words in trouble + self._far.trouble:
            for detector in detectors.split():
                self._book.trouble(detector, words)
        self._far.trouble.clear()

    def _who(self) -> None:
        lines = self._host.run(("sh", "-c", _WHO), ok=(0, 1), timeout=self._scope.patience).out
        account, *rest = as_text(lines).splitlines() or [""]
        lacks = [line.removeprefix("no ") for line in rest if line.startswith("no ")]
        if lacks:
            raise Failed(
                "host-lacks-tool",
                f"What was customised cannot be looked for without {', '.join(lacks)}.",
                where=self._host.name,
            )
        self._account = account
        self._hosts = [line for line in rest if line]

    def _run(self) -> None:
        """The process, its unit, and the home of its account."""
        given = self._running
        known = [given.unit] if given.unit else units_of(self._far, str(self._at.root))
        found = processes(
            *(self._host, self._far, self._book), self._at.inside, next(iter(known), ""), given.pid
        )
        self._processes = found
        name = next((one.unit for one in found if one.unit), next(iter(known), ""))
        if name:
            self._units[name] = unit(self._far, name)
            if not self._units[name].file:
                self._book.trouble("runtime", f"no file of the unit {name} was found")
        self._live_in(next((one for one in found), None))

    def _live_in(self, process: Process | None) -> None:
        """Learn the home of the account that the program runs as.  Of root's, which holds much
        that is not the program's, only what names the application counts."""
        account = self._running.account
        account = account or next((one.account for one in self._units.values()), "")
        if process is not None:
            self._home, uid = process.home, process.uid
        else:
            self._home, uid = home_of(self._far, account) if account else ("", None)
        self._shared = self._home if uid == 0 else ""

    def _compare(self, trees: Trees, packages: Packages) -> None:
        far, book = self._far, self._book
        everything = "unowned stock-diff hints references"
        self._try(everything, lambda: trees.list(far, book))
        with tempfile.TemporaryDirectory(prefix="crossfade-") as scratch:
            self._try("stock-diff", lambda: trees.unpack(self._host, far, book, Path(scratch)))
            self._try("stock-diff", lambda: trees.compare(far, book, packages))
        self._try("unowned", lambda: trees.unowned(far, book, packages))

    def _mentioned(self, packages: Packages, apart: list[str]) -> None:
        """Files that name it; and once more by the names of units that were found like this."""
        while True:
            names = _scope.names(
                *(self._at, self._processes, list(self._units), self._hosts),
                *(self._running.account, self._scope),
            )
            mentioning(self._far, self._book, packages, names, apart)
            new = [one for one in named_units(self._book) if one not in self._units]
            self._units |= {name: unit(self._far, name) for name in new}
            if not new:
                break
        for one in self._units.values():
            if one.file:
                write_unit(self._book, packages, one)

    def _servers(self, packages: Packages, references: References) -> None:
        database_servers(
            *(self._far, self._book, packages, references), self._hosts, self._scope.servers
        )
        programs = {one.exe for one in self._processes}
        for one in self._units.values():
            programs |= {one.file, *one.masked}
        whole_packages(self._far, self._book, packages, programs - {""}, str(self._at.root))


def _in_words(error: Failed) -> str:
    return error.what[:1].lower() + error.what[1:].rstrip(".")
