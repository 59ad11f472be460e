"""Read a recipe: a name of ours, or a path to a recipe file of the site's own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import Any

from crossfade.errors import UsageError
from crossfade.recipes._formats import with_formats
from crossfade.recipes._mutes import mute_complaints
from crossfade.recipes._spec import (
    _PLACEHOLDER,
    DATABASE_PLACEHOLDERS,
    INSTALL_OPTIONS,
    PLACEHOLDERS,
    SERVER_DRIVERS,
    CanarySpec,
    CheckSpec,
    Condition,
    ConfigurationSpec,
    EffectSpec,
    InstallSpec,
    KeyReference,
    MuteSpec,
    PartSpec,
    Recipe,
    RequirementSpec,
    RewriteSpec,
    ServiceSpec,
    StockSpec,
)
from crossfade.recipes._validate import complain, load_schema, parse
from crossfade.recipes._yaml import Complaint, Document, Keys, dotted

__all__ = [
    "LEADS_OUT",
    "OPAQUE",
    "check_spec",
    "configuration_spec",
    "leads_out",
    "load",
    "names",
    "part_spec",
    "placeholder_complaints",
]

Data = Mapping[str, Any]

_HERE = Path(__file__).parent
_FILLED = frozenset(
    (
        *("packages", "command", "migrate", "environment", "preload", "path", "make", "read"),
        "checked_by",
        *("equals", "contains", "headers", "stock"),
    )
)
OPAQUE = {
    "rewrite": "cannot be done in an opaque file",
    "stock": "is for a file that is read, and an opaque file is taken whole",
}
"""What may not be said of an opaque file, and why."""
LEADS_OUT = "must be relative and stay inside its directory"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]*\Z")


def names() -> tuple[str, ...]:
    """The applications that Crossfade has a recipe of."""
    return tuple(sorted(path.stem for path in _HERE.glob("*.yaml")))


def load(name_or_path: str, base: Path) -> Recipe:
    """The recipe of that name, or the file at that path (relative to ``base``).

    Raises UsageError: ``recipe-missing``, or ``recipe-invalid`` with every complaint.
    """
    path = _find(name_or_path, base)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = "it is not UTF-8 text" if isinstance(error, ValueError) else _reason(error)
        raise UsageError(
            "recipe-missing",
            f"the recipe {name_or_path} cannot be read: {reason}",
            where=str(path),
            next="crossfade plan",
        ) from None
    document, complaints = parse(text, load_schema(_HERE / "recipe.schema.json"))
    if not complaints:
        complaints = [*placeholder_complaints(document), *_rule_complaints(document)]
    if not complaints:
        recipe = _recipe(document, path)
        complaints = [*mute_complaints(document, recipe)]
    if complaints:
        complain("recipe-invalid", path.name, complaints, f"edit {path}, then: crossfade plan")
    return with_formats(recipe)


def check_spec(data: Data, base: Path, name: str) -> CheckSpec:
    """A check as the schemas describe it; ``name`` is used when it has none of its own."""
    command = tuple(data.get("command", ()))
    return CheckSpec(
        name=data.get("name", name),
        path=data.get("path", ""),
        command=command,
        status=int(data.get("status", 0 if command else 200)),
        contains=data.get("contains", ""),
        json=data.get("json", ""),
        compares="equals" in data,
        equals=data.get("equals"),
        timeout=float(data.get("timeout", 10)),
        headers=dict(data.get("headers", {})),
        base=base,
    )


def placeholder_complaints(document: Document) -> Iterator[Complaint]:
    """A complaint for each ``{name}`` that stands for nothing, where names are replaced."""
    data: Any = document.data
    stock = data.get("stock", {}) if isinstance(data, dict) else {}
    of_stock = {"stock", *stock.get("values", {})}
    for keys, text in document.raw.items():
        if _FILLED.isdisjoint(keys):
            continue
        for unknown in _PLACEHOLDER.findall(text):
            if "stock" in keys and unknown in of_stock:
                continue
            if not _is_placeholder(unknown):
                near = get_close_matches(unknown, PLACEHOLDERS, 1, 0.6)
                hint = f"did you mean {{{near[0]}}}?" if near else ", ".join(PLACEHOLDERS)
                problem = f"has the unknown placeholder {{{unknown}}} ({hint})"
                yield Complaint(document.line(keys), dotted(keys), problem)


def _is_placeholder(name: str) -> bool:
    _, dot, key = name.partition(".")
    return key in DATABASE_PLACEHOLDERS if dot else name in PLACEHOLDERS


def _find(name_or_path: str, base: Path) -> Path:
    if _NAME.match(name_or_path):
        known = names()
        if name_or_path in known:
            return _HERE / f"{name_or_path}.yaml"
        near = get_close_matches(name_or_path, known, 1, 0.5)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
        raise UsageError(
            "recipe-missing",
            f"there is no recipe {name_or_path} ({hint})",
            where="application: takes a name, or a path to a recipe file (*.yaml)",
            next="edit crossfade.yaml, then: crossfade plan",
        )
    return base / name_or_path


def _reason(error: OSError | ValueError) -> str:
    return getattr(error, "strerror", None) or type(error).__name__


def _rule_complaints(document: Document) -> Iterator[Complaint]:
    """What the schema cannot say: relative paths stay inside, names are used once, options are
    those of the kind of install."""
    data: Any = document.data
    yield from _option_complaints(document, data["install"])
    for section in ("configuration", "databases", "files"):
        seen: set[str] = set()
        for index, item in enumerate(data.get(section, ())):
            keys: Keys = (section, index)
            if leads_out(item.get("path", ".")):
                yield Complaint(document.line((*keys, "path")), dotted((*keys, "path")), LEADS_OUT)
            server = section == "databases" and item["driver"] in SERVER_DRIVERS
            if section != "configuration" and server is ("path" in item):
                text = "is for databases in files" if server else "is missing"
                yield Complaint(document.line(keys), dotted((*keys, "path")), text)
            name = item.get("name", "") + (f" {item['driver']}" if section == "databases" else "")
            if name and name in seen:
                text = "is a name that was used before"
                yield Complaint(document.line((*keys, "name")), dotted((*keys, "name")), text)
            seen.add(name)
            for word, text in OPAQUE.items() if item.get("format") == "opaque" else ():
                if item.get(word):
                    place: Keys = (*keys, word)
                    yield Complaint(document.line(place), dotted(place), text)


def leads_out(path: str) -> bool:
    """Whether a path does not stay inside the directory that it is relative to."""
    pure = PurePosixPath(path)
    return pure.is_absolute() or ".." in pure.parts


def _option_complaints(document: Document, install: Data) -> Iterator[Complaint]:
    """A driver of somebody else's may know any of the options."""
    kind = install["driver"]
    ours = {*INSTALL_OPTIONS.values(), "apt"}
    for option, driver in INSTALL_OPTIONS.items():
        if option in install and kind in ours - {driver}:
            keys: Keys = ("install", option)
            text = f"is for the install {driver}, not for {kind}"
            yield Complaint(document.line(keys), dotted(keys), text)


