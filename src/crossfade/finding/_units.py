"""Files of systemd's units that run the installation, and what these set."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence

from crossfade.finding._book import Book
from crossfade.finding._far import Far
from crossfade.finding._inventory import Kind
from crossfade.finding._packages import Packages
from crossfade.finding._references import References
from crossfade.finding._rules import below, configures
from crossfade.finding._runtime import Process, Unit, write_process
from crossfade.finding._values import Masks

__all__ = ["named_units", "write_opened", "write_unit", "write_values"]

_UNITS = re.compile(r"/(?:etc|run|lib|usr/lib|usr/local/lib)/systemd/system/([^/]+\.service)")


def named_units(book: Book) -> list[str]:
    """Units whose file names the installation, and runs it rather than something beside it."""
    found = []
    for name, value in book.found:
        match = _UNITS.fullmatch(name)
        text = book.texts.get(name, "")
        if match and not value and not re.search(r"(?m)^\s*Type\s*=\s*oneshot", text):
            found.append(match[1])
    return found


def write_unit(book: Book, packages: Packages, found: Unit) -> None:
    """A unit's file and drop-ins, but for what a package has shipped like this."""
    paths = [found.file, *found.drop_ins]
    owned = packages.judge_files(book, [*paths, *found.masked], "unit")
    if found.masked and found.file not in owned:
        detail = f"stands in front of the vendor's {found.masked[0]}"
        book.note(found.file, Kind.MODIFIED, "unit", "runtime", detail)
    elif found.file not in owned:
        detail = f"the file of the unit {found.name}"
        book.note(found.file, Kind.ADDED, "unit", "runtime", detail)
    for path in found.drop_ins:
        if path not in owned:
            detail = f"a drop-in of the unit {found.name}"
            book.note(path, Kind.ADDED, "unit", "runtime", detail)


def write_opened(
    far: Far,
    book: Book,
    packages: Packages,
    processes: Sequence[Process],
    roots: Sequence[str],
) -> None:
    """Files that look like configuration and that the program has open, or that its arguments and
    environment name.  Those in the trees (``roots``) are told only when they are findings there."""
    named: dict[str, str] = {}
    for one in processes:
        named |= dict.fromkeys(_told(one), "an argument or a variable of the running program")
        named |= dict.fromkeys(one.open, "the running program has it open")
    named = {path: detail for path, detail in named.items() if configures(path)}
    there = {path for path, entry in far.look(named).items() if entry.kind in "fl"}
    outside = {path for path in there if not below(path, roots)}
    owned = packages.judge_files(book, outside)
    packages.judge_ucf(book, outside)
    for path in sorted(there):
        if (path, False) in book.found:
            known = book.found[path, False]
            book.note(path, known.kind, known.component, "runtime", named[path])
        elif path in outside and path not in owned and path not in packages.ucf:
            book.note(path, Kind.OVERLAY, "app", "runtime", named[path])


def _told(one: Process) -> list[str]:
    """Paths in a process's arguments and environment, relative ones from where it works."""
    found = []
    for word in (*one.argv[1:], *(one.environment or {}).values()):
        for part in re.split(r"[=:,;\s]", word)[:50]:
            if part.startswith("/"):
                found.append(posixpath.normpath(part))
            elif part and one.cwd and configures(part):
                found.append(posixpath.normpath(posixpath.join(one.cwd, part)))
    return found


def write_values(
    far: Far,
    book: Book,
    masks: Masks,
    processes: Sequence[Process],
    units: Sequence[Unit],
    references: References,
) -> None:
    """Variables and arguments, without those that the program's own scripts give; and which found
    files set them.  Where no environment can be read, those that the units' files set."""
    scripts = [path for path in book.unchanged if re.search(r"/bin/[\w.-]+(\.sh)?\Z", path)]
    small = {p: e.size for p, e in far.look(scripts).items() if e.kind == "f" and e.size < 1 << 18}
    own = [data.decode("latin-1") for data in far.texts(small).values()] if processes else []
    for one in processes:
        write_process(book, one, masks, own)
    if not any(one.environment for one in processes):
        for unit in units:
            _declared(book, masks, unit, references)
    for path, text in book.texts.items():
        for name in [name for name, value in book.found if value]:
            if found := re.search(rf"(?<![\w.-]){re.escape(name)}\s*=", text):
                line = text.count("\n", 0, found.start()) + 1
                known = book.found[name, True]
                detail = f"{path} sets it in line {line}"
                book.note(name, known.kind, known.component, "references", detail)


def _declared(book: Book, masks: Masks, unit: Unit, references: References) -> None:
    paths = [path for path in (unit.file, *unit.drop_ins) if path]
    references.read(book, paths)
    for path in paths:
        for line in book.texts.get(path, "").splitlines():
            for name, value in _set_by(line):
                shown, fingerprint = masks.of(name, value)
                detail = f"set by the unit {unit.name}; no process was seen to have it"
                book.note(
                    *(name, Kind.ENVIRONMENT, "unit", "runtime", detail),
                    shown=shown,
                    fingerprint=fingerprint,
                )


def _set_by(line: str) -> list[tuple[str, str]]:
    """The variables that a line of a unit sets."""
    found = re.match(r"\s*Environment\s*=\s*(.*)", line)
    if not found:
        return []
    words = re.findall(r'"([^"]*)"|\'([^\']*)\'|(\S+)', found[1])
    pairs = ["".join(word).partition("=") for word in words]
    return [(name, value) for name, equals, value in pairs if equals]
