"""Retire: the old database as one file that reads back, and only then it is removed."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

from psycopg import sql

from crossfade.drivers.databases.postgres.connect import connect, explained, one, run
from crossfade.drivers.databases.postgres.copying import plain_settings
from crossfade.drivers.databases.postgres.place import maintenance
from crossfade.drivers.databases.postgres.programs import (
    access,
    find_programs,
    run_program,
    server_arguments,
)
from crossfade.errors import Failed
from crossfade.model import Endpoint, Finding

__all__ = ["archive_and_remove"]


def archive_and_remove(name: str, old: Endpoint, archive: Path) -> list[Finding]:
    """Dump the old database below ``archive``, read the dump to its end, drop the database.

    Fine when it is gone and its archive stands.  Raises Failed; then the database stays.
    """
    file = archive / f"{quote(name, safe=' ')}.dump"
    try:
        with explained("read the old database", old), connect(old) as conn:
            version = conn.info.server_version
            tables = _tables(conn.execute(_COUNT).fetchone())
    except Failed as error:
        if error.code == "database-missing" and file.exists():
            return [_archived(name, file, read=True), _gone(name, gone=True)]
        raise
    _dump(old, version, file)
    listed = _read_back(file, version)
    if listed < tables:
        return [_archived(name, file, read=False)]
    _drop(old)
    return [_archived(name, file, read=True), _gone(name, gone=_missing(old))]


def _dump(old: Endpoint, version: int, file: Path) -> None:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = file.with_name(file.name + ".partial")
    partial.unlink(missing_ok=True)
    partial.touch(mode=0o600)
    programs = find_programs(version)
    with access(old, plain_settings(version)) as by:
        run_program(
            (
                programs.path("pg_dump"),
                *server_arguments(old),
                "--format=custom",
                f"--file={partial}",
            ),
            by,
            doing="archive the old database",
            where=str(old),
        )
    descriptor = os.open(partial, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    partial.replace(file)


def _read_back(file: Path, version: int) -> int:
    """Read every byte of the archive; how many tables' rows are in it.  Raises Failed."""
    restore = find_programs(version).path("pg_restore")
    doing = "read the archive back"
    run_program((restore, "--file=/dev/null", str(file)), None, doing=doing, where=str(file))
    listed = run_program((restore, "--list", str(file)), None, doing=doing, where=str(file))
    return sum(b" TABLE DATA " in line for line in listed.splitlines())


def _drop(old: Endpoint) -> None:
    name = sql.Identifier(old.database)
    with explained("remove the old database", old), maintenance(old) as conn:
        run(conn, sql.SQL("alter database {} allow_connections false").format(name))
        run(
            conn,
            "select pg_catalog.pg_terminate_backend(pid) from pg_catalog.pg_stat_activity"
            " where datname = %s",
            (old.database,),
        )
        force = sql.SQL(" with (force)" if conn.info.server_version >= 130000 else "")
        run(conn, sql.SQL("drop database {}{}").format(name, force))


def _missing(old: Endpoint) -> bool:
    query = "select 1 from pg_catalog.pg_database where datname = %s"
    with explained("look for the old database", old), maintenance(old) as conn:
        return one(conn, query, (old.database,)) is None


def _tables(row: tuple[int, ...] | None) -> int:
    return int(row[0]) if row else 0


def _archived(name: str, file: Path, *, read: bool) -> Finding:
    claim = f"the archive of database {name} reads back whole"
    return Finding(claim, "every table", str(file) if read else "not all", "pg_restore", read)


def _gone(name: str, *, gone: bool) -> Finding:
    return Finding.equal(f"the old database {name} stands", False, not gone, "its server")


_COUNT = """
select count(*) from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'r' and c.relpersistence <> 't'
    and n.nspname not in ('pg_catalog', 'information_schema')
    and not exists (select from pg_catalog.pg_depend d
        where d.classid = 'pg_catalog.pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
"""
