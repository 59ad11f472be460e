"""Rows and checksums of tables: whole ones, and of rows by their keys."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from queue import Empty, Queue

from crossfade.drivers.databases.mysql.catalog import Table
from crossfade.drivers.databases.mysql.connect import Conn, fetch, ident
from crossfade.drivers.databases.mysql.images import Key
from crossfade.drivers.databases.mysql.rows import line
from crossfade.model import Digest, Part

__all__ = ["condition", "hashes", "part", "whole"]


def whole(
    sessions: Sequence[Conn], tables: Mapping[str, Table], rows: Mapping[str, int] | None = None
) -> Digest:
    """Rows and the server's own CHECKSUM of every table, read by all sessions together.

    It covers every byte and null of every row, sums rows without regard to their order, and is
    equal for tables that are defined alike.  It reads inside the session's snapshot.  ``rows`` are
    those of the tables, by name, where they were counted already."""
    queue: Queue[Table] = Queue()
    for table in sorted(tables.values(), key=lambda table: -table.size):
        queue.put(table)
    parts: dict[str, Part] = {}
    trouble: list[BaseException] = []

    def read(session: Conn) -> None:
        try:
            while not trouble:
                try:
                    table = queue.get_nowait()
                except Empty:
                    return
                parts[table.name] = part(session, table, (rows or {}).get(table.name))
        except BaseException as error:  # noqa: BLE001  raised again by the caller's thread
            trouble.append(error)

    threads = [threading.Thread(target=read, args=(session,)) for session in sessions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if trouble:
        raise trouble[0]
    return Digest(parts)


def part(session: Conn, table: Table, rows: int | None = None) -> Part:
    """Rows and CHECKSUM of one table; counting it, unless ``rows`` says it, is another scan."""
    name = ident(table.name)
    if table.versioned:
        count, lines = fetch(
            session,
            f"select count(*), coalesce(sum(crc32({line(table)})), 0) from {name}"  # noqa: S608
            " for system_time all",
        )[0]
        return Part(int(count), f"{int(lines):x}")
    if rows is None:
        rows = int(fetch(session, f"select count(*) from {name}")[0][0])  # noqa: S608
    checksum = fetch(session, f"checksum table {name} extended")[0][1]
    return Part(rows, "none" if checksum is None else f"{int(checksum):08x}")


def condition(table: Table, keys: Iterable[Key]) -> str:
    """The SQL condition that holds for exactly the rows with these keys; keys must not be none."""
    names = [ident(name) for name in table.key]
    if len(names) == 1:
        return f"{names[0]} in ({', '.join(key[0] for key in keys)})"
    return " or ".join(
        "(" + " and ".join(f"{n} = {v}" for n, v in zip(names, key, strict=True)) + ")"
        for key in keys
    )


def hashes(session: Conn, table: Table, keys: Collection[Key]) -> list[bytes]:
    """A hash of each row that has one of these keys, sorted."""
    rows = fetch(
        session,
        f"select unhex(md5({line(table)})) from {ident(table.name)}"  # noqa: S608
        f" where {condition(table, keys)}",
    )
    return sorted(bytes(row[0]) for row in rows)