def _install(data: Data) -> InstallSpec:
    options = {option: data[option] for option in INSTALL_OPTIONS if option in data}
    return InstallSpec(data["driver"], tuple(data["packages"]), options)


def _recipe(document: Document, path: Path) -> Recipe:
    data: Any = document.data
    base = path.parent
    service = data["service"]

    def optional(name: str, **more: object) -> CheckSpec | None:
        return check_spec({**more, **data[name]}, base, name) if name in data else None

    return Recipe(
        application=data["application"],
        title=data.get("title", data["application"]),
        source=path,
        install=_install(data["install"]),
        service=ServiceSpec(
            driver=service["driver"],
            command=tuple(service["command"]),
            migrate=tuple(service.get("migrate", ())),
            held_start=service.get("held_start", True),
            preload=tuple(service.get("preload", ())),
            start_timeout=float(service.get("start_timeout", 60)),
            stop_timeout=float(service.get("stop_timeout", 30)),
            environment=dict(service.get("environment", {})),
            defaults=dict(service.get("defaults", {})),
        ),
        health=check_spec(data["health"], base, "health"),
        installed_version=optional("installed_version", equals="{version}", timeout=60),
        version=optional("version"),
        checks=tuple(check_spec(item, base, item["name"]) for item in data.get("checks", ())),
        effects=tuple(
            EffectSpec(
                item["name"], item["what"], _all(item, "when"), _all(item, "unless"), _mutes(item)
            )
            for item in data.get("effects", ())
        ),
        requires=tuple(
            RequirementSpec(
                item["what"], _all(item, "when"), _all(item, "unless"), item.get("database", "")
            )
            for item in data.get("requires", ())
        ),
        configuration=tuple(configuration_spec(item) for item in data.get("configuration", ())),
        databases=tuple(part_spec(item) for item in data.get("databases", ())),
        files=tuple(part_spec(item) for item in data.get("files", ())),
        writes_on_reads=data.get("writes_on_reads", ""),
        stock=_stock(data),
        canaries=tuple(
            CanarySpec(item["name"], item["what"], tuple(item["make"]), tuple(item["read"]))
            for item in data.get("canaries", ())
        ),
    )


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else [value]


def _all(item: Data, word: str) -> tuple[Condition, ...]:
    return tuple(
        Condition(
            one.get("file", ""),
            one.get("key", ""),
            "equals" in one,
            one.get("equals"),
            variable=one.get("variable", ""),
        )
        for one in _list(item.get(word, []))
    )


def _mutes(item: Data) -> tuple[MuteSpec, ...]:
    return tuple(
        MuteSpec(
            one.get("file", ""),
            one.get("key", ""),
            one.get("drop", False),
            one.get("value"),
            one.get("variable", ""),
        )
        for one in item.get("mute", ())
    )


def _references(item: Data) -> tuple[KeyReference, ...]:
    return tuple(KeyReference(one["file"], one["key"]) for one in _list(item.get("path_from", [])))


def configuration_spec(item: Data) -> ConfigurationSpec:
    """A configuration file as the schemas describe it."""
    identity = item.get("identity", [])
    return ConfigurationSpec(
        format=item["format"],
        path=item.get("path", ""),
        path_from=_references(item),
        rewrite=tuple(
            RewriteSpec(
                rule["key"],
                rule["to"],
                rule.get("required", False),
                rule.get("outside", "keep"),
                rule.get("database", "main"),
            )
            for rule in item.get("rewrite", ())
        ),
        identity=identity if isinstance(identity, bool) else tuple(identity),
        stock=item.get("stock", ""),
        checked_by=tuple(item.get("checked_by", ())),
    )


def _stock(data: Data) -> StockSpec | None:
    if "stock" not in data:
        return None
    values = data["stock"].get("values", {})
    return StockSpec(
        tuple(data["stock"]["command"]),
        {name: KeyReference(one["file"], one["key"]) for name, one in values.items()},
    )


def part_spec(item: Data) -> PartSpec:
    """A database or a tree as the schemas describe it."""
    return PartSpec(
        item["name"],
        item["driver"],
        item.get("path", ""),
        _references(item),
        tuple(item.get("bookkeeping", ())),
        item.get("host_lists", False),
    )
