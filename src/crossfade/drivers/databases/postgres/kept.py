"""The kept backup: one file in pg_dump's own format, restored into a scratch database and compared.

It has a snapshot of its own, taken and let go before any feed begins: the old server keeps no log
for it, and old row versions only for as long as it is read.  It is restored after that.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO
from urllib.parse import quote

from crossfade.drivers.databases.postgres import spare
from crossfade.drivers.databases.postgres.connect import explained
from crossfade.drivers.databases.postgres.copying import plain_settings
from crossfade.drivers.databases.postgres.inventory import Inventory
from crossfade.drivers.databases.postgres.pace import Pace
from crossfade.drivers.databases.postgres.place import maintenance, remove_database, tag_of
from crossfade.drivers.databases.postgres.programs import (
    access,
    find_programs,
    program_failed,
    server_arguments,
)
from crossfade.drivers.databases.postgres.schema import chosen, restore
from crossfade.drivers.databases.postgres.snapshot import exported_snapshot
from crossfade.drivers.databases.postgres.snapshot_copy import SnapshotCopy
from crossfade.errors import Failed
from crossfade.model import Digest, Endpoint, Finding
from crossfade.ports import Doing, Kept, Progress

__all__ = ["keep", "let_go", "standing"]

_BLOCK = 1 << 20
_DOING = "keep a backup of the database"


def keep(
    name: str,
    old: Endpoint,
    new: Endpoint,
    to: Path,
    tag: str,
    inventory: Inventory,
    on: Doing,
    *,
    rate: float | None,
) -> Kept:
    """A dump of one snapshot in the directory ``to``, restored on the new side's server.

    rate is bytes a second for reading, or None: bends to the old side.  Raises Failed."""
    scratch = _scratch(new, tag)
    base = SnapshotCopy(name, old, scratch, to, tag, inventory, rate=rate)
    file = to / f"{quote(name, safe=' ')}.dump"
    with on.progress(f"backing up database {name}") as bar:
        digest = _dump(base, file, bar)
    with on.progress(f"restoring the backup of database {name}"):
        try:
            base.make_place()
            lines = chosen(file, "", tag)
            restore(scratch, base.new_version, file, lines, jobs=base.jobs)
            restored = base.digest_new()
        finally:
            let_go(new, tag)
    what = f"database {name}, restored from its backup,"
    same = Finding.same(what, digest, restored, "rows and checksum of every table")
    version = f"{inventory.version // 10000}.{inventory.version % 10000}"
    how = _how(old, file.name)
    return Kept(file.name, "postgres", version, digest, (same,), how)


def standing(new: Endpoint, tag: str) -> list[str]:
    """The scratch database, if a killed run left it, in words.  Changes nothing.  Raises Failed."""
    scratch = _scratch(new, tag)
    with explained("look for a scratch database", new), maintenance(new) as conn:
        if tag_of(conn, scratch.database):
            return [f"scratch database {scratch.database} on the new side's server"]
    return []


def let_go(new: Endpoint, tag: str) -> list[str]:
    """Remove the scratch database and roles that only it used; what was removed, in words."""
    scratch = _scratch(new, tag)
    if not standing(new, tag):
        return []
    spare.drop(scratch)
    return remove_database(scratch)


def _scratch(new: Endpoint, tag: str) -> Endpoint:
    return replace(new, database=f"{tag}_kept")


def _dump(base: SnapshotCopy, file: Path, bar: Progress) -> Digest:
    """Write the dump (mode 0600), durable, and digest the same snapshot meanwhile."""
    version = base.inventory.version
    packed = 1 if base.rate is None else 0  # with a rate, what is counted is what is read
    with (
        exported_snapshot(base.old) as snapshot,
        base.pace() as pace,
        ThreadPoolExecutor(1) as beside,
        access(base.old, plain_settings(version)) as by,
        open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out,  # noqa: PTH123
        TemporaryFile() as complaints,
    ):
        digest = beside.submit(base.digest_old, snapshot, pace)
        argv = (
            find_programs(version).path("pg_dump"),
            *server_arguments(base.old),
            "--format=custom",
            f"--compress={packed}",
            "--no-subscriptions",
            "--no-tablespaces",
            "--no-security-labels",
            "--lock-wait-timeout=30s",
            f"--snapshot={snapshot}",
        )
        environment, descriptor = dict(by.environment), by.descriptor
        with _running(argv, environment, descriptor, complaints) as process:
            _pour(process, out, pace, bar, base.inventory.bytes)
            status = process.wait()
        if status:
            complaints.seek(0)
            said = complaints.read().decode("utf-8", "replace")
            raise program_failed(argv[0], status, said, doing=_DOING, where=str(base.old))
        out.flush()
        os.fsync(out.fileno())
        return digest.result()[0]


@contextmanager
def _running(
    argv: Sequence[str], environment: dict[str, str], descriptor: int, complaints: IO[bytes]
) -> Iterator[subprocess.Popen[bytes]]:
    """A program whose output is read; it does not outlive the context."""
    process = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=complaints,
        env=environment,
        pass_fds=(descriptor,),
    )
    with process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise


def _pour(
    process: subprocess.Popen[bytes], out: IO[bytes], pace: Pace, bar: Progress, total: int
) -> None:
    assert process.stdout is not None  # noqa: S101  a pipe was asked for
    done, began = 0, time.monotonic()
    try:
        while block := process.stdout.read(_BLOCK):
            out.write(block)
            done += len(block)
            bar(done, max(done, total))
            pace.spent(len(block), time.monotonic() - began)
            began = time.monotonic()
    except OSError as error:
        what = f"The backup cannot be written: {error.strerror or error}."
        raise Failed("backup-not-kept", what, where=str(out.name)) from error


def _how(old: Endpoint, file: str) -> tuple[tuple[str, ...], ...]:
    """The commands that restore it by hand, into a new database beside the old one."""
    server = (
        f"--host={old.address.host}",
        f"--port={old.address.port}",
        f"--username={old.admin}",
    )
    restored = f"{old.database}_restored"
    return (
        ("createdb", *server, "--template=template0", restored),
        ("pg_restore", *server, f"--dbname={restored}", "--exit-on-error", file),
    )
