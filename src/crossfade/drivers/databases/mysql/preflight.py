"""Looks at both servers before anything is done: can this database be carried, and how."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from crossfade.drivers.databases.mysql.accounts import read_accounts
from crossfade.drivers.databases.mysql.binlog import current_position
from crossfade.drivers.databases.mysql.blockers import prepared
from crossfade.drivers.databases.mysql.catalog import Catalog, read_catalog
from crossfade.drivers.databases.mysql.connect import Conn, fetch, is_mariadb, one
from crossfade.drivers.databases.mysql.images import readable_key
from crossfade.drivers.databases.mysql.schema import is_ours
from crossfade.model import Endpoint, Finding, Problem

__all__ = ["Verdict", "look_at_new", "look_at_old", "problem"]

_KEYLESS = 64 << 20
"""Bytes of tables without a readable key that may be copied again inside the pause."""


@dataclass(slots=True)
class Verdict:
    """reasons: why a stream is not possible; problems make the run refuse; warnings do not."""

    reasons: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    not_carried: list[str] = field(default_factory=list)


def problem(code: str, claim: str, expected: str, observed: str, where: str, then: str) -> Problem:
    """A problem with its finding."""
    return Problem(code, Finding(claim, expected, observed, where, False), then)


def look_at_old(conn: Conn, old: Endpoint, catalog: Catalog) -> Verdict:
    """The old server: what it logs, which tables need care, what cannot be carried."""
    verdict = Verdict()
    _look_at_log(conn, verdict)
    _look_at_tables(catalog, verdict)
    waiting = prepared(conn)
    if waiting:
        verdict.problems.append(
            problem(
                "prepared-transaction",
                "no prepared transaction waits on the old server",
                "none",
                waiting[0],
                f"{old}: XA RECOVER",
                "finish it: XA COMMIT or XA ROLLBACK",
            )
        )
    accounts = read_accounts(conn, catalog.name)
    verdict.not_carried += accounts.left_out
    rights = {str(r[0]) for r in fetch(conn, "select privilege_type from information_schema"
              ".user_privileges where replace(grantee, \"'\", '') = current_user()")}  # fmt: skip
    missing = {"SUPER", "PROCESS", "RELOAD", "TRIGGER", "LOCK TABLES"} - rights
    if missing:
        verdict.problems.append(
            problem(
                "database-right-missing",
                f"{old.admin} may do on the old server what Crossfade needs",
                "ALL PRIVILEGES, or SUPER, PROCESS, RELOAD, TRIGGER, LOCK TABLES",
                f"missing: {', '.join(sorted(missing))}",
                str(old),
                f"grant them to {old.admin}, or name another administrator in the manifest",
            )
        )
    return verdict


def _look_at_log(conn: Conn, verdict: Verdict) -> None:
    if not is_mariadb(conn):
        verdict.reasons.append("following is tried with MariaDB only, and the old server is MySQL")
        return
    if not int(one(conn, "select @@global.log_bin")):
        verdict.reasons.append(
            "the old server keeps no binary log (log_bin is off); to follow it, set log_bin and"
            " binlog_format=ROW and restart it once"
        )
        return
    kind = str(one(conn, "select @@global.binlog_format"))
    if kind != "ROW":
        verdict.reasons.append(
            f"the old server logs changes as {kind}; to follow them, SET GLOBAL"
            " binlog_format = 'ROW' and let the application connect anew"
        )
    if current_position(conn) is None:
        verdict.reasons.append("the administrator may not read the old server's binary log")


def _look_at_tables(catalog: Catalog, verdict: Verdict) -> None:
    tables = catalog.tables.values()
    other = sorted({table.engine for table in tables if table.engine != "InnoDB"})
    if other:
        verdict.reasons.append(f"it has tables of engines without snapshots: {', '.join(other)}")
    versioned = [table.name for table in tables if table.versioned]
    if versioned:
        verdict.reasons.append(f"it has system-versioned tables: {', '.join(versioned[:5])}")
    keyless = [table for table in tables if not readable_key(table)]
    if sum(table.size for table in keyless) > _KEYLESS:
        largest = max(keyless, key=lambda table: table.size)
        verdict.reasons.append(
            f"{len(keyless)} tables have no key to tell rows by, the largest {largest.name}"
            f" with {largest.size / 1e6:.0f} MB"
        )
    elif keyless:
        names = ", ".join(table.name for table in keyless[:5])
        verdict.warnings.append(
            f"tables without a key that Crossfade can follow are compared whole: {names}"
        )


def look_at_new(conn: Conn, old_conn: Conn, new: Endpoint, catalog: Catalog) -> Verdict:
    """The new server: whether its place is free, and whether it understands what comes."""
    verdict = Verdict()
    there = read_catalog(conn, new.database)
    if there is not None and not there.empty and not is_ours(there.comment):
        verdict.problems.append(
            problem(
                "new-place-in-use",
                f"the database {new.database} on the new server is free",
                "absent, empty or made by Crossfade",
                f"{len(there.tables)} tables of somebody else",
                str(new),
                "name another database in the manifest",
            )
        )
    _look_at_versions(conn, old_conn, new, verdict)
    collations = {str(r[0]) for r in fetch(conn, "select collation_name from information_schema"
                  ".collations where collation_name is not null")}  # fmt: skip
    used = {
        str(row[0])
        for row in fetch(
            old_conn,
            "select distinct collation_name from information_schema.columns where table_schema = %s"
            " and collation_name is not null",
            (catalog.name,),
        )
    }
    if used - collations:
        verdict.problems.append(
            problem(
                "database-encoding-differs",
                "the new server knows every collation",
                "all",
                f"missing: {', '.join(sorted(used - collations))}",
                str(new),
                "change these columns' collation on the old side first",
            )
        )
    _look_at_settings(conn, old_conn, new, catalog, verdict)
    return verdict


def _look_at_versions(conn: Conn, old_conn: Conn, new: Endpoint, verdict: Verdict) -> None:
    seen = [str(one(c, "select version()")) for c in (old_conn, conn)]
    kinds = [is_mariadb(c) for c in (old_conn, conn)]
    numbers = [[int(n) for n in re.findall(r"\d+", text)[:2]] for text in seen]
    if kinds[0] != kinds[1] or numbers[1] < numbers[0]:
        verdict.problems.append(
            problem(
                "database-version-older",
                "the new server is of the same kind and not older",
                seen[0],
                seen[1],
                str(new),
                "use a newer server for the new side",
            )
        )


def _look_at_settings(
    conn: Conn, old_conn: Conn, new: Endpoint, catalog: Catalog, verdict: Verdict
) -> None:
    def both(name: str) -> tuple[str, str]:
        return str(one(old_conn, f"select @@global.{name}")), str(
            one(conn, f"select @@global.{name}")
        )

    if int(one(conn, "select @@global.local_infile")) == 0:
        verdict.problems.append(
            problem(
                "load-not-allowed",
                "the new server takes rows by LOAD DATA LOCAL",
                "local_infile=ON",
                "OFF",
                str(new),
                "SET GLOBAL local_infile = ON on the new server",
            )
        )
    here, there = both("lower_case_table_names")
    if here != there:
        verdict.problems.append(
            problem(
                "names-differ",
                "both servers treat the case of table names alike",
                f"lower_case_table_names={here}",
                there,
                str(new),
                "set it on the new server as on the old one, before its first start",
            )
        )
    here, there = both("sql_mode")
    if here != there:
        verdict.warnings.append(
            f"sql_mode differs: {here or 'empty'} on the old server, {there or 'empty'} on the new"
        )
    packets = [int(value) for value in both("max_allowed_packet")]
    if packets[1] < packets[0]:
        verdict.warnings.append(
            f"max_allowed_packet is smaller on the new server: {packets[1]} instead of {packets[0]}"
        )
    enabled = [name for name, status in catalog.events.items() if status == "ENABLED"]
    if enabled and str(one(conn, "select @@global.event_scheduler")) not in ("ON", "1"):
        verdict.warnings.append(
            f"the new server runs no events (event_scheduler): {', '.join(enabled[:5])}"
        )
