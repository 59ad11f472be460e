"""The lease: the right to run, with an owner and an expiry.  One runner at a time.

A lease whose owner is a dead process of this very machine is taken over at once; one held from
another machine is taken over when it has expired.
"""

from __future__ import annotations

import getpass
import os
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from pathlib import Path

from crossfade.engine.journal import SqliteJournal
from crossfade.errors import LeaseHeld

__all__ = ["LEASE_SECONDS", "holder", "lease", "owner_alive", "process_mark"]

LEASE_SECONDS = 30.0


def process_mark(pid: int | None = None) -> str:
    """``machine:boot:pid:start`` of a process: never equal for two processes."""
    pid = pid or os.getpid()
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{socket.gethostname()}:{boot}:{pid}:{_start_time(pid)}"


def _start_time(pid: int) -> str:
    """Start time in ticks (field 22 of /proc/PID/stat, proc(5)); empty when it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] == "Z" else fields[19]


def owner_alive(mark: str) -> bool | None:
    """Whether the process with this mark lives; None when it is another machine's."""
    machine, boot, pid, start = mark.rsplit(":", 3)
    mine = process_mark().rsplit(":", 3)
    if [machine, boot] != mine[:2]:
        return None if machine != mine[0] else False
    return bool(start) and _start_time(int(pid)) == start


def holder(db: sqlite3.Connection) -> tuple[str, float] | None:
    """Who holds the lease and since when; None when nobody does."""
    row = db.execute("select owner, process, since, expires from lease").fetchone()
    if row is None:
        return None
    owner, process, since, expires = row
    alive = owner_alive(process)
    if alive is False or (alive is None and expires < time.time()):
        return None
    return str(owner), float(since)


@contextmanager
def lease(journal: SqliteJournal, what: str) -> Iterator[None]:
    """Hold the lease for the time of the block.  Raises LeaseHeld naming who holds it."""
    with journal.explained(), closing(journal.connect()) as db:
        _take(db, what)
    over = threading.Event()
    keeper = threading.Thread(target=_keep, args=(journal, over), daemon=True)
    keeper.start()
    try:
        yield
    finally:
        over.set()
        keeper.join()
        # A full disk must not turn a finished run into a failed one: our death frees the lease.
        with suppress(sqlite3.Error), closing(journal.connect()) as db:
            db.execute("delete from lease where process = ?", (process_mark(),))


def _take(db: sqlite3.Connection, what: str) -> None:
    owner = f"{getpass.getuser()} on {socket.gethostname()}, process {os.getpid()}, {what}"
    db.execute("begin immediate")
    held = holder(db)
    if held is not None:
        db.execute("rollback")
        since = datetime.fromtimestamp(held[1]).isoformat(sep=" ", timespec="seconds")
        raise LeaseHeld(
            "lease-held",
            f"Another run has this upgrade: {held[0]}, since {since}.",
            where="lease of the journal",
            next="crossfade status -w",
        )
    now = time.time()
    db.execute("delete from lease")
    db.execute(
        "insert into lease values ('runner', ?, ?, ?, ?)",
        (owner, process_mark(), now, now + LEASE_SECONDS),
    )
    db.execute("commit")


def _keep(journal: SqliteJournal, over: threading.Event) -> None:
    db = journal.connect()
    mark = process_mark()
    while not over.wait(LEASE_SECONDS / 4):
        try:
            db.execute(
                "update lease set expires = ? where process = ?",
                (time.time() + LEASE_SECONDS, mark),
            )
        except sqlite3.Error:
            continue  # on this machine our being alive is what counts; elsewhere it may expire
    db.close()
