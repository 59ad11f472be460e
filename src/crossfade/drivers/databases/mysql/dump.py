"""Strategy ``dump``: works for everything; the copy is made inside the pause.

Before the pause a compressed dump is written as a backup, and the database is copied once from a
snapshot and proven.  In the pause it is copied again, from server to server, and proven again.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from crossfade.drivers.databases.mysql import programs
from crossfade.drivers.databases.mysql.base_copy import BaseCopy
from crossfade.model import Finding
from crossfade.ports import Doing

__all__ = ["DumpWay"]

_SOURCE = "count and CHECKSUM TABLE of every table, on both sides"


class DumpWay:
    """One database's way to the new side by copies; directory is the attempt's own."""

    def __init__(self, base: BaseCopy, directory: Path) -> None:
        self.base, self.name = base, base.name
        self.backup = directory / "backup" / (quote(base.name, safe=" ") + ".sql.gz")

    def back_up(self, on: Doing) -> list[Finding]:
        """Write a dump of the old side while it works."""
        if not self.backup.exists():
            with on.timed(f"back up {self.name}"):
                programs.dump_to(self.base.old, self.backup)
        return [programs.whole(self.name, self.backup)]

    def restore(self, on: Doing) -> list[Finding]:
        """Copy one moment of the old side and prove it."""
        return self._copy(on)

    def bring_last(self, on: Doing, *, still: bool) -> list[Finding]:
        """Copy everything again and compare everything, as the old side is at this moment."""
        findings = self._copy(on)
        with on.timed(f"sequences {self.name}"):
            findings.append(self.base.advance())
        return findings

    def _copy(self, on: Doing) -> list[Finding]:
        base = self.base
        base.begin()
        try:
            base.prepare(on)
            base.copy(on)
            with on.timed(f"digest {self.name}"):
                same = Finding.same(f"database {self.name}", *base.digest_both(), _SOURCE)
            base.finish(on)
            base.analyze(on)
        finally:
            base.release()
        return [same, *base.said]
