"""Strategy ``dump``: works for everything; the copy is made inside the pause.

Before the pause a backup in pg_dump's own format is written, restored and proven equal to the
snapshot that it was made from.  In the pause the database is copied again, from server to server,
and proven again.
"""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

from crossfade.drivers.databases.postgres import sequences
from crossfade.drivers.databases.postgres.connect import connect, explained
from crossfade.drivers.databases.postgres.copying import default_jobs, plain_settings
from crossfade.drivers.databases.postgres.inventory import Inventory
from crossfade.drivers.databases.postgres.programs import (
    access,
    find_programs,
    run_program,
    server_arguments,
)
from crossfade.drivers.databases.postgres.schema import chosen, restore
from crossfade.drivers.databases.postgres.snapshot import exported_snapshot
from crossfade.drivers.databases.postgres.snapshot_copy import SnapshotCopy
from crossfade.errors import Failed
from crossfade.model import Digest, Endpoint, Finding, Part
from crossfade.ports import Doing

__all__ = ["DumpWay", "back_up_to", "read_backup"]

_SOURCE = "rows and checksum of every table, and of the large objects"


class DumpWay:
    """One database's way from ``old`` to ``new`` by copies; directory is the attempt's own.

    name is what findings call the database; without one, its name on the old server."""

    def __init__(
        self,
        old: Endpoint,
        new: Endpoint,
        directory: Path,
        tag: str,
        inventory: Inventory,
        *,
        name: str = "",
        jobs: int | None = None,
        rate: float | None = None,
    ) -> None:
        name = name or old.database
        self.name, self.old, self.new, self.inventory = name, old, new, inventory
        self.tag, self.jobs = tag, jobs or default_jobs()
        self.backup = directory / "backup" / quote(name, safe=" ")
        self.base = SnapshotCopy(name, old, new, directory, tag, inventory, jobs=jobs, rate=rate)

    def back_up(self, on: Doing) -> list[Finding]:
        """Write the backup while the old side works, and prove that it can be read."""
        if not (self.backup / "digest.json").exists():
            with on.timed(f"back up {self.name}"):
                back_up_to(self.backup, self.base, self.jobs)
        return [read_backup(self.name, self.backup)]

    def restore(self, on: Doing) -> list[Finding]:
        """Restore the backup on the new side; it is equal to the snapshot that it was made from."""
        expected = _read_digest(self.backup / "digest.json")
        with on.timed(f"restore {self.name}"):
            self.base.make_place()
            lines = chosen(self.backup / "data", "", self.tag)
            version = self.base.new_version
            restore(self.new, version, self.backup / "data", lines, jobs=self.jobs)
            self.base.give_properties()
        self.base.analyze(on)
        with on.timed(f"digest {self.name}"):
            found = self.base.digest_new()
        what = f"database {self.name}, restored from its backup,"
        return [Finding.same(what, expected, found, _SOURCE), *self._said()]

    def bring_last(self, on: Doing, *, still: bool) -> list[Finding]:
        """Copy everything again and compare everything, with old as it is at this moment.

        A snapshot makes that exact also while the old side is in use (``still`` is False)."""
        with exported_snapshot(self.old) as snapshot:
            self.base.prepare(snapshot, on)
            self.base.copy(snapshot, on)
            with ThreadPoolExecutor(1) as beside:
                there = beside.submit(self.base.digest_old, snapshot)
                self.base.finish(on)
                with on.timed(f"digest {self.name}"):
                    new = self.base.digest_new()
                    old, _ = there.result()
        self.base.analyze(on)
        with (
            on.timed(f"sequences {self.name}"),
            explained("set the sequences", self.new),
            connect(self.old) as reader,
            connect(self.new) as writer,
        ):
            numbers = sequences.advance(reader, writer, self.inventory.sequences, self.name)
        return [Finding.same(f"database {self.name}", old, new, _SOURCE), numbers, *self._said()]

    def _said(self) -> list[Finding]:
        """What turned out not to be carried, though nothing needs it: told, and it holds."""
        unknown = self.base.unknown_settings
        if not unknown:
            return []
        claim = f"what the new server knows of database {self.name} is carried"
        return [Finding(claim, "all but what it lacks", ", ".join(unknown), "new server", True)]


def back_up_to(place: Path, base: SnapshotCopy, jobs: int) -> None:
    """Write ``place/data`` (pg_dump's directory format) and ``place/digest.json`` of one snapshot.

    What an earlier try left there is replaced.  Raises Failed.
    """
    programs = find_programs(base.inventory.version)
    partial = place.with_name(place.name + ".partial")
    for leftover in (partial, place):
        shutil.rmtree(leftover, ignore_errors=True)
    partial.mkdir(mode=0o700, parents=True)
    with (
        exported_snapshot(base.old) as snapshot,
        ThreadPoolExecutor(1) as beside,
        access(base.old, plain_settings(base.inventory.version)) as by,
    ):
        digest = beside.submit(base.digest_old, snapshot)
        run_program(
            (
                programs.path("pg_dump"),
                *server_arguments(base.old),
                "--format=directory",
                "--compress=0",
                f"--jobs={jobs}",
                "--no-subscriptions",
                "--no-tablespaces",
                "--no-security-labels",
                "--lock-wait-timeout=30s",
                f"--snapshot={snapshot}",
                f"--file={partial / 'data'}",
            ),
            by,
            doing="back up the database",
            where=str(base.old),
        )
        _write_digest(partial / "digest.json", digest.result()[0])
    partial.rename(place)


def read_backup(name: str, place: Path) -> Finding:
    """Whether a backup is whole: pg_restore reads its contents, and every file of them is there."""
    listed = chosen(place / "data", "data", "")
    files = [line.partition(";")[0] for line in listed if " TABLE DATA " in line]
    missing = [number for number in files if not (place / "data" / f"{number}.dat").exists()]
    proven = (place / "digest.json").exists()
    digest = "and their digest" if proven else "no digest"
    return Finding(
        claim=f"the backup of database {name} is whole",
        expected=f"rows of {len(files)} tables, and their digest",
        observed=f"rows of {len(files) - len(missing)} tables, {digest}",
        source=f"pg_restore --list {place / 'data'}",
        holds=proven and not missing,
    )


def _write_digest(to: Path, digest: Digest) -> None:
    parts = {name: [part.count, part.checksum] for name, part in digest.parts.items()}
    to.write_text(json.dumps(parts, ensure_ascii=False, indent=0), "utf-8")


def _read_digest(file: Path) -> Digest:
    try:
        parts = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise Failed(
            "backup-missing", "The backup cannot be read; it has to be made again.", where=str(file)
        ) from error
    return Digest({name: Part(int(count), str(sum_)) for name, (count, sum_) in parts.items()})
