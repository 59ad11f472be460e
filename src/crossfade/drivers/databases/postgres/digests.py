"""Rows and checksums of tables, computed by the server, equal on PostgreSQL 12 to 18.

The checksum of a table is the sum of a 64-bit hash of each row, so rows may come in any order,
duplicates count, and parts of a table can be summed separately.  A row's hash is made from the
extended hash functions that hash partitioning uses: they give the same for the same value on every
version.  What has no such function, or one that depends on object ids or on a collation, is hashed
as text.  Two numerics that are equal but differ in trailing zeros count as equal.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue

from psycopg import sql

from crossfade.drivers.databases.postgres.connect import Conn, connect, explained, fetch, run
from crossfade.drivers.databases.postgres.copying import TID_RANGES, tid_range
from crossfade.drivers.databases.postgres.inventory import Column, Table
from crossfade.drivers.databases.postgres.pace import Pace
from crossfade.drivers.databases.postgres.snapshot import use_snapshot
from crossfade.model import Digest, Endpoint, Part

__all__ = ["digest_one", "digest_sum", "digest_tables", "part", "row_hash"]

# The hash functions that give the same for equal values on all versions; {c} is the column, {s}
# the seed.  bigint's own one folds the upper half into the lower: the seed keeps them apart.
_HASHES = {
    "integer": "hashint4extended({c}, {s})",
    "smallint": "hashint2extended({c}, {s})",
    "bigint": "hashint8extended({c}, {s} # {c})",
    "oid": "hashoidextended({c}, {s})",
    "boolean": "hashint4extended({c}::int4, {s})",
    "real": "hashfloat4extended({c}, {s})",
    "double precision": "hashfloat8extended({c}, {s})",
    "numeric": "hash_numeric_extended({c}, {s})",
    "text": 'hashtextextended({c} collate pg_catalog."C", {s})',
    "character varying": 'hashtextextended({c}::text collate pg_catalog."C", {s})',
    # made into text, its blanks would be cut off one after another: five times as slow
    "character": 'hashbpcharextended({c} collate pg_catalog."C", {s})',
    "timestamp without time zone": "timestamp_hash_extended({c}, {s})",
    "timestamp with time zone": "timestamp_hash_extended({c} at time zone 'UTC', {s})",
    "time without time zone": "time_hash_extended({c}, {s})",
    "uuid": "uuid_hash_extended({c}, {s})",
    "inet": "hashinetextended({c}, {s})",
    "date": "hash_array_extended(array[{c}], {s})",
    "jsonb": "jsonb_hash_extended({c}, {s})",
    # as an array a value is copied, and an array has room for less than the largest value
    "bytea": "case when octet_length({c}) < 1000000 then hash_array_extended(array[{c}], {s})"
    " else hashtextextended(md5({c}), {s}) end",
}
_PAGES = 2048  # of 8 KiB: a piece of a large table, which is hashed in some tenths of a second
_NESTED = 40  # columns: an expression that is nested deeper could exceed the server's stack
_OTHERS = 'hashtextextended({c}::text collate pg_catalog."C", {s})'


def row_hash(table: Table) -> sql.Composed:
    """An expression over a row of ``table`` (its columns unqualified): a bigint, never null.

    Generated columns are left out; the columns are taken by name, in the old side's order.
    """
    columns = [column for column in table.columns if not column.generated]
    groups: list[sql.Composable] = [sql.SQL("0::int8")]
    for first in range(0, len(columns), _NESTED):
        hashed: sql.Composable = sql.SQL("{}::int8").format(sql.Literal(first))
        for number, column in enumerate(columns[first : first + _NESTED], first + 1):
            hashed = _with(column, number, hashed)
        groups.append(hashed)
    return sql.SQL("({})").format(sql.SQL(" # ").join(groups))


def digest_sum(table: Table, condition: sql.Composable | None = None) -> sql.Composed:
    """A query for ``count, sum`` of the rows of ``table`` itself, without its children.

    condition is a whole ``where`` clause; without one, the extension's own condition is used.
    """
    where = condition if condition is not None else sql.SQL("{}").format(_raw(table.condition))
    return sql.SQL("select count(*), coalesce(sum({hash}), 0) from only {table} {where}").format(
        hash=row_hash(table), table=table.sql, where=where
    )


def part(sums: Iterable[Sequence[object]]) -> Part:
    """A table's part of a digest from the rows ``count, sum`` of its pieces."""
    rows = [(int(str(count)), int(str(total))) for count, total in sums]
    return Part(sum(n for n, _ in rows), f"{sum(t for _, t in rows) % (1 << 128):032x}")


