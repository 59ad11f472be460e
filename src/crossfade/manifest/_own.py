"""What a site has beside its recipe: configuration files, more rules for those, and trees."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from crossfade.recipes import ConfigurationSpec, Recipe
from crossfade.recipes._load import LEADS_OUT, OPAQUE, configuration_spec, leads_out, part_spec
from crossfade.recipes._yaml import Keys

__all__ = ["own_complaints", "with_own"]

Data = Mapping[str, Any]

_BY_NAME = {
    **dict.fromkeys((".yaml", ".yml"), "yaml"),
    **{f".{name}": name for name in ("env", "ini", "json", "properties", "toml", "xml")},
}
"""Formats that the end of a name says for sure; every other file is taken as it is."""


def with_own(recipe: Recipe, data: Data) -> Recipe:
    """The recipe with a manifest's own ``configuration`` and ``files``."""
    formats = _formats(recipe.configuration)
    own = tuple(
        configuration_spec({"format": _format(item, formats), **item}) for item in _own(data)
    )
    trees = tuple(part_spec({"driver": "tree", **item}) for item in data.get("files", ()))
    return replace(
        recipe, configuration=(*recipe.configuration, *own), files=(*recipe.files, *trees)
    )


def own_complaints(data: Data, recipe: Recipe) -> Iterator[tuple[Keys, str]]:
    """What the schema cannot say of them; recipe has them already."""
    formats = _formats(recipe.configuration[: -len(_own(data)) or None])
    for index, item in enumerate(_own(data)):
        keys: Keys = ("configuration", index)
        path = item["path"]
        if leads_out(path):
            yield (*keys, "path"), LEADS_OUT
        if item.get("format", formats.get(path)) != formats.get(path, item.get("format")):
            yield (*keys, "format"), f"is {formats[path]} in the recipe"
        if "rewrite" in item and _format(item, formats) == "opaque":
            hint = "" if "format" in item else "; say its format"
            yield (*keys, "rewrite"), OPAQUE["rewrite"] + hint
    names = [part.name for part in (*recipe.databases, *recipe.files)]
    for index, item in enumerate(data.get("files", ())):
        if leads_out(item["path"]):
            yield ("files", index, "path"), LEADS_OUT
        if names.count(item["name"]) > 1:
            yield ("files", index, "name"), "is a name that was used before"


def _own(data: Data) -> Sequence[Data]:
    return tuple(data.get("configuration", ()))


def _formats(specs: Iterable[ConfigurationSpec]) -> dict[str, str]:
    return {spec.path: spec.format for spec in specs if spec.path}


def _format(item: Data, formats: Mapping[str, str]) -> str:
    """As said, as the recipe has it, or by the end of its name."""
    path = item["path"]
    by_name = _BY_NAME.get(PurePosixPath(path).suffix, "opaque")
    return str(item.get("format", formats.get(path, by_name)))
