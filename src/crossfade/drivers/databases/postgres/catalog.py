"""Reads what stands in a PostgreSQL database.  Changes nothing."""

from __future__ import annotations

from crossfade.drivers.databases.postgres.connect import Conn
from crossfade.drivers.databases.postgres.inventory import (
    Column,
    Extension,
    Inventory,
    Sequence,
    Table,
    UniqueKey,
)

__all__ = ["Column", "Extension", "Inventory", "Sequence", "Table", "UniqueKey", "inspect"]


def inspect(conn: Conn) -> Inventory:
    """The inventory of the database that ``conn`` is in.  Raises psycopg.Error."""
    raise NotImplementedError
