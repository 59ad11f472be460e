"""Keys of recipes and the names of settings in formats that are no trees of plain names."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from crossfade.configuration._parsed import fits

__all__ = ["Names", "leads", "spelled_as"]

Names = Sequence[Sequence[str]]
"""The names around a setting, outermost first; at each place all that it may be called."""


def spelled_as(format: str) -> Callable[[str], str]:
    """How a format compares the last name of a setting."""
    spellings: dict[str, Callable[[str], str]] = {
        "ini": str.lower,
        "postgresql": str.lower,
        "redis": str.lower,
        "mycnf": lambda name: name.replace("-", "_"),
    }
    return spellings.get(format, str)


def leads(key: str, names: Names, spelling: Callable[[str], str] = str) -> bool:
    """Whether a key leads to exactly the place with these names.

    A name that holds dots itself takes as many parts of the key as it has, or one ``*``."""
    return _leads(key.split("."), names, spelling)


def _leads(parts: Sequence[str], names: Names, spelling: Callable[[str], str]) -> bool:
    if not parts or not names:
        return not parts and not names
    last = len(names) == 1
    for name in names[0]:
        for pieces in {(name,), tuple(name.split("."))}:
            head = [spelling(part) for part in parts[: len(pieces)]] if last else parts
            if len(parts) < len(pieces) or not all(map(fits, head, pieces)):
                continue
            if _leads(parts[len(pieces) :], names[1:], spelling):
                return True
    return False
