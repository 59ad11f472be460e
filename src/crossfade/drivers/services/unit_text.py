"""Unit files of systemd as text: settings read, paths rewritten, values quoted.  Pure functions.

Rules are those of the manuals systemd.syntax(7), systemd.unit(5), systemd.service(5) and
systemd.exec(5).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

__all__ = [
    "Setting",
    "bare",
    "environment_file",
    "our_part",
    "rewritten",
    "settings",
    "without_ours",
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
    """One assignment: its section, its name and its value, lines joined."""

    section: str
    name: str
    value: str


def settings(texts: Iterable[str]) -> list[Setting]:
    """What holds when a unit's file and then its drop-ins are read, in order.

    An empty value takes back all that was said before under that name."""
    found: list[Setting] = []
    for text in texts:
        section = ""
        for line in _lines(text):
            if line.startswith("["):
                section = line.strip("[]")
                continue
            name, equals, value = (part.strip() for part in line.partition("="))
            if not equals:
                continue
            if not value:
                found = [s for s in found if (s.section, s.name) != (section, name)]
            else:
                found.append(Setting(section, name, value))
    return found


def without_ours(found: Iterable[Setting]) -> list[Setting]:
    """The commands of a unit besides the one that starts it: they are not carried, and are told."""
    others = set(_RUN_BY_SYSTEMD) - {"ExecStart"}
    return [s for s in found if s.section == "Service" and s.name in others]


def rewritten(text: str, moved: Mapping[str, str]) -> str:
    """A unit file whose paths are those of the other side; comments stay as they are.

    moved maps directories and files.  Where two of them fit, the longer one counts; what only
    begins with the same letters is another path.  A path with letters that mean something to
    systemd is known as it stands between quotes, and is put between quotes."""
    if not moved:
        return text
    forms = {**moved, **{_word(path)[1:-1]: to for path, to in moved.items()}}
    each = "|".join(re.escape(path) for path in sorted(forms, key=len, reverse=True))
    pattern = re.compile(rf"(?<![\w.~])(?:{each})(?![\w.@+~%-])")
    return "".join(
        line
        if line.lstrip().startswith(("#", ";"))
        else pattern.sub(lambda found: _at_place(found, forms[found[0]]), line)
        for line in text.splitlines(keepends=True)
    )


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


def _lines(text: str) -> Iterator[str]:
    """Lines without comments; one that ends in a backslash goes on in the next."""
    joined = ""
    for raw in text.splitlines():
        line = raw.strip()
        if line.startswith(("#", ";")):  # also between the parts of a long line
            continue
        if line.endswith("\\"):
            joined += line[:-1] + " "
            continue
        if whole := (joined + line).strip():
            yield whole
        joined = ""
    if joined.strip():
        yield joined.strip()


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
