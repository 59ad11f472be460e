"""Whether rows that the new version writes can go back to the old version's tables.

Row events have no column names: values go by their position.  So the old side's columns must come
first, in the same order and of the same types; everything else could go wrong silently.  What
would stop the reverse feed with an error is not looked for: the feed's state tells it then.
"""

from __future__ import annotations

from collections.abc import Collection

from crossfade.drivers.databases.mysql.catalog import Catalog, Column, Table
from crossfade.drivers.databases.mysql.connect import Conn, fetch, one

__all__ = ["against_servers", "against_tables"]


def against_servers(old: Conn, new: Conn) -> list[str]:
    """What speaks against a reverse feed on the servers' part.  Raises pymysql.MySQLError."""
    reasons = []
    if not int(one(new, "select @@global.log_bin")):
        return ["the new server keeps no binary log (log_bin is off)"]
    kind, image = fetch(new, "select @@global.binlog_format, @@global.binlog_row_image")[0]
    if kind != "ROW":
        reasons.append(f"the new server logs changes as {kind} (binlog_format) instead of ROW")
    if str(image) not in ("FULL", "FULL_NODUP"):
        reasons.append(f"the new server logs {image} rows (binlog_row_image) instead of FULL ones")
    firing = fetch(old, "show global variables like 'slave_run_triggers_for_rbr'")
    if firing and str(firing[0][1]) != "NO":
        reasons.append("the old server runs triggers for replicated rows")
    return reasons


def against_tables(
    old: Conn, new: Conn, before: Catalog, after: Catalog, without: Collection[str]
) -> list[str]:
    """Why rows of the new side's tables cannot go back to the old side's; empty when they can.

    without are tables that are not meant to.  Raises pymysql.MySQLError."""
    reasons = []
    for table in before.tables.values():
        if table.name in without:
            continue
        twin = after.tables.get(table.name)
        if twin is None:
            reasons.append(f"table {table.name} is gone or renamed on the new side")
        elif why := _against(table, twin):
            reasons.append(why)
    names = set(before.tables) - set(without)
    if _actions(old, before.name, names) != _actions(new, after.name, names):
        reasons.append("foreign keys that change rows by themselves differ between both sides")
    lost = _checks(old, before.name, names) - _checks(new, after.name, names)
    if lost:
        reasons.append(f"a CHECK of table {min(lost)[0]} is gone on the new side")
    return reasons


def _against(old: Table, new: Table) -> str:
    if old.versioned or new.versioned:
        return f"table {old.name} is system-versioned"
    if new.engine != "InnoDB" or old.engine != "InnoDB":
        return f"table {old.name} is not of the engine InnoDB on both sides"
    for column in old.columns:
        there = next((one for one in new.columns if one.name == column.name), None)
        why = _difference(column, there)
        if why:
            return f"column {column.name} of table {old.name} {why}"
    return ""


def _difference(old: Column, new: Column | None) -> str:
    if new is None:
        return "is gone or renamed on the new side"
    if new.position != old.position:
        return "stands at another place on the new side"
    if new.type != old.type or new.charset != old.charset:
        kinds = [f"{c.type} {c.charset or ''}".strip() for c in (old, new)]
        return f"was {kinds[0]} and is {kinds[1]} on the new side"
    if new.nullable and not old.nullable:
        return "can be null on the new side"
    if new.generated != old.generated:
        return "is generated on one side only"
    return ""


def _actions(conn: Conn, database: str, tables: Collection[str]) -> set[tuple[str, ...]]:
    """Foreign keys whose actions change rows, with what they do."""
    rows = fetch(
        conn,
        "select r.table_name, r.referenced_table_name, r.delete_rule, r.update_rule,"
        " group_concat(concat(hex(k.column_name), ' ', hex(k.referenced_column_name))"
        " order by k.ordinal_position)"
        " from information_schema.referential_constraints r"
        " join information_schema.key_column_usage k on k.constraint_schema = r.constraint_schema"
        " and k.constraint_name = r.constraint_name and k.table_name = r.table_name"
        " where r.constraint_schema = %s and not (r.delete_rule in ('RESTRICT', 'NO ACTION')"
        " and r.update_rule in ('RESTRICT', 'NO ACTION'))"
        " group by r.table_name, r.constraint_name, r.referenced_table_name, r.delete_rule,"
        " r.update_rule",
        (database,),
    )
    return {tuple(map(str, row)) for row in rows if row[0] in tables}


def _checks(conn: Conn, database: str, tables: Collection[str]) -> set[tuple[str, str]]:
    """Tables and the conditions that their rows must fulfil."""
    rows = fetch(
        conn,
        "select table_name, check_clause from information_schema.check_constraints"
        " where constraint_schema = %s",
        (database,),
    )
    return {(str(table), str(clause)) for table, clause in rows if table in tables}
