"""Change single scalars in the text of a YAML file, in the style in which they were written."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml
from yaml.resolver import Resolver

from crossfade.configuration._parsed import Change, apply, refused

if TYPE_CHECKING:
    from crossfade.configuration._document import Found, YamlFile

__all__ = ["Change", "apply", "change"]

_PLAIN = re.compile(r"[A-Za-z0-9/._](?:[A-Za-z0-9/._+@=~-]|:(?=[A-Za-z0-9/._]))*\Z")
_INT = "tag:yaml.org,2002:int"
_STR = "tag:yaml.org,2002:str"


def change(file: YamlFile, found: Found, value: str | int) -> Change:
    """Plan to give ``found`` another value.  Raises Failed where its text stands for more."""
    node = found.node
    if not isinstance(node, yaml.ScalarNode):
        raise refused(file.path, found.line, f"{found.key} is no single value")
    if found.shared:
        reason = f"{found.key} must change, but an alias or merge key shares its text"
        raise refused(file.path, found.line, reason)
    start, end = node.start_mark.index, node.end_mark.index
    if node.style in ("|", ">") or file.text[start] in "&!":
        reason = f"{found.key} must change, but is block text or has an anchor or a tag"
        raise refused(file.path, found.line, reason)
    return Change(found, value, start, end, _spell(value, node.style))


def _spell(value: str | int, style: str | None) -> str:
    text = str(value)
    if isinstance(value, int):
        return text
    if style is None and _PLAIN.match(text) and _tag(text) == _STR:
        return text
    if style == '"' or not _printable(text):
        return '"' + "".join(_escaped(character) for character in text) + '"'
    return "'" + text.replace("'", "''") + "'"


def _tag(text: str) -> str:
    resolver: Any = Resolver()
    return str(resolver.resolve(yaml.ScalarNode, text, (True, False)))


def _printable(text: str) -> bool:
    return text.isprintable()


def _escaped(character: str) -> str:
    if character in '\\"':
        return "\\" + character
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\U{code:08x}"
