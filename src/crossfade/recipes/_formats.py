"""Say of every key that a recipe names which format its file has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

from crossfade.recipes._spec import Recipe

__all__ = ["with_formats"]


def with_formats(recipe: Recipe) -> Recipe:
    """The recipe, in which whatever names a file (a condition, a reference) has the format that
    ``configuration`` gives the file; other files are taken for YAML."""
    formats = {
        spec.path: spec.format
        for spec in recipe.configuration
        if spec.path and spec.format != "opaque"
    }
    told: Recipe = _told(recipe, formats)
    return told


def _told(value: Any, formats: Mapping[str, str]) -> Any:
    if isinstance(value, tuple):
        return tuple(_told(item, formats) for item in value)
    if isinstance(value, dict):
        return {key: _told(item, formats) for key, item in value.items()}
    if not is_dataclass(value) or isinstance(value, type):
        return value
    held = {field.name: getattr(value, field.name) for field in fields(value)}
    changed = {name: _told(item, formats) for name, item in held.items()}
    if "file" in held and "format" in held:
        changed["format"] = formats.get(held["file"], "yaml")
    return replace(value, **changed) if changed != held else value
