"""The new database itself: made like the old one, marked as ours, given its settings, removed.

The mark is the database's comment.  What is not empty and has no mark is somebody's, and is never
touched.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from psycopg import sql

from crossfade.drivers.databases.postgres.connect import Conn, connect, explained, fetch, one, run
from crossfade.drivers.databases.postgres.inventory import Inventory
from crossfade.drivers.databases.postgres.queries import CONTENT
from crossfade.drivers.databases.postgres.roles import remove_roles, unmark_roles
from crossfade.errors import Failed
from crossfade.model import Endpoint

__all__ = [
    "look",
    "maintenance",
    "make_database",
    "mark",
    "remove_database",
    "tag_of",
    "unmark",
]

_MARK = re.compile(r"^made by Crossfade \(([a-z0-9_]+)\)\n?(.*)$", re.DOTALL)


def maintenance(endpoint: Endpoint) -> Conn:
    """A session in a database of the server other than the one that is to be made or removed."""
    for name in ("postgres", "template1"):
        if name == endpoint.database:
            continue
        try:
            return connect(endpoint, database=name)
        except Failed as error:
            if error.code != "database-missing" or name == "template1":
                raise
    return connect(endpoint, database="template1")


def tag_of(conn: Conn, database: str) -> str | None:
    """Which attempt made the database; "" when none of ours did, None when it does not exist."""
    row = fetch(
        conn,
        "select shobj_description(oid, 'pg_database') from pg_database where datname = %s",
        (database,),
    )
    if not row:
        return None
    match = _MARK.match(row[0][0] or "")
    return match[1] if match else ""


def look(endpoint: Endpoint, tag: str) -> str:
    """How the place of a new database stands: ``missing``, ``ours``, ``empty`` or ``in use``.

    Ours is only what this attempt made: what an earlier upgrade made may be somebody's live data.
    """
    with explained("look at the new database", endpoint):
        with maintenance(endpoint) as conn:
            found = tag_of(conn, endpoint.database)
        if found is None:
            return "missing"
        if found:
            return "ours" if found == tag else "in use"
        with connect(endpoint) as conn:
            return "in use" if one(conn, CONTENT) else "empty"


def make_database(new: Endpoint, old: Inventory, owner: str, tag: str) -> None:
    """An empty database like the old one, marked as ours; one that we made before is replaced.

    Raises Failed ``new-place-in-use`` when somebody else's data is there.
    """
    state = look(new, tag)
    if state == "in use":
        raise Failed(
            "new-place-in-use",
            f"The database {new.database} on the new server has data that is not ours.",
            where=str(new),
        )
    name = sql.Identifier(new.database)
    with explained("make the new database", new), maintenance(new) as conn:
        if state == "ours":
            _drop(conn, new)
        if state != "empty":
            run(conn, _creation(name, owner, old, conn.info.server_version))
        run(conn, sql.SQL("comment on database {} is {}").format(name, sql.Literal(mark(tag, ""))))
    if state == "empty":
        _same_text(new, old)


def unmark(new: Endpoint) -> None:
    """The new database is nobody's copy any more, nor are the roles that were made for it.

    Their comments are the ones that the old side had.  Fine when that is so already."""
    with explained("hand the new database over", new), maintenance(new) as conn:
        comment = one(
            conn,
            "select shobj_description(oid, 'pg_database') from pg_database where datname = %s",
            (new.database,),
        )
        match = _MARK.match(comment or "")
        if match:
            unmark_roles(conn, match[1])
            text = sql.Literal(match[2] or None)
            name = sql.Identifier(new.database)
            run(conn, sql.SQL("comment on database {} is {}").format(name, text))


def remove_database(new: Endpoint) -> list[str]:
    """Drop a database that we made, and the roles made with it; what was removed, in words.

    Fine when it is gone.  Raises Failed ``new-place-in-use`` when it is not ours.
    """
    with explained("remove the new database", new), maintenance(new) as conn:
        tag = tag_of(conn, new.database)
        if tag is None:
            return []
        if not tag:
            raise Failed(
                "new-place-in-use",
                f"The database {new.database} was not made by Crossfade, and stays.",
                where=str(new),
            )
        _drop(conn, new)
        dropped, _ = remove_roles(conn, tag)
        return [f"database {new.database}", *(f"role {name}" for name in dropped)]


def mark(tag: str, comment: str) -> str:
    """The comment of a database that the attempt ``tag`` made from one with ``comment``."""
    return f"made by Crossfade ({tag})" + (f"\n{comment}" if comment else "")


def _creation(name: sql.Identifier, owner: str, old: Inventory, version: int) -> sql.Composed:
    parts = [
        sql.SQL("create database {} template template0").format(name),
        sql.SQL("owner {}").format(sql.Identifier(owner)),
        sql.SQL("encoding {}").format(sql.Literal(old.encoding)),
        sql.SQL("lc_collate {} lc_ctype {}").format(
            sql.Literal(old.collate), sql.Literal(old.ctype)
        ),
    ]
    if version >= 150000:
        parts.append(sql.SQL("locale_provider {}").format(sql.SQL(old.provider)))
        if old.provider != "libc":
            which = sql.SQL("icu_locale" if old.provider == "icu" else "builtin_locale")
            parts.append(sql.SQL("{} {}").format(which, sql.Literal(old.locale)))
    return sql.SQL(" ").join(parts)


def _same_text(new: Endpoint, old: Inventory) -> None:
    """Somebody's empty database serves only when it keeps and orders text as the old one does."""
    with connect(new) as conn:
        row = fetch(
            conn,
            "select pg_encoding_to_char(encoding), datcollate, datctype from pg_database"
            " where datname = current_database()",
        )[0]
    if row != (old.encoding, old.collate, old.ctype):
        raise Failed(
            "database-encoding-differs",
            f"The empty database {new.database} on the new server has {', '.join(row)},"
            f" the old one {old.encoding}, {old.collate}, {old.ctype}.",
            where=str(new),
        )


def _drop(conn: Conn, new: Endpoint) -> None:
    """Drop a database of ours, with the feeds that would keep it."""
    _unsubscribe(new)
    for (slot,) in fetch(
        conn,
        "select slot_name from pg_replication_slots"
        " where database = %s and not active and starts_with(slot_name::text, 'crossfade_')",
        (new.database,),
    ):
        run(conn, "select pg_drop_replication_slot(%s)", (slot,))
    name = sql.Identifier(new.database)
    if conn.info.server_version >= 130000:
        run(conn, sql.SQL("drop database {} with (force)").format(name))
    else:
        run(
            conn,
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s",
            (new.database,),
        )
        run(conn, sql.SQL("drop database {}").format(name))


def _unsubscribe(new: Endpoint) -> None:
    with connect(new) as conn:
        names: Sequence[tuple[str]] = fetch(
            conn,
            "select subname from pg_subscription s join pg_database d on d.oid = s.subdbid"
            " where d.datname = current_database()",
        )
        for (subscription,) in names:
            name = sql.Identifier(subscription)
            run(conn, sql.SQL("alter subscription {} disable").format(name))
            run(conn, sql.SQL("alter subscription {} set (slot_name = none)").format(name))
            run(conn, sql.SQL("drop subscription {}").format(name))
