"""Variables in the texts that systemd reads: files for EnvironmentFile=, words of Environment=.

Rules are those of systemd.exec(5).  Pure functions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

__all__ = ["Variable", "in_directive", "in_file"]

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SPACE: Final = " \t\r"
_LETTERS: Final = {"n": "\n", "t": "\t", "r": "\r", "s": " ", "a": "\a", "b": "\b", "f": "\f"}
_NUMBER: Final = re.compile(r"x([0-9a-fA-F]{2})|([0-3][0-7]{2})|u([0-9a-fA-F]{4})")


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable, its value, and the line where it is set (0: in a directive)."""

    name: str
    value: str
    line: int = 0


def in_file(text: str) -> list[Variable]:
    """The variables of a file, in order; what systemd ignores is left out."""
    found, position = [], 0
    while position < len(text):
        line = text.count("\n", 0, position) + 1
        end = text.find("\n", position)
        end = len(text) if end < 0 else end
        key, equals, _ = text[position:end].partition("=")
        if not equals or key.strip().startswith(("#", ";")):
            position = end + 1
            continue
        value, position = _value(text, position + len(key) + 1)
        if _NAME.fullmatch(key.strip()):
            found.append(Variable(key.strip(), value, line))
    return found


def _value(text: str, at: int) -> tuple[str, int]:
    """The value that begins here, and where the next line does.

    Quotes count only where a part of the value begins."""
    parts = ""
    while at < len(text):
        letter = text[at]
        if letter == "\n":
            return parts, at + 1
        if letter in _SPACE:
            at += 1
        elif letter in "'\"":
            part, at = _quoted(text, at + 1, letter)
            parts += part
        else:
            part, at = _bare(text, at)
            return parts + part, at
    return parts, at


def _quoted(text: str, at: int, quote: str) -> tuple[str, int]:
    """What stands up to the closing quote, and where it goes on after that."""
    value = ""
    while at < len(text) and text[at] != quote:
        if quote == '"' and text[at] == "\\":
            at += 1
            letter = text[at : at + 1]
            value += letter if letter in '"\\`$' else "" if letter == "\n" else f"\\{letter}"
        else:
            value += text[at]
        at += 1
    return value, at + 1


def _bare(text: str, at: int) -> tuple[str, int]:
    """What stands up to the end of the line, without spaces there, and where the next one begins; a
    backslash makes the letter after it a plain one, and a line's end none."""
    value, kept = "", 0
    while at < len(text) and text[at] != "\n":
        if text[at] == "\\":
            at += 1
            value += text[at : at + 1].strip("\n")
            kept = len(value)
        else:
            value += text[at]
            kept = kept if text[at] in _SPACE else len(value)
        at += 1
    return value[:kept], at + 1


def in_directive(value: str) -> list[Variable]:
    """The variables of an ``Environment=``: words, each of which may be between quotes.  Specifiers
    of the unit stay as they are, but for a percent sign."""
    found = []
    for word in _words(value):
        name, equals, said = word.partition("=")
        if equals and _NAME.fullmatch(name):
            found.append(Variable(name, said.replace("%%", "%")))
    return found


def _words(value: str) -> list[str]:
    words: list[str] = []
    word, quote, inside, at = "", "", False, 0
    while at < len(value):
        letter = value[at]
        if letter == "\\" and quote != "'" and at + 1 < len(value):
            part, at = _escaped(value, at + 1)
            word, inside = word + part, True
            continue
        if quote and letter == quote:
            quote = ""
        elif not quote and letter in "'\"":
            quote, inside = letter, True
        elif not quote and letter in _SPACE:
            words += [word] if inside else []
            word, inside = "", False
        else:
            word, inside = word + letter, True
        at += 1
    return [*words, word] if inside else words


def _escaped(value: str, at: int) -> tuple[str, int]:
    """What a backslash before this letter means, and where it goes on."""
    if number := _NUMBER.match(value, at):
        hexadecimal, octal, unicode = number.groups()
        code = int(octal, 8) if octal else int(hexadecimal or unicode, 16)
        return chr(code), number.end()
    return _LETTERS.get(value[at], value[at]), at + 1
