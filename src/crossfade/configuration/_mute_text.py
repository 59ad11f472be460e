"""What a mute says, as text of a format: so that the format's own editor can put it in."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import yaml

from crossfade.configuration._keys import leads, spelled_as
from crossfade.merge._types import Document, Format, Path, Unreadable
from crossfade.recipes import MuteSpec

__all__ = ["below", "exact", "plain", "source"]


def below(document: Document, key: str) -> list[Path]:
    """The settings at and below a key, as recipes write keys."""
    spelling = spelled_as(document.format)
    return [
        path
        for path in document.settings
        if any(leads(key, _names(path[:n]), spelling) for n in range(1, len(path) + 1))
    ]


def exact(document: Document, key: str) -> Path | None:
    """The setting at a key; None where there is none, or only others below it."""
    spelling = spelled_as(document.format)
    return next((p for p in document.settings if leads(key, _names(p), spelling)), None)


def _names(path: Path) -> list[tuple[str]]:
    return [(part,) for part in path]


def source(form: Format, mute: MuteSpec) -> Document:
    """A text that has nothing but the setting.  Raises Unreadable where this format cannot have it,
    or would read another value."""
    try:
        document = form.read(_TEXTS[form.name](mute.key, mute.value))
    except (KeyError, ValueError, Unreadable):
        raise Unreadable(1, f"{mute.key} cannot be written in this format") from None
    found = list(document.settings.values())
    right = found and len(below(document, mute.key)) == len(found)
    if form.name not in _TYPED:
        right = right and len(found) == 1 and found[0].value == plain(mute.value)
    if not right:
        raise Unreadable(1, f"{mute.key} cannot be written in this format without doubt")
    return document


def plain(value: object) -> str:
    """A value for a format that has nothing but text.  Raises ValueError for lists and maps."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | dict):
        raise ValueError("no single value")
    return "" if value is None else str(value)


def _nested(key: str, value: object) -> object:
    for name in reversed(key.split(".")):
        value = {name: value}
    return value


def _sectioned(key: str, value: object) -> str:
    section, _, name = key.rpartition(".")
    head = f"[{section}]\n" if section else ""
    return f"{head}{name} = {plain(value)}\n"


def _toml(key: str, value: object) -> str:
    section, _, name = key.rpartition(".")
    if isinstance(value, dict) or value is None:
        raise ValueError("no value of TOML that we write")
    head = f"[{section}]\n" if section else ""
    return f"{head}{name} = {json.dumps(value)}\n"


def _quoted(key: str, value: object) -> str:
    text = plain(value).replace("'", "''")
    return f"{key} = '{text}'\n"


_TYPED: Sequence[str] = ("yaml", "json", "toml", "python")
_TEXTS: dict[str, Callable[[str, object], str]] = {
    "yaml": lambda key, value: yaml.safe_dump(_nested(key, value), allow_unicode=True),
    "json": lambda key, value: json.dumps(_nested(key, value), indent=2) + "\n",
    "toml": _toml,
    "python": lambda key, value: f"{key} = {value!r}\n",
    "ini": _sectioned,
    "mycnf": _sectioned,
    "systemd": lambda key, value: _sectioned(key, value).replace(" = ", "="),
    "properties": lambda key, value: f"{key}={plain(value)}\n",
    "env": lambda key, value: f"{key}={plain(value)}\n",
    "redis": lambda key, value: f"{key} {plain(value)}\n",
    "postgresql": _quoted,
}