def digest_one(conn: Conn, table: Table) -> Part:
    """Rows and checksum of one table.  Raises psycopg.Error."""
    return part(fetch(conn, digest_sum(table)))


def _digest_gently(conn: Conn, table: Table, pace: Pace) -> Part:
    """As ``digest_one``, without parallel workers, and a large table with rests in between."""
    run(conn, "set local max_parallel_workers_per_gather = 0")
    ranges: list[sql.Composable | None] = [None]
    if conn.info.server_version >= TID_RANGES and not table.condition:
        edges = [*range(0, table.pages, _PAGES), None]
        ranges = [tid_range(a or 0, b) for a, b in itertools.pairwise(edges)] or ranges
    sums: list[Sequence[object]] = []
    for piece in ranges:
        began = time.monotonic()
        sums += fetch(conn, digest_sum(table, piece))
        pace.spent(table.bytes // len(ranges), time.monotonic() - began)
    return part(sums)


def digest_tables(
    endpoint: Endpoint,
    tables: Sequence[Table],
    *,
    snapshot: str | None = None,
    jobs: int = 2,
    pace: Pace | None = None,
) -> Digest:
    """Rows and checksum of each of ``tables``, in ``jobs`` sessions, large tables first.

    With an exported ``snapshot`` all is read as of that moment; without one, nobody may write
    meanwhile.  With a pace it is gentle to others.  Raises Failed.
    """
    queue: SimpleQueue[Table] = SimpleQueue()
    for table in sorted(tables, key=lambda t: -t.bytes):
        queue.put(table)

    def work() -> dict[str, Part]:
        found: dict[str, Part] = {}
        with connect(endpoint, autocommit=False) as conn:
            use_snapshot(conn, snapshot)
            while True:
                try:
                    table = queue.get_nowait()
                except Empty:
                    return found
                with explained(f"compare table {table}", endpoint):
                    if pace is not None and pace.gentle:
                        found[str(table)] = _digest_gently(conn, table, pace)
                    else:
                        found[str(table)] = digest_one(conn, table)

    workers = max(1, min(jobs, len(tables)))
    with ThreadPoolExecutor(workers, thread_name_prefix="digest") as pool:
        parts: dict[str, Part] = {}
        for future in [pool.submit(work) for _ in range(workers)]:
            parts.update(future.result())
    return Digest(parts)


def _with(column: Column, number: int, seed: sql.Composable) -> sql.Composed:
    """The hash of a column's value, seeded with the hash of the columns before it.

    The functions return null for null, so a nullable column is hashed by itself, and mixed in.
    number counts the columns with data: attribute numbers differ once a column was dropped.
    """
    name = sql.Identifier(column.name)
    form = _HASHES.get(column.base, _OTHERS)
    if column.not_null:
        return _fill(form, name, seed)
    position = sql.Literal(number)
    alone = _fill(form, name, sql.SQL("{}::int8").format(position))
    return sql.SQL("hashint4extended({n}, ({seed}) # coalesce({alone}, {n}))").format(
        n=position, seed=seed, alone=alone
    )


def _fill(form: str, column: sql.Composable, seed: sql.Composable) -> sql.Composed:
    parts: list[sql.Composable] = []
    for piece in form.replace("{c}", "\0c\0").replace("{s}", "\0s\0").split("\0"):
        if piece == "c":
            parts.append(column)
        elif piece == "s":
            parts.append(sql.SQL("({})").format(seed))
        else:
            parts.append(_raw(piece))
    return sql.Composed(parts)


def _raw(text: str) -> sql.SQL:
    """SQL that is ours, or that the server itself told us, as it is."""
    return sql.SQL(text)
