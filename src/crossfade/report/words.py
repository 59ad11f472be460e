"""Numbers, times and foreign text, in the words that all three forms of the report use."""

from __future__ import annotations

import time
import unicodedata

__all__ = ["clock", "count", "date", "duration", "plural", "visible"]


def duration(seconds: float) -> str:
    """A duration for people: ``412 ms``, ``1.21 s``, ``42.1 s``, ``3 min 12 s``, ``2 h 5 min``."""
    if seconds < 0:
        return f"\N{MINUS SIGN}{duration(-seconds)}"
    if seconds < 0.9995:
        return _trimmed(seconds * 1000, 1 if seconds < 0.0995 else 0, "ms")
    if seconds < 59.95:
        return _trimmed(seconds, 2 if seconds < 9.995 else 1, "s")
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def _trimmed(value: float, decimals: int, unit: str) -> str:
    # A whole number is said as one: the limit of 10 s is not "10.0 s".
    whole, _, fraction = f"{value:.{decimals}f}".partition(".")
    return f"{whole}.{fraction} {unit}" if fraction.strip("0") else f"{whole} {unit}"


def count(number: int) -> str:
    """A whole number with thousands set apart: ``6,214``."""
    return f"{number:,}"


def plural(number: int, noun: str) -> str:
    """``no finding``, ``1 finding``, ``12 findings``."""
    return f"{count(number) if number else 'no'} {noun}{'' if number == 1 else 's'}"


def date(epoch: float) -> str:
    """Date and time of day in UTC: ``2026-11-23 14:03:12 UTC``."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(epoch))


def clock(epoch: float) -> str:
    """Time of day in UTC: ``14:03:12``."""
    return time.strftime("%H:%M:%S", time.gmtime(epoch))


def visible(text: str, *, keep: str = "\n\t") -> str:
    """The text with characters that act instead of showing written out as escapes.

    Findings quote whatever an application printed: terminal escapes, NUL bytes, undecodable file
    names and signs that reverse the direction of writing.  None of them may act in a report.
    """
    return "".join(c if c in keep or _shows(c) else _escape(c) for c in text)


def _shows(character: str) -> bool:
    # Controls, format signs such as right-to-left override, surrogates, and the two separators;
    # XML forbids U+FFFE and U+FFFF.
    category = unicodedata.category(character)
    return category not in ("Cc", "Cf", "Cs", "Zl", "Zp") and character not in "\ufffe\uffff"


def _escape(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
