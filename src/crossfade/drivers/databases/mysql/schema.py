"""Makes on the new server what stands in the old database: first tables, later all else.

Definitions come from the server's own SHOW CREATE, each run under the ``sql_mode`` and character
set that it was made with.  Events are made disabled, and enabled when the new side goes live.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pymysql

from crossfade.drivers.databases.mysql.catalog import Catalog
from crossfade.drivers.databases.mysql.connect import (
    SQL_MODE,
    Ask,
    Conn,
    fetch,
    ident,
    one,
    run,
    text,
)

__all__ = [
    "analyze",
    "drop_everything",
    "enable_events",
    "is_ours",
    "make_rest",
    "make_tables",
    "mark_ours",
    "unmark",
]

_MARK = "crossfade"


def mark_ours(new: Conn, database: str, like: Catalog | None, tag: str) -> None:
    """Make the new database, or mark the empty one, as made by Crossfade."""
    sets = ""
    if like is not None:
        sets = f" character set {like.charset} collate {like.collation}"
    run(new, f"create database if not exists {ident(database)}{sets}")
    run(new, f"alter database {ident(database)}{sets} comment {text_literal(f'{_MARK} {tag}')}")


def unmark(new: Conn, database: str) -> None:
    """The database is no longer ours: it is the application's."""
    found = fetch(
        new,
        "select schema_comment from information_schema.schemata where schema_name = %s",
        (database,),
    )
    if found and is_ours(str(found[0][0])):
        run(new, f"alter database {ident(database)} comment ''")


def text_literal(value: str) -> str:
    """A quoted literal, where the server takes no other form."""
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def make_tables(old: Conn, new: Conn, catalog: Catalog, ask: Ask) -> None:
    """Every table and sequence, without rows; both sessions have their database as their own."""
    run(new, "set session foreign_key_checks = 0, check_constraint_checks = 0")
    for name in catalog.sequences:  # a column's default may ask one
        run(new, str(ask(f"show create sequence {ident(name)}")[0][1]))
    here = str(one(new, "select database()"))

    def make(name: str) -> None:
        made = str(fetch(old, f"show create table {ident(name)}")[0][1])
        run(new, asking_own_sequences(made, catalog.name, here))

    _retried(catalog.tables, make)


def asking_own_sequences(statement: str, old_name: str, new_name: str) -> str:
    """A table's definition whose defaults ask sequences of the database that it will stand in."""
    return statement.replace(f"nextval({ident(old_name)}.", f"nextval({ident(new_name)}.")


def make_rest(old: Conn, new: Conn, catalog: Catalog) -> None:
    """Routines, views, triggers and events (disabled), after the rows."""
    for kind, name in catalog.routines:
        row = fetch(old, f"show create {kind} {ident(name)}")[0]
        _made_as(new, str(row[1]), str(row[2]), str(row[3]), str(row[4]))
    _retried(catalog.views, lambda name: _make_view(old, new, name))
    for name in catalog.triggers:
        if not name.startswith("crossfade_fence_"):
            row = fetch(old, f"show create trigger {ident(name)}")[0]
            _made_as(new, str(row[1]), str(row[2]), str(row[3]), str(row[4]))
    for name in catalog.events:
        _make_event(old, new, catalog.name, name)


def enable_events(new: Conn, catalog: Catalog) -> None:
    """Give the events the state that they have on the old side."""
    run(new, "set session sql_log_bin = 0")
    for name, status in catalog.events.items():
        if status == "ENABLED":
            run(new, f"alter event {ident(name)} enable")


def drop_everything(new: Conn, catalog: Catalog) -> None:
    """Empty the new database for another try; grants on it stay."""
    run(new, "set session foreign_key_checks = 0")
    for name in catalog.events:
        run(new, f"drop event if exists {ident(name)}")
    for name in catalog.views:
        run(new, f"drop view if exists {ident(name)}")
    for name in catalog.tables:
        run(new, f"drop table if exists {ident(name)}")
    for name in catalog.sequences:
        run(new, f"drop sequence if exists {ident(name)}")
    for kind, name in catalog.routines:
        run(new, f"drop {kind} if exists {ident(name)}")


def analyze(new: Conn, catalog: Catalog) -> None:
    """Statistics for the new server's planner."""
    for name in catalog.tables:
        fetch(new, f"analyze no_write_to_binlog table {ident(name)}")


def _make_view(old: Conn, new: Conn, name: str) -> None:
    row = fetch(old, f"show create view {ident(name)}")[0]
    _made_as(new, None, str(row[1]), str(row[2]), str(row[3]))


def _make_event(old: Conn, new: Conn, database: str, name: str) -> None:
    row = fetch(
        old,
        "select definer, time_zone, sql_mode, event_definition, event_type, execute_at,"
        " interval_value, interval_field, starts, ends, on_completion, event_comment,"
        " character_set_client, collation_connection from information_schema.events"
        " where event_schema = %s and event_name = %s",
        (database, name),
    )[0]
    definer, zone, mode, body, kind, at, value, unit, starts, ends, ending, said, cs, coll = row
    user, _, host = str(definer).rpartition("@")
    when = f"at '{at}'" if kind == "ONE TIME" else f"every '{value}' {unit}"
    when += f" starts '{starts}'" if starts and kind != "ONE TIME" else ""
    when += f" ends '{ends}'" if ends and kind != "ONE TIME" else ""
    statement = (
        f"create definer = {ident(user)}@{ident(host)} event {ident(name)} on schedule {when}"
        f" on completion {ending} disable comment {text_literal(str(said))} do {body}"
    )
    run(new, "set session time_zone = %s", (str(zone),))
    try:
        _made_as(new, str(mode), statement, str(cs), str(coll))
    finally:
        run(new, "set session time_zone = '+00:00'")


def _made_as(new: Conn, mode: str | None, statement: str, charset: str, collation: str) -> None:
    """Run a statement as if its maker had typed it: its mode, its character set."""
    run(new, f"set session sql_mode = {text(mode or '')}")
    try:
        # The statement travels in utf8mb4 all the same; only what the server notes is the maker's.
        run(new, f"set session collation_connection = {collation}")
        run(new, statement)
    finally:
        run(new, f"set session sql_mode = '{SQL_MODE}'")
        run(new, "set names utf8mb4")
    del charset


def _retried(names: Iterable[str], make: Callable[[str], object]) -> None:
    """Make things that may need one another, until all stand.  Raises the last one's error."""
    left = list(names)
    while left:
        failed: list[str] = []
        trouble: pymysql.MySQLError | None = None
        for name in left:
            try:
                make(name)
            except pymysql.MySQLError as error:
                failed.append(name)
                trouble = error
        if trouble is not None and len(failed) == len(left):
            raise trouble
        left = failed


def is_ours(comment: str) -> bool:
    """Whether a database's comment is our mark."""
    return comment.startswith(_MARK)


def event_scheduler(conn: Conn) -> str:
    """Whether the server runs events at all."""
    return str(one(conn, "select @@global.event_scheduler"))
