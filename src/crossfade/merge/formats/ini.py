"""INI as Python's configparser has it, and those that are content with the same (Gitea, Grafana).

A name ends at the first ``=`` or ``:``, a value goes on in lines that are indented more, comments
have a line of their own.  Names are compared in lower case.  Settings before the first header have
a path of one name.  Supervisor's files have comments behind values too; elsewhere such a comment is
of the value, as it is for most programs.
"""

from __future__ import annotations

import re

from crossfade.merge._types import Path, Unreadable
from crossfade.merge.formats._configparser import TOP, collected
from crossfade.merge.formats._line_format import LineFormat, Model
from crossfade.merge.formats._lines import BOM, Entry, Lines, Scan, Twin

__all__ = ["Ini"]

_HEADER = re.compile(r"\[(.+)\]")
_SECTION_LINE = re.compile(r"^\[[^\]\n]+\]\s*$", re.MULTILINE)
_ANY_SECTION = re.compile(r"^\ufeff?\s*[#;]*\s*\[", re.MULTILINE)
_DELIMITER = re.compile(r"[=:]\s*")
_COMMENTED = re.compile(r"\s*[#;]+(\s*)([^\W\d][\w.-]*)\s*=\s*(.*?)\s*$")
_COMMENTED_HEADER = re.compile(r"\s*[#;]+\s*\[([\w.:-]+)\]\s*(?:;.*)?$")
_SUPERVISOR = re.compile(
    r"^\[(?:supervisord|supervisorctl|unix_http_server|inet_http_server|program:.*|group:.*)\]",
    re.MULTILINE,
)
_INLINE = re.compile(r"(?<=\s)[;#]")
_COMMENT_GOES_ON = re.compile(r"\s*[#;]+(\s+)\S")


class Ini(LineFormat):
    """INI with values over several lines by indentation."""

    name = "ini"

    def scan(self, lines: Lines) -> Scan:
        """See LineFormat."""
        return _Scanner(lines).scan

    def model(self, text: str) -> Model:
        """See LineFormat; by configparser."""
        found = collected(
            text.removeprefix(BOM),
            delimiters=("=", ":"),
            names=str.lower,
            strict=True,
            inline=(";", "#") if _SUPERVISOR.search(text) else (),
        )
        settings: dict[Path, object] = {
            (name,) if section == TOP else (section, name): values[0]
            for section, name, values in found
        }
        return Model(settings)

    def written(self, scan: Scan, entry: Entry, value: str) -> str:
        """Later lines are indented as those that stand there, else by four more than the name."""
        later = re.search(r"\n([ \t]+)\S", scan.lines.text[entry.start : entry.end])
        first = scan.lines.content(entry.first)
        indent = later[1] if later else first[: len(first) - len(first.lstrip())] + "    "
        head, *rest = value.split("\n")
        return "\n".join([head, *(indent + line if line else "" for line in rest)])

    def fitted(self, scan: Scan, section: Path, contents: list[str]) -> list[str]:
        """The name is indented as the others of the section, or a value would go on in it."""
        near = next((one for one in scan.entries if one.path[:-1] == section), None)
        there = scan.lines.content(near.first) if near else ""
        indent = there[: len(there) - len(there.lstrip())]
        deeper = indent if contents[0][:1].strip() else ""
        later = [deeper + line if line.strip() else line for line in contents[1:]]
        return [indent + contents[0].lstrip(), *later]

    def claims(self, name: str, text: str) -> int:
        """See ``detect``."""
        named = name.lower().endswith((".ini", ".cfg")) and bool(_SECTION_LINE.search(text))
        if not _ANY_SECTION.search(text):
            return int(named)
        try:
            document = self.read(text)
        except Unreadable:
            return int(named)
        paths = {*document.settings, *document.commented}
        return 2 + named if any(len(path) == 2 for path in paths) else int(named)


class _Scanner:
    """One pass over the lines, as configparser goes."""

    def __init__(self, lines: Lines) -> None:
        self.scan = Scan(lines)
        self._inline = bool(_SUPERVISOR.search(lines.text))
        self._section: Path = ()
        self._commented: Path | None = None  # below a header that is a comment
        self._open: tuple[Path, int, int, int] | None = None  # path, value's start, line, indent
        self._end = 0  # of the open value
        self._depth = 0  # of the last commented name, in its comment
        self._waiting: list[int] = []  # comments that may be in the open value
        for index in range(len(lines)):
            self._line(index, lines.content(index))
        self._close()

    def _line(self, index: int, content: str) -> None:
        bare = content.strip()
        if not bare or bare[0] in "#;":
            self._waiting += [index] if bare else []
            return
        content = self._cut(content)
        bare, indent = content.strip(), len(content) - len(content.lstrip())
        if self._open and indent > self._open[3]:
            self._end = self.scan.lines.begin(index) + len(content.rstrip())
            self._waiting = []
            return
        self._close()
        header = _HEADER.match(bare)
        if header:
            self._section, self._commented = (header[1],), None
            if self._section in self.scan.heads:
                raise Unreadable(index + 1, "this section stands in the file twice")
            self.scan.heads[self._section] = index
            return
        self._begin(index, content, indent)

    def _begin(self, index: int, content: str, indent: int) -> None:
        delimiter = _DELIMITER.search(content)
        name = content[: delimiter.start()].strip().lower() if delimiter else ""
        if not delimiter or not name:
            raise Unreadable(index + 1, "neither a section nor a name with a value")
        self._commented = None
        begin = self.scan.lines.begin(index)
        start = begin + delimiter.end()
        self._end = max(begin + len(content.rstrip()), start)
        if start == begin + len(content):
            start = self._end = begin + len(content[: delimiter.end()].rstrip())
        self._open = ((*self._section, name), start, index, indent)

    def _close(self) -> None:
        """The open value has ended: what waited are comments behind it."""
        if self._open:
            path, start, first, _ = self._open
            last = self.scan.lines.at(self._end) + 1
            raw = self.scan.lines.text[start : self._end]
            value = self._read(raw)
            self.scan.entries.append(Entry(path, value, start, self._end, first, last))
        self._open = None
        for index in self._waiting:
            self._comment(index)
        self._waiting = []

    def _comment(self, index: int) -> None:
        content = self.scan.lines.content(index)
        self.scan.comments.add(index)
        header = _COMMENTED_HEADER.match(content)
        if header:
            self._commented = (header[1],)
            return
        found = _COMMENTED.match(content)
        twins = self.scan.twins
        if found:
            section = self._section if self._commented is None else self._commented
            path = (*section, found[2].lower())
            placed = self._commented is None
            twins.append(Twin(path, self._cut(found[3]).rstrip(), index, index + 1, placed))
            self._depth = len(found[1])
            return
        goes_on = _COMMENT_GOES_ON.match(content)
        if twins and twins[-1].last == index and goes_on and len(goes_on[1]) > self._depth + 2:
            last = twins[-1]
            twins[-1] = Twin(last.path, last.raw, last.first, index + 1, last.placed)

    def _cut(self, content: str) -> str:
        """The line without a comment behind its value, where there are such."""
        found = _INLINE.search(content) if self._inline else None
        return content[: found.start()] if found else content

    def _read(self, raw: str) -> str:
        """The value that stands in a span: its lines without indentation and comments."""
        head, *rest = (self._cut(line).strip() for line in raw.split("\n"))
        rest = [line for line in rest if not line.startswith(("#", ";"))]
        return "\n".join([head, *rest]).rstrip()
