"""Hold a document against our own JSON Schemas, with complaints that an operator can act on.

The schemas are published for editors, and the tests hold ``jsonschema`` against this module: both
accept and refuse the same documents.  At run time ``jsonschema`` is not used, because importing it
takes half of the time that ``crossfade status`` may take, and because its complaints about
alternatives name no line.  Only the words of JSON Schema that our schemas use are understood;
any other word is an error of ours and raises ValueError.

``x-says`` in a schema says what a ``pattern`` means in words, such as ``host:port``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import NoReturn, cast

from crossfade.errors import UsageError
from crossfade.recipes._yaml import Complaint, Document, Keys, YamlError, dotted, read

__all__ = ["complain", "load_schema", "parse", "validate"]

Schema = Mapping[str, object]
_Rule = Callable[["_Check", Schema, object, Keys], None]

_TYPES: dict[str, Callable[[object], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "integer": lambda value: _number(value) and float(cast(float, value)).is_integer(),
    "number": lambda value: _number(value),
}
_MISSING = "is missing"
_NAMES = {
    "object": "a mapping (key: value)",
    "array": "a list",
    "string": "text",
    "boolean": "true or false",
    "null": "nothing",
    "integer": "a whole number",
    "number": "a number",
}


def load_schema(path: Path) -> Schema:
    """One of our own schema files."""
    return cast(Schema, json.loads(path.read_text("utf-8")))


def parse(text: str, schema: Schema) -> tuple[Document, list[Complaint]]:
    """Read YAML and hold it against ``schema``: the document, and all complaints in order."""
    try:
        document = read(text)
    except YamlError as error:
        return Document(), [Complaint(error.line, "", error.text)]
    if document.data is None and not document.complaints:
        return document, [Complaint(1, "", "the file is empty")]
    complaints = [*document.complaints, *validate(document, schema)]
    misspelt = {_sibling(each.key, each.suggestion) for each in complaints if each.suggestion}
    complaints = [each for each in complaints if each.text != _MISSING or each.key not in misspelt]
    return document, sorted(complaints, key=lambda complaint: complaint.line)


def _sibling(key: str, name: str) -> str:
    return ".".join((*key.split(".")[:-1], name))


def complain(code: str, name: str, complaints: list[Complaint], next: str) -> NoReturn:
    """Raise UsageError with all complaints, the first one as the sentence."""
    first = complaints[0]
    reason = "is not a known key" if first.suggestion else first.text
    sentence = f"{first.key} {reason}" if first.key else reason
    where = "\n".join(complaint.shown(name) for complaint in complaints)
    raise UsageError(code, f"{name} does not hold: {sentence}", where=where, next=next)


def validate(document: Document, schema: Schema) -> list[Complaint]:
    """Every place where the document does not hold.  Values are never part of a complaint."""
    check = _Check(document, schema)
    check.value(schema, document.data, ())
    return check.complaints


class _Check:
    def __init__(self, document: Document, root: Schema) -> None:
        self.document = document
        self.root = root
        self.complaints: list[Complaint] = []
        self._unplain = {complaint.key for complaint in document.complaints}

    def value(self, schema: Schema, value: object, keys: Keys) -> None:
        """Hold one value against one schema; children follow from the words of the schema."""
        reference = schema.get("$ref")
        if isinstance(reference, str):
            self.value(_definition(self.root, reference), value, keys)
        if value is None and dotted(keys) in self._unplain and keys:
            return  # already complained about where the text was read
        if not _has_type(schema, value):
            expected = schema.get("type")
            names = expected if isinstance(expected, list) else [expected]
            wanted = " or ".join(_NAMES[str(name)] for name in names)
            hint = "; write it in quotes" if "string" in names and _scalar(value) else ""
            self.add(keys, f"must be {wanted}{hint}")
            return
        for word in schema:
            _WORDS[word](self, schema, value, keys)

    def add(self, keys: Keys, text: str, suggestion: str = "", line: int | None = None) -> None:
        """Note a complaint about the value at ``keys``."""
        place = line or self.document.line(keys)
        self.complaints.append(Complaint(place, dotted(keys), text, suggestion))


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _scalar(value: object) -> bool:
    return value is not None and not isinstance(value, dict | list)


def _has_type(schema: Schema, value: object) -> bool:
    expected = schema.get("type")
    if expected is None:
        return True
    names = expected if isinstance(expected, list) else [expected]
    return any(_TYPES[str(name)](value) for name in names)


def _definition(root: Schema, reference: str) -> Schema:
    found: object = root
    for part in reference.removeprefix("#/").split("/"):
        found = cast(Schema, found)[part]
    return cast(Schema, found)


def _ignore(check: _Check, schema: Schema, value: object, keys: Keys) -> None:
    """Words for people and editors, and words that another word takes care of."""


def _properties(check: _Check, schema: Schema, value: object, keys: Keys) -> None:
    if isinstance(value, dict):
        for name, inner in cast(dict[str, Schema], schema["properties"]).items():
            if name in value:
                check.value(inner, value[name], (*keys, name))


def _additional(check: _Check, schema: Schema, value: object, keys: Keys) -> None:
    if not isinstance(value, dict):
        return
    known = list(cast(dict[str, Schema], schema.get("properties", {})))
    inner = schema["additionalProperties"]
    for name in value:
        if name in known:
            continue
        if inner is not False:
            check.value(cast(Schema, inner), value[name], (*keys, name))
            continue
        near = get_close_matches(name, known, 1, 0.6)
        line = check.document.key_lines.get((*keys, name))
        text = f"is not a known key; known: {', '.join(known)}"
        check.add((*keys, name), text, near[0] if near else "", line)


def _required(check: _Check, schema: Schema, value: object, keys: Keys) -> None:
    if isinstance(value, dict):
        for name in cast(list[str], schema["required"]):
            if name not in value:
                line = check.document.key_lines.get(keys, check.document.line(keys))
                check.add((*keys, name), _MISSING, line=line)


def _items(check: _Check, schema: Schema, value: object, keys: Keys) -> None:
    if isinstance(value, list):
        for index, item in enumerate(value):
            check.value(cast(Schema, schema["items"]), item, (*keys, index))


def _one_of(check: _Check, schema: Schema, value: object, keys: Keys) -> None:
    branches = [_resolved(check.root, branch) for branch in cast(list[Schema], schema["oneOf"])]
    if all("type" in branch for branch in branches):
        # Told apart by type: the complaints of the branch that was meant are the useful ones.
        branches = [branch for branch in branches if _has_type(branch, value)]
        if len(branches) == 1:
            check.value(branches[0], value, keys)
            return
    fitting = 0
    for branch in branches:
        trial = _Check(check.document, check.root)
        trial.value(branch, value, keys)
        fitting += not trial.complaints
    if fitting != 1:
        check.add(keys, str(schema.get("x-says", "must be exactly one of its alternatives")))


def _resolved(root: Schema, schema: Schema) -> Schema:
    reference = schema.get("$ref")
    return _definition(root, reference) if isinstance(reference, str) else schema


def _pattern(check: _Check, schema: Schema, value: object, keys: Keys) -> None:
    if isinstance(value, str) and not re.search(str(schema["pattern"]), value):
        check.add(keys, f"must be {schema.get('x-says', 'of another form')}")


def _enum(check: _Check, schema: Schema, value: object, keys: Keys) -> None:
    allowed = cast(list[object], schema["enum"])
    if value not in allowed:
        near = get_close_matches(str(value), [str(item) for item in allowed], 1, 0.6)
        hint = f" (did you mean {near[0]}?)" if near else ""
        check.add(keys, f"must be one of {', '.join(str(item) for item in allowed)}{hint}")


def _bound(word: str, text: str, fits: Callable[[float, float], bool]) -> _Rule:
    def rule(check: _Check, schema: Schema, value: object, keys: Keys) -> None:
        limit = cast(float, schema[word])
        if _number(value) and not fits(cast(float, value), limit):
            check.add(keys, f"must be {text} {limit}")

    return rule


def _size(word: str, kinds: type | tuple[type, ...], text: str) -> _Rule:
    def rule(check: _Check, schema: Schema, value: object, keys: Keys) -> None:
        if isinstance(value, kinds) and len(cast(str, value)) < cast(int, schema[word]):
            check.add(keys, text)

    return rule


_WORDS: dict[str, _Rule] = {
    **dict.fromkeys(
        ("$schema", "$id", "$defs", "$ref", "$comment", "title", "description", "examples"), _ignore
    ),
    **dict.fromkeys(("default", "type", "x-says"), _ignore),
    "properties": _properties,
    "additionalProperties": _additional,
    "required": _required,
    "items": _items,
    "oneOf": _one_of,
    "pattern": _pattern,
    "enum": _enum,
    "minimum": _bound("minimum", "at least", lambda value, limit: value >= limit),
    "maximum": _bound("maximum", "at most", lambda value, limit: value <= limit),
    "exclusiveMinimum": _bound("exclusiveMinimum", "over", lambda value, limit: value > limit),
    "minLength": _size("minLength", str, "must not be empty"),
    "minItems": _size("minItems", list, "must not be empty"),
    "minProperties": _size("minProperties", dict, "must not be empty"),
}
