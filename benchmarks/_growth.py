"""Growing a filled Synapse: every room cloned with all that belongs to it, inside its database.

Filling 40,000 events through the API would take an hour.  So each room is copied with new ids: its
events, their JSON, edges, auth chains, state groups, state and search entries, in every table that
has them, by one deterministic mapping of the ids wherever they stand; and each media file with its
row.  What follows from an event's content alone (its hash, its signature) is not made anew.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from functools import cache
from pathlib import Path
from string import ascii_letters

from psycopg import Connection

__all__ = ["grow", "grow_postgres"]

Value = str | bytes | int | float | None
IDS = re.compile(r"![A-Za-z]{18}(?=:)|\$[\w-]{43}(?![\w-])", re.ASCII)
# numbers that tell rooms, events, state groups and auth chains apart
STREAMS = {"stream_ordering", "event_stream_ordering", "stream_id", "completed_delta_stream_id"}
GROUPS = {"state_group", "prev_state_group"}
CHAINS = {"chain_id", "origin_chain_id", "target_chain_id"}
# of which numbers a clone needs others: table and column
NUMBERED = (
    ("events", "stream_ordering"),
    ("state_groups", "id"),
    ("event_auth_chains", "chain_id"),
    ("current_state_delta_stream", "stream_id"),
)
# how far Synapse's own background readers of the stream have come: to its end
READERS = {
    "event_push_summary_stream_ordering": "stream_ordering",
    "room_forgetter_stream_pos": "stream_id",
    "stats_incremental_position": "stream_id",
    "user_directory_stream_pos": "stream_id",
}


def grow(data: Path, *, rooms: int, media: int) -> None:
    """Make the stopped Synapse in ``data`` hold ``rooms`` times as many rooms with their events,
    and ``media`` times as many media files; both up to 52.

    Raises SystemExit when SQLite's integrity check does not hold afterwards."""
    with closing(sqlite3.connect(data / "homeserver.db", isolation_level=None)) as db:
        db.create_function("cloned", 2, _cloned, deterministic=True)
        db.execute("begin")
        span = 1 + max(
            db.execute(f"select max({column}) from {table}").fetchone()[0]  # noqa: S608
            for table, column in NUMBERED
        )
        for table, columns, where in _tables(db):
            _clone_rows(db, table, columns, where, span, rooms)
        _clone_media(db, data / "media_store", media)
        for table, column in READERS.items():
            db.execute(
                f"update {table} set {column} = (select max(stream_ordering) from events)"  # noqa: S608
            )
        db.execute("commit")
        db.execute("pragma wal_checkpoint(truncate)")
        sound = db.execute("pragma integrity_check").fetchone()[0]
    if sound != "ok":
        raise SystemExit(f"the grown database is not sound: {sound}")


def _cloned(value: Value, number: int) -> Value:
    """A value with every room's and event's id in it replaced by that of clone ``number``."""
    if not isinstance(value, str):
        return value
    return IDS.sub(lambda found: found[0].translate(_shift(number)), value)


