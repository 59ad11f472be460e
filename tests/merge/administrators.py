"""Administrators who customise a template: by its keys, or in an editor, line by line.

Each is a number, and does the same every time.  Whatever a program could no longer read afterwards
is not done.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random

from tests.merge.truth import parsed

from crossfade.merge._types import Document, Drop, Edit, Format, Path, Put, Unreadable, Write

__all__ = ["by_keys", "by_lines"]

_MOST = 8
_PROSE = 3  # more blanks than that are words for people
_NOTHING = re.compile(r"^(\s*)(?:#|;|//)[ \t]?(?=[\w\"'])")


def by_keys(format: Format, kind: str, stock: str, number: int) -> str:
    """The template with 1 to 8 settings changed, uncommented or taken out.  kind is the truth's
    name of the format."""
    random = Random(f"keys {number}")
    document = format.read(stock)
    chosen = (_key_edit(format, document, random) for _ in range(random.randint(1, _MOST)))
    edits = list({edit.path: edit for edit in chosen if edit}.values())
    together = _done(format, kind, stock, edits)
    if together is not None:
        return together
    text = stock
    for edit in edits:  # some of them cannot be made: the others
        text = _done(format, kind, text, [edit]) or text
    return text


def _done(format: Format, kind: str, text: str, edits: list[Edit]) -> str | None:
    try:
        after = format.edited(format.read(text), edits)
        format.read(after)
        parsed(kind, after)
    except (Unreadable, ValueError):
        return None
    return after


def _key_edit(format: Format, document: Document, random: Random) -> Edit | None:
    kind = random.choices(["change", "uncomment", "take out"], [7, 3, 1])[0]
    off = [path for path in document.commented if path not in document.settings]
    if off and (kind == "uncomment" or len(off) > 4 * len(document.settings)):
        return _uncommented(format, document, random.choice(off), random)
    if not document.settings:
        return None
    path = random.choice(list(document.settings))
    if path[-1] == "@className":  # another class is another entry, or not: nobody can tell
        return None
    if kind == "take out":
        return Drop(path)
    return Write(path, _other(document.settings[path].value, random))


def _uncommented(format: Format, document: Document, path: Path, random: Random) -> Edit | None:
    if document.commented[path].raw.count(" ") > _PROSE:
        return None
    lines = document.text.split("\n")
    at = document.commented[path].line - 1
    lines[at] = _NOTHING.sub(r"\1", lines[at])
    try:
        source = format.read("\n".join(lines))
        if path not in source.settings:
            return None
        value = _other(source.settings[path].value, random)
        source = format.read(format.edited(source, [Write(path, value)]))
    except Unreadable:
        return None
    return Put(path, source) if path in source.settings else None


def _other(value: object, random: Random) -> object:
    """Another value of the same kind."""
    if repr(value) in ("True", "False"):
        return not value
    if isinstance(value, int | float):
        return value + random.randint(1, 9)
    if type(value) is tuple:
        kept = value[1:] if value and random.random() < 0.3 else value
        return (*kept, f"mine{random.randint(1, 99)}")
    if isinstance(value, str):
        word = re.search(r"\d+", value)
        if word:
            return value[: word.start()] + str(random.randint(1, 9999)) + value[word.end() :]
        return {"true": "false", "yes": "no", "on": "off"}.get(value, f"{value}mine")
    return value


# in an editor

_KEY = {
    "ini": r"^\s*[\w.-]+\s*[=:]\s*\S",
    "properties": r"^\s*[\w.-]+\s*[=:]\s*\S",
    "postgresql": r"^\s*[\w.]+\s*=\s*\S",
    "redis": r"^\s*[\w-]+ +\S",
    "yaml": r"^\s*(- )?[\w.-]+:\s+\S",
    "json": r"^\s*\"[^\"]+\": [\"\d tf]",
    "python": r"^\s*(\w+ = |\"\w+\": |'\w+': )\S",
    "xml": r"\b(?!className|xmlns)[\w:]+=\"[^\"]*\"",
}
_COMMENT = {"json": None, "xml": "<!-- {} -->", "python": "# {}"}
_OFF = {
    "ini": r"^\s*[#;]\s?[\w.-]+\s*=",
    "properties": r"^\s*#\s?[\w.-]+\s*=",
    "postgresql": r"^#\w+\s*=\s*\S",
    "redis": r"^# [a-z-]+( [\w.:-]+){1,3}$",
    "yaml": r"^\s*#\s?[\w-]+:( |$)",
    "python": r"^#\s?[A-Z_]+ = ",
}
_LAST = {
    "ini": "crossfade_own = {}",
    "properties": "crossfade.own = {}",
    "postgresql": "crossfade.own = {}",
    "redis": "crossfade-own {}",
    "yaml": "crossfade_own: {}",
    "python": "CROSSFADE_OWN = {}",
}


def by_lines(format: str, stock: str, number: int) -> str:
    """The template as somebody leaves it who edits it as text: 1 to 8 edits, of values, comments,
    whole lines, blanks, and now and then of all line ends."""
    random = Random(f"lines {number}")
    text = stock
    for _ in range(random.randint(1, _MOST)):
        does = random.choices(
            [_changes, _uncomments, _adds, _deletes, _remarks, _spaces], [8, 3, 2, 2, 2, 1]
        )[0]
        after = "\n".join(does(format, text.split("\n"), random))
        try:
            parsed(format, after)
        except ValueError:
            continue
        text = after
    if random.random() < 0.05:
        text = text.replace("\n", "\r\n")
    return text.rstrip("\n") if random.random() < 0.05 else text


_Lines = list[str]


def _lines_like(pattern: str | None, lines: _Lines, random: Random) -> int | None:
    found = [at for at, line in enumerate(lines) if pattern and re.search(pattern, line)]
    return random.choice(found) if found else None


def _changes(format: str, lines: _Lines, random: Random) -> _Lines:
    """The value of a line that has one: a number, a word, or what stands in quotes."""
    at = _lines_like(_KEY[format], lines, random)
    if at is None or (format != "json" and lines[at].lstrip().startswith("#")):
        return lines
    match = re.search(_KEY[format], lines[at])
    assert match is not None
    start = match.start() if format == "xml" else match.end() - 1
    head, value = lines[at][:start], lines[at][start:]
    flip = {"true": "false", "false": "true", "True": "False", "False": "True"}
    ways: list[Callable[[str], str]] = [
        lambda text: re.sub(r"\d+", lambda _: str(random.randint(1, 9999)), text, count=1),
        lambda text: re.sub(rf"\b({'|'.join(flip)})\b", lambda found: flip[found[0]], text),
        lambda text: re.sub(r"([\"'])([^\"']*)\1", r"\1\2mine\1", text, count=1),
    ]
    if format not in ("python", "json"):  # a word there is a name
        ways.append(lambda text: re.sub(r"([A-Za-z]{3,})(?=\s*$)", r"\1mine", text))
    return [*lines[:at], head + random.choice(ways)(value), *lines[at + 1 :]]


def _uncomments(format: str, lines: _Lines, random: Random) -> _Lines:
    at = _lines_like(_OFF.get(format), lines, random)
    if at is None or lines[at].strip("# \t").count(" ") > _PROSE:
        return lines
    return [*lines[:at], _NOTHING.sub(r"\1", lines[at]), *lines[at + 1 :]]


def _adds(format: str, lines: _Lines, random: Random) -> _Lines:
    if format == "json":
        at = next(at for at, line in enumerate(lines) if line.rstrip().endswith("{"))
        return [*lines[: at + 1], f'  "crossfadeOwn": {random.randint(1, 99)},', *lines[at + 1 :]]
    if format == "xml":
        at = _lines_like(r"^\s*<\w+ [^>]*$|^\s*<\w+ [^>]*/?>", lines, random) or 0
        line = re.sub(r"^(\s*<\w+) ", rf'\1 crossfadeOwn="{random.randint(1, 99)}" ', lines[at])
        return [*lines[:at], line, *lines[at + 1 :]]
    return [*lines[:-1], _LAST[format].format(random.randint(1, 99)), lines[-1]]


def _deletes(format: str, lines: _Lines, random: Random) -> _Lines:
    at = _lines_like(_KEY[format], lines, random)
    return lines if at is None else lines[:at] + lines[at + 1 :]


def _remarks(format: str, lines: _Lines, random: Random) -> _Lines:
    """A comment above some line, with a secret in it now and then."""
    comment = _COMMENT.get(format, "# {}")
    if comment is None:
        return lines
    at = random.randrange(len(lines))
    words = random.choice(["changed for us", "old password was hunter2", "port = 1 was wrong"])
    return [*lines[:at], comment.format(words), *lines[at:]]


def _spaces(format: str, lines: _Lines, random: Random) -> _Lines:
    """A blank line, or one that is gone."""
    at = _lines_like(r"^\s*$", lines, random)
    if at is None or random.random() < 0.5:
        at = random.randrange(len(lines))
        return [*lines[:at], "", *lines[at:]]
    return lines[:at] + lines[at + 1 :]
