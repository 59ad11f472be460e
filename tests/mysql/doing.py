"""What a carrier may use of the step that calls it, and a few helpers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from crossfade.drivers.databases.mysql.connect import ident
from crossfade.drivers.databases.mysql.database import MysqlDatabase
from crossfade.model import Finding
from crossfade.ports import Progress
from crossfade.testing.servers import MariadbServer

__all__ = ["On", "broken", "sql"]


class On:
    """Keeps the parts that were timed."""

    def __init__(self) -> None:
        self.parts: dict[str, float] = {}

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Measure a part."""
        began = monotonic()
        try:
            yield
        finally:
            self.parts[name] = monotonic() - began

    def tell(self, text: str) -> None:
        """Nobody listens."""

    @contextmanager
    def progress(self, what: str) -> Iterator[Progress]:
        """Nobody looks."""
        yield lambda done, total: None


def broken(findings: list[Finding]) -> list[str]:
    """What does not hold, in words."""
    return [f"{f.claim}: {f.observed}" for f in findings if not f.holds]


def sql(server: MariadbServer, database: MysqlDatabase, *statements: str) -> None:
    """Run statements as root in a database."""
    for statement in statements:
        server.sql(f"use {ident(database.where.database)}; {statement}")