@cache
def _shift(number: int) -> dict[int, str]:
    """Each letter becomes another one, for every number below 1248 in a way of its own: it goes
    ``number % 52`` places further on, after its place was multiplied by what has no common divisor
    with the 52 letters."""
    factors = [n for n in range(52) if n % 2 and n % 13]
    factor, places = factors[number // 52], number % 52
    turned = (ascii_letters[(place * factor + places) % 52] for place in range(52))
    return str.maketrans(dict(zip(ascii_letters, turned, strict=True)))


def _tables(db: sqlite3.Connection) -> list[tuple[str, list[str], str]]:
    """Tables whose rows belong to a room: name, columns, and which rows."""
    found = []
    for (name,) in db.execute("select name from sqlite_master where type = 'table'").fetchall():
        columns = [row[1] for row in db.execute(f'pragma table_info("{name}")')]
        if where := _rows_of_rooms(columns):
            found.append((name, columns, where))
    return found


def _rows_of_rooms(columns: Sequence[str]) -> str:
    """Which rows of a table belong to rooms; empty for none."""
    if "event_id" in columns:
        return "event_id like '$%'"
    if "room_id" in columns:
        return "room_id like '!%'"
    return "true" if {*columns} & (GROUPS | CHAINS) else ""


def _numbers(table: str) -> set[str]:
    """The columns of a table whose numbers a clone needs others of."""
    return STREAMS | GROUPS | CHAINS | ({"id"} if table == "state_groups" else set())


def _clone_rows(
    db: sqlite3.Connection, table: str, columns: list[str], where: str, span: int, times: int
) -> None:
    numbers = _numbers(table)
    values = ", ".join(
        f'"{name}" + :number * {span}' if name in numbers else f'cloned("{name}", :number)'
        for name in columns
    )
    names = ", ".join(f'"{name}"' for name in columns)
    db.execute(f'create temp table rows as select {names} from "{table}" where {where}')  # noqa: S608
    for number in range(1, times):
        db.execute(
            f'insert into "{table}" ({names}) select {values} from temp.rows',  # noqa: S608
            {"number": number},
        )
    db.execute("drop table temp.rows")


def _clone_media(db: sqlite3.Connection, store: Path, times: int) -> None:
    columns = [row[1] for row in db.execute("pragma table_info(local_media_repository)")]
    rows = db.execute("select * from local_media_repository").fetchall()
    for number in range(1, times):
        for row in rows:
            values = dict(zip(columns, row, strict=True))
            old = str(values["media_id"])
            new = old.translate(_shift(number))
            _write_media(_media(store, old), _media(store, new))
            db.execute(
                f"insert into local_media_repository values ({', '.join('?' * len(columns))})",  # noqa: S608
                [*{**values, "media_id": new}.values()],
            )


def _media(store: Path, name: str) -> Path:
    return store / "local_content" / name[:2] / name[2:4] / name[4:]


def _write_media(source: Path, target: Path) -> None:
    """As big as the source, with its mode, but content of its own."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(os.urandom(source.stat().st_size))
    shutil.copymode(source, target)


def grow_postgres(db: Connection, *, rooms: int) -> None:
    """Make the stopped Synapse's database hold ``rooms`` times as many rooms with their events, up
    to 1248.  The connection is in autocommit mode."""
    span = 1 + max(
        db.execute(f"select max({column}) from {table}").fetchall()[0][0]  # noqa: S608
        for table, column in NUMBERED
    )
    db.execute("set session_replication_role = replica")  # rows come before those they refer to
    for table, columns, where in _postgres_tables(db):
        _copy_clones(db, table, columns, where, span, rooms)
    for table, column in READERS.items():
        db.execute(
            f"update {table} set {column} = (select max(stream_ordering) from events)".encode()  # noqa: S608
        )
    # Synapse does not start when a sequence is behind what it has to number
    db.execute(
        "select setval(seqrelid, greatest(%s, pg_sequence_last_value(seqrelid))) from pg_sequence"
        " where seqtypid = 'bigint'::regtype",
        (span * rooms,),
    )
    db.execute(
        "update stream_positions set stream_id = (select max(stream_ordering) from events)"
        " where stream_name = 'events'"
    )
    db.execute("vacuum (freeze, analyze)")


def _postgres_tables(db: Connection) -> list[tuple[str, list[str], str]]:
    rows = db.execute(
        "select c.relname, array_agg(a.attname::text order by a.attnum) from pg_class c"
        " join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped"
        " where c.relkind = 'r' and c.relnamespace = 'public'::regnamespace group by 1"
    ).fetchall()
    return [(name, columns, where) for name, columns in rows if (where := _rows_of_rooms(columns))]


def _copy_clones(
    db: Connection, table: str, columns: Sequence[str], where: str, span: int, times: int
) -> None:
    numbers = [place for place, name in enumerate(columns) if name in _numbers(table)]
    names = ", ".join(f'"{name}"' for name in columns)
    read = f'copy (select {names} from "{table}" where {where}) to stdout'  # noqa: S608
    with db.cursor().copy(read.encode()) as out:
        lines = b"".join(bytes(block) for block in out).decode().split("\n")[:-1]
    with db.cursor().copy(f'copy "{table}" ({names}) from stdin'.encode()) as into:
        for number in range(1, times):
            for line in lines:
                into.write(_moved(str(_cloned(line, number)), numbers, number * span))


def _moved(line: str, numbers: Sequence[int], by: int) -> str:
    """A line of COPY's text whose values at these places are so much larger."""
    values = line.split("\t")
    for place in numbers:
        if values[place] != "\\N":
            values[place] = str(int(values[place]) + by)
    return "\t".join(values) + "\n"
