"""Unit files of systemd as text: settings read, paths rewritten, values quoted.  Pure functions.

Rules are those of the manuals systemd.syntax(7), systemd.unit(5), systemd.service(5) and
systemd.exec(5).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from crossfade.drivers.services.environment_text import in_directive
from crossfade.recipes import looks_secret, may_name_secret

__all__ = [
    "Setting",
    "bare",
    "environment_file",
    "moved_in",
    "our_part",
    "placed",
    "rewritten",
    "sets_secret",
    "settings",
]

_RUN_BY_SYSTEMD: Final = (
    *("ExecCondition", "ExecStartPre", "ExecStart", "ExecStartPost"),
    *("ExecReload", "ExecStop", "ExecStopPost"),
)
"""What a unit runs.  All of it names the old version's programs, so none of it is carried."""

_WHOLE: Final = ("Description", "WorkingDirectory", "EnvironmentFile", "PIDFile", "RootDirectory")
"""Settings whose whole value is one text, in which quotes mean nothing."""

_PLAIN: Final = re.compile(r"[\w/.@:+,=~-]*")

_ESCAPED: Final = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}


@dataclass(frozen=True, slots=True)
class Setting:
    """One assignment: its section, its name and its value, lines joined; and where it stands."""

    section: str
    name: str
    value: str
    file: str = field(default="", compare=False)
    line: int = field(default=0, compare=False)


def settings(texts: Iterable[str]) -> list[Setting]:
    """What holds when a unit's file and then its drop-ins are read, in order.

    An empty value takes back all that was said before under that name."""
    return placed(("", text) for text in texts)


def placed(files: Iterable[tuple[str, str]]) -> list[Setting]:
    """The same of files, each with its path."""
    found: list[Setting] = []
    for file, text in files:
        section = ""
        for number, line in _lines(text):
            if line.startswith("["):
                section = line.strip("[]")
                continue
            name, equals, value = (part.strip() for part in line.partition("="))
            if not equals:
                continue
            if not value:
                found = [s for s in found if (s.section, s.name) != (section, name)]
            else:
                found.append(Setting(section, name, value, file, number))
    return found


def sets_secret(text: str) -> bool:
    """Whether a unit's file sets a variable that may be a secret, or anything that looks like
    one."""
    return any(
        looks_secret(s.value) or any(may_name_secret(v.name) for v in in_directive(s.value))
        for s in settings([text])
        if s.name in ("Environment", "SetCredential")
    )


def rewritten(text: str, moved: Mapping[str, str]) -> str:
    """A unit file whose paths are those of the other side; comments stay as they are.

    moved maps directories and files.  Where two of them fit, the longer one counts; what only
    begins with the same letters is another path.  A path with letters that mean something to
    systemd is known as it stands between quotes, and is put between quotes."""
    if not moved:
        return text
    forms = {**moved, **{_word(path)[1:-1]: to for path, to in moved.items()}}
    pattern = _any_of(forms)
    return "".join(
        line
        if line.lstrip().startswith(("#", ";"))
        else pattern.sub(lambda found: _at_place(found, forms[found[0]]), line)
        for line in text.splitlines(keepends=True)
    )


def moved_in(value: str, moved: Mapping[str, str]) -> str:
    """A value in which nothing is quoted, with its paths on the other side."""
    return _any_of(moved).sub(lambda found: moved[found[0]], value) if moved else value


def _any_of(paths: Iterable[str]) -> re.Pattern[str]:
    each = "|".join(re.escape(path) for path in sorted(paths, key=len, reverse=True))
    return re.compile(rf"(?<![\w.~])(?:{each})(?![\w.@+~%-])")


def _at_place(found: re.Match[str], path: str) -> str:
    """A path as it has to stand where another one was found."""
    if _PLAIN.fullmatch(path):
        return path
    before = found.string[: found.start()]
    if before.partition("=")[0].strip() in _WHOLE:
        return _path(path)
    return _word(path)[1:-1] if before.count('"') % 2 else _word(path)


def bare(program: str) -> str:
    """The unit of a program that had none before.  It runs until it is told to stop, and is
    started again when it fails."""
    return (
        f"# Made by Crossfade.\n[Unit]\nDescription={_path(program)}\n"
        "Wants=network-online.target\nAfter=network-online.target\n\n"
        "[Service]\nType=exec\nRestart=on-failure\nRestartSec=2\n\n"
        "[Install]\nWantedBy=multi-user.target\n"
    )


def our_part(command: Sequence[str], directory: str, more: Mapping[str, str], file: str) -> str:
    """The drop-in that is read last: what this side runs and where.

    more are further plain settings; file is an ``environment_file``, which only root may read."""
    lines = ["# Made by Crossfade.", "[Service]"]
    lines += [f"{name}=" for name in _RUN_BY_SYSTEMD]
    lines += [f"ExecStart={_command(command)}", f"WorkingDirectory={_path(directory)}"]
    lines += [f"{name}={value}" for name, value in more.items()]
    lines.append(f"EnvironmentFile={_path(file)}")
    return "\n".join([*lines, ""])


def environment_file(values: Mapping[str, str]) -> str:
    """Variables as systemd reads them from a file.  Raises ValueError for a NUL."""
    lines = []
    for name, value in values.items():
        if "\0" in value:
            raise ValueError("embedded null byte")
        quoted = re.sub(r'([\\"`$])', r"\\\1", value)
        lines.append(f'{name}="{quoted}"\n')
    return "".join(lines)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines without comments, each with the number of its first; one that ends in a backslash goes
    on in the next."""
    joined, first = "", 0
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if line.startswith(("#", ";")):  # also between the parts of a long line
            continue
        first = first or number
        if line.endswith("\\"):
            joined += line[:-1] + " "
            continue
        if whole := (joined + line).strip():
            yield first, whole
        joined, first = "", 0
    if joined.strip():
        yield first, joined.strip()


def _command(words: Sequence[str]) -> str:
    """A command line in which systemd replaces nothing."""
    return " ".join(_word(word).replace("$", "$$") for word in words)


def _word(word: str) -> str:
    """One word: quoted, and free of specifiers.  Raises ValueError for a NUL."""
    if "\0" in word:
        raise ValueError("embedded null byte")
    escaped = "".join(_ESCAPED.get(letter) or _byte(letter) for letter in word)
    return f'"{escaped.replace("%", "%%")}"'


def _byte(letter: str) -> str:
    """A letter; a byte that is none by its number, for a unit has to be text."""
    return f"\\x{ord(letter) - 0xDC00:02x}" if "\udc80" <= letter <= "\udcff" else letter


def _path(path: str) -> str:
    """A path as the whole value of a setting, which knows no quotes; specifiers are undone.

    Raises ValueError for one that no such value can be: with a line break, or spaces at its end."""
    if path != path.strip() or len(path.splitlines()) != 1 or path.endswith("\\"):
        raise ValueError(f"systemd takes no such path: {path!r}")
    return path.replace("%", "%%")
