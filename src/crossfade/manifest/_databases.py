"""What the manifest says of databases on servers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from crossfade.errors import UsageError
from crossfade.model import Address, Endpoint
from crossfade.recipes import SERVER_DRIVERS, PartSpec, Recipe

__all__ = ["chosen", "endpoints", "rehearsal_endpoints", "with_recipe"]

_KINDS = {
    "postgresql": "postgres",
    "postgres": "postgres",
    "mysql": "mysql",
    "mariadb": "mysql",
}
_PORTS = {"postgres": 5432, "mysql": 3306}
_PASSFILES = {"postgres": "pgpass", "mysql": "cnf"}


def endpoints(
    data: Mapping[str, Any], base: Path, state: Path, old: Mapping[str, Endpoint]
) -> dict[str, Endpoint]:
    """The databases of one side.  ``old`` are the old side's, whose passwords are the default."""
    return {name: _endpoint(item, base, state, old.get(name)) for name, item in data.items()}


def rehearsal_endpoints(
    data: Mapping[str, Any], new: Mapping[str, Endpoint], base: Path, state: Path
) -> dict[str, Endpoint]:
    """The rehearsal's own databases: as given, else beside the new side's."""
    given = endpoints(data, base, state, new)
    beside = {
        name: replace(
            endpoint,
            database=f"{endpoint.database}_rehearsal",
            passfile=_passfile(
                state, endpoint.kind, endpoint.address, f"{endpoint.database}_rehearsal"
            ),
        )
        for name, endpoint in new.items()
    }
    return beside | given


def _endpoint(item: Mapping[str, Any], base: Path, state: Path, like: Endpoint | None) -> Endpoint:
    """A host or port that does not hold is complained about by the rules; 1 stands in for it."""
    url = urlsplit(item["url"])
    kind = _KINDS[url.scheme]
    user = unquote(url.username or "")
    password = item.get("password", like.password if like else "")
    admin = item.get("admin", user)
    try:
        port = url.port or _PORTS[kind]
    except ValueError:
        port = 1
    address = Address(url.hostname or "", port)
    database = unquote(url.path.removeprefix("/"))
    return Endpoint(
        kind=kind,
        address=address,
        database=database,
        user=user,
        password=password,
        admin=admin,
        admin_password=item.get("admin_password", password if admin == user else ""),
        base=base,
        passfile=_passfile(state, kind, address, database),
        strategy="" if item.get("strategy", "auto") == "auto" else item["strategy"],
        reached_at=Address.parse(item["reached_at"]) if "reached_at" in item else None,
    )


def _passfile(state: Path, kind: str, address: Address, database: str) -> Path:
    """Named by the database, not by the side: the new side is the old one of the next upgrade."""
    mark = sha256(f"{address}/{database}".encode()).hexdigest()[:12]
    return state / "run" / f"{mark}.{_PASSFILES[kind]}"


def chosen(recipe: Recipe, old: Mapping[str, Endpoint], new: Mapping[str, Endpoint]) -> Recipe:
    """The recipe with just those databases, and requirements, that this site has.

    Raises UsageError for a database that the recipe does not know, or that only one side has."""
    parts: dict[str, PartSpec] = {}
    for part in recipe.databases:
        endpoint = old.get(part.name)
        fits = endpoint.kind == part.driver if endpoint else part.driver not in SERVER_DRIVERS
        if fits:
            parts.setdefault(part.name, part)
    for name in sorted({*old, *new} | {part.name for part in recipe.databases}):
        if name not in parts or (name in old) != (name in new):
            raise _unfitting(recipe, name, old, new)
        if name in old and old[name].kind != new[name].kind:
            raise _unfitting(recipe, name, old, new)
    kinds = {"", next((part.driver for part in parts.values()), "")}
    return replace(
        recipe,
        databases=tuple(parts.values()),
        requires=tuple(r for r in recipe.requires if r.database in kinds),
    )


def _unfitting(
    recipe: Recipe, name: str, old: Mapping[str, Endpoint], new: Mapping[str, Endpoint]
) -> UsageError:
    known = sorted({part.driver for part in recipe.databases if part.name == name})
    said = {"old": old.get(name), "new": new.get(name)}
    if not known:
        what = f"the recipe {recipe.application} has no database {name}"
    elif all(said.values()) or not any(said.values()):
        kinds = " and ".join(e.kind if e else "no server" for e in dict.fromkeys(said.values()))
        what = (
            f"database {name} can be {' or '.join(known)}, of one kind on both sides, not {kinds}"
        )
    else:
        missing = next(side for side, endpoint in said.items() if endpoint is None)
        what = f"{missing}.databases.{name} is missing"
    return UsageError(
        "manifest-invalid",
        what,
        where="crossfade.yaml: old.databases, new.databases",
        next="edit crossfade.yaml, then: crossfade plan",
    )


def with_recipe(recipe: Recipe, given: Mapping[str, Endpoint]) -> dict[str, Endpoint]:
    """The endpoints with what the recipe knows of them."""
    known = {part.name: part for part in recipe.databases}
    return {
        name: replace(endpoint, bookkeeping=part.bookkeeping, host_lists=part.host_lists)
        if (part := known.get(name))
        else endpoint
        for name, endpoint in given.items()
    }
