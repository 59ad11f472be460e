"""What of a schema can be compared between servers of any two versions.

Names, types, owners, grants, comments and definitions that every version writes alike: what one
version prints otherwise than another (views, default expressions) is compared by name only.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import blake2b
from typing import Any

from crossfade.drivers.databases.postgres import queries_portable
from crossfade.drivers.databases.postgres.connect import Conn, fetch
from crossfade.model import Part

__all__ = ["objects", "schema_part"]


def objects(conn: Conn) -> Iterator[tuple[Any, ...]]:
    """Every object as a row: its kind, its name, and what is to be the same.  Sorted."""
    for kind, query in queries_portable.OBJECTS.items():
        for row in sorted(fetch(conn, query), key=str):
            yield (kind, *row)


def schema_part(conn: Conn) -> Part:
    """How many objects the schema has, and a checksum over them.  Raises psycopg.Error."""
    whole, count = blake2b(digest_size=16), 0
    for row in objects(conn):
        whole.update(json.dumps(row, ensure_ascii=False, default=str).encode())
        whole.update(b"\n")
        count += 1
    return Part(count, whole.hexdigest())
