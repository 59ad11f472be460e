"""systemd's units, drop-ins, and its own ``*.conf`` files.

A directive may stand several times; all values in their order are one setting, also the empty ones
that take back what stood before.  A backslash at the end of a line goes on in the next one, where
comments between the two do not count.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from crossfade.merge._types import Path, Unreadable
from crossfade.merge.formats._configparser import TOP, collected
from crossfade.merge.formats._line_format import Broken, LineFormat, Model
from crossfade.merge.formats._lines import BOM, Entry, Lines, Scan, Twin

__all__ = ["Unit"]

_COMMENTED = re.compile(r"[ \t]*[#;]+[ \t]?([A-Z][A-Za-z0-9]+)=(.*?)[ \t]*$")
_ENDINGS = (
    ".service", ".socket", ".timer", ".target", ".mount", ".automount", ".path", ".slice", ".scope",
    ".swap", ".device", ".network", ".netdev", ".link", ".nspawn",
)  # fmt: skip
_OWN_SECTIONS = {"Unit", "Service", "Install", "Socket", "Timer", "Mount", "Path", "Slice"}
_BACKSLASHES = re.compile(r"(?<!\\)(?:\\\\)*\\$")
_DROP_IN = re.compile(r"\.(?:" + "|".join(end[1:] for end in _ENDINGS) + r")\.d/[^/]+\.conf$")


class Unit(LineFormat):
    """Units of systemd."""

    name = "systemd"

    def scan(self, lines: Lines) -> Scan:
        """See LineFormat."""
        return _Scanner(lines).scan

    def model(self, text: str) -> Model:
        """See LineFormat; by configparser, on lines that were joined before."""
        joined: list[str] = []
        open_line = ""
        for line in text.removeprefix(BOM).split("\n"):
            if line.strip().startswith(("#", ";")):
                continue
            open_line += line.strip()
            if _BACKSLASHES.search(open_line):
                open_line = open_line[:-1] + " "
                continue
            joined += [open_line.strip()] if open_line.strip() else []
            open_line = ""
        if open_line:
            raise Broken
        settings: dict[Path, object] = {}
        for section, name, values in collected(
            "\n".join(joined), delimiters=("=",), names=str, strict=False
        ):
            settings[section, name] = values[0] if len(values) == 1 else tuple(values)
            if section == TOP:
                raise Broken
        return Model(settings)

    def folded(self, path: Path, entries: Sequence[Entry]) -> tuple[Entry, object]:
        """All values in their order."""
        values = tuple(entry.value for entry in entries)
        return entries[0], values[0] if len(values) == 1 else values

    def joined(self, path: Path) -> bool:
        """Every directive may stand several times."""
        return True

    def written(self, scan: Scan, entry: Entry, value: str) -> str:
        """On one line."""
        return value

    def claims(self, name: str, text: str) -> int:
        """See ``detect``."""
        named = name.endswith(_ENDINGS) or bool(_DROP_IN.search(name))
        if not named and not any(section in text for section in _OWN_SECTIONS):
            return 0
        try:
            document = self.read(text)
        except Unreadable:
            return int(named)
        sections = {path[0] for path in document.settings}
        return 3 if sections & _OWN_SECTIONS or (named and sections) else int(named)


class _Scanner:
    """One pass over the lines, as systemd goes."""

    def __init__(self, lines: Lines) -> None:
        self.scan = Scan(lines)
        self._section: Path = ()
        self._first = 0
        self._last = 0
        self._joined = ""
        self._open = False

        for index in range(len(lines)):
            self._line(index)
        if self._open:
            raise Unreadable(self._first + 1, "the text ends in a backslash")

    def _line(self, index: int) -> None:
        content = self.scan.lines.content(index).strip()
        if content[:1] in ("#", ";"):
            if not self._open:
                self._comment(index)
            return
        if not self._open:
            if not content:
                return
            self._first, self._joined = index, ""
        self._joined += content
        self._last = index if content else self._last
        self._open = self._ends_in_backslash()
        if self._open:
            self._joined = self._joined[:-1] + " "
        else:
            self._finish()

    def _ends_in_backslash(self) -> bool:
        escaped = False
        for character in self._joined:
            escaped = character == "\\" and not escaped
        return escaped

    def _finish(self) -> None:
        joined, first, lines = self._joined.strip(), self._first, self.scan.lines
        if joined.startswith("["):
            if not joined.endswith("]") or first != self._last:
                raise Unreadable(first + 1, "a section's name is not closed")
            self._section = (joined[1:-1],)
            self.scan.heads[self._section] = first
            return
        content = lines.content(first)
        name, equals, rest = content.partition("=")
        if not equals or not name.strip() or not self._section:
            raise Unreadable(first + 1, "neither a section nor a directive of a section")
        start = lines.begin(first) + len(name) + 1
        start += len(rest) - len(rest.lstrip()) if rest.strip() else 0
        end = lines.begin(self._last) + len(lines.content(self._last).rstrip())
        value = joined.partition("=")[2].strip()
        path = (*self._section, name.strip())
        self.scan.entries.append(Entry(path, value, start, max(start, end), first, self._last + 1))

    def _comment(self, index: int) -> None:
        self.scan.comments.add(index)
        found = _COMMENTED.match(self.scan.lines.content(index))
        if found and self._section:
            path = (*self._section, found[1])
            self.scan.twins.append(Twin(path, found[2], index, index + 1))
