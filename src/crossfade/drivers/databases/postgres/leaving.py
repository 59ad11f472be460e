"""Removes a feed from both sides, from any state and by any process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import LiteralString

from crossfade.drivers.databases.postgres import feed, subscription
from crossfade.drivers.databases.postgres.connect import explained, fetch
from crossfade.drivers.databases.postgres.feed import Names
from crossfade.errors import Failed
from crossfade.model import Endpoint

__all__ = ["leave", "standing"]

_GONE = ("database-missing",)
_NEW: LiteralString = (
    "select 'subscription ' || subname from pg_catalog.pg_subscription s"
    " join pg_catalog.pg_database d on d.oid = s.subdbid"
    " where subname = %s and datname = current_database()"
)
_OLD: LiteralString = (
    "select 'slot ' || slot_name from pg_catalog.pg_replication_slots where slot_name = any(%s)"
    " union all select 'publication ' || pubname from pg_catalog.pg_publication where pubname = %s"
    " union all select 'role ' || rolname from pg_catalog.pg_roles where rolname = %s"
)


def leave(old: Endpoint, new: Endpoint, names: Names) -> list[str]:
    """Remove the subscription, then slots, publication and role; what was removed, in words.

    Where one server cannot be reached the other is cleaned all the same; then raises Failed
    ``feed-left-behind`` with what is left there and the SQL that removes it.
    """
    removed: list[str] = []
    left: list[tuple[Failed, Endpoint, str]] = []
    ways: tuple[tuple[Endpoint, Callable[[], list[str]], str], ...] = (
        (new, lambda: _leave_new(new, names), _sql_for_new(names)),
        (old, lambda: feed.let_go(old, names), _sql_for_old(names)),
    )
    for endpoint, way, words in ways:
        try:
            removed += way()
        except Failed as error:
            if error.code not in _GONE:
                left.append((error, endpoint, words))
    if left:
        texts = [f"on {endpoint}: {error.what}" for error, endpoint, _ in left]
        remedy = "; ".join(f"in {endpoint.database}: {words}" for _, endpoint, words in left)
        raise Failed(
            "feed-left-behind",
            f"The feed {names.feed} could not be removed everywhere: {' '.join(texts)}"
            f" What is left is removed by the same command later, or by hand: {remedy}",
            where=", ".join(str(endpoint) for _, endpoint, _ in left),
        )
    return removed


def standing(
    old: Endpoint, new: Endpoint, names: Names, *, sides: tuple[str, str] = ("old", "new")
) -> list[str]:
    """What of the feed from ``old`` to ``new`` stands on either server, in words.

    sides says which side each of the two is.  Changes nothing.  Raises Failed."""
    found: list[str] = []
    looks: tuple[tuple[Endpoint, str, LiteralString, Sequence[object]], ...] = (
        (new, sides[1], _NEW, (names.feed,)),
        (old, sides[0], _OLD, ([names.feed, names.keys], names.feed, names.feed)),
    )
    for endpoint, side, query, values in looks:
        try:
            with (
                feed.brief(endpoint) as conn,
                explained("look for a feed", endpoint),
            ):
                found += [
                    f"{row[0]} on the {side} side's server" for row in fetch(conn, query, values)
                ]
        except Failed as error:
            if error.code not in _GONE:
                raise
    return found


def _leave_new(new: Endpoint, names: Names) -> list[str]:
    with (
        feed.brief(new) as conn,
        explained("remove the feed from the new side", new),
    ):
        return [f"subscription {names.feed}"] if subscription.detach(conn, names) else []


def _sql_for_new(names: Names) -> str:
    name = f'"{names.feed}"'
    return (
        f"ALTER SUBSCRIPTION {name} DISABLE; ALTER SUBSCRIPTION {name} SET (slot_name = NONE);"
        f" DROP SUBSCRIPTION {name};"
    )


def _sql_for_old(names: Names) -> str:
    return (
        f"SELECT pg_drop_replication_slot('{names.feed}');"
        f" SELECT pg_drop_replication_slot('{names.keys}');"
        f' DROP PUBLICATION IF EXISTS "{names.feed}"; DROP ROLE IF EXISTS "{names.feed}";'
    )
