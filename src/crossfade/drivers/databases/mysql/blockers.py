"""Who stands in the way of a lock on a database's tables, and how they are ended."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection

import pymysql

from crossfade.drivers.databases.mysql.connect import Conn, fetch, ident, one, run

__all__ = ["end_blockers", "prepared"]

_THREAD = re.compile(r"MariaDB thread id (\d+)|MySQL thread id (\d+)")


def prepared(conn: Conn) -> list[str]:
    """Prepared XA transactions of the whole server, in words."""
    rows = fetch(conn, "xa recover")
    return [f"XA {row[3]!s}" for row in rows]


def end_blockers(control: Conn, database: str, ours: Collection[int], waited: float) -> int:
    """End the sessions that use ``database`` and are at work or within a transaction.

    After 0.3 s of waiting also sessions of other databases, when InnoDB says that they hold locks
    on tables of this one; after 1 s also idle sessions of this one, which may hold locks without
    a transaction.  Replication's threads are left alone.  Returns how many were ended."""
    transactions = {
        int(row[0])
        for row in fetch(control, "select trx_mysql_thread_id from information_schema.innodb_trx")
    }
    busy = []
    for number, name, command in fetch(
        control,
        "select id, coalesce(db, ''), command from information_schema.processlist"
        " where command in ('Sleep', 'Query', 'Execute', 'Prepare', 'Long Data', 'Fetch')"
        " and user not in ('system user', 'event_scheduler')",
    ):
        number = int(number)
        if number in ours or name != database:
            continue
        if command != "Sleep" or number in transactions or waited > 1.0:
            busy.append(number)
    if waited > 0.3:
        busy += [n for n in _holders(control, database) if n not in ours]
    for number in dict.fromkeys(busy):
        with contextlib.suppress(pymysql.MySQLError):  # it may be gone by now
            run(control, f"kill connection {number}")
    return len(busy)


def _holders(control: Conn, database: str) -> list[int]:
    """Sessions that hold InnoDB locks on tables of a database, from InnoDB's own report."""
    before = int(one(control, "select @@global.innodb_status_output_locks"))
    try:
        if not before:
            run(control, "set global innodb_status_output_locks = 1")
        report = str(fetch(control, "show engine innodb status")[0][2])
    finally:
        if not before:
            run(control, "set global innodb_status_output_locks = 0")
    found = []
    for block in report.split("---TRANSACTION ")[1:]:
        thread = _THREAD.search(block)
        if thread and f"TABLE LOCK table {ident(database)}." in block:
            found.append(int(thread.group(1) or thread.group(2)))
    return found
