"""Somebody who works on the old side: 150 commits a second, in a process of its own.

Each commit is one insert and two updates of random rows.  Its token is noted (in a file, by one
system call) only after the server has acknowledged the commit, so what is noted must be on the new
side afterwards, however the writer ended.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks._servers import median

from crossfade.manifest import resolve
from crossfade.model import Endpoint

__all__ = ["RATE", "Writer"]

RATE, THREADS = 150.0, 2  # commits a second, all threads together
STATEMENTS = {
    "postgres": (
        "update pgbench_accounts set abalance = abalance + 1 where aid = %s",
        "update documents set version = version + 1, changed = now() where id = %s",
    ),
    "mysql": (
        "update accounts set abalance = abalance + 1 where aid = %s",
        "update documents set version = version + 1, changed = now(6) where id = %s",
    ),
}


class Writer:
    """Writes as long as the context lasts, or until the server refuses.

    accounts and documents are how many rows there are to update."""

    def __init__(self, where: Endpoint, noted: Path, accounts: int, documents: int) -> None:
        self.noted = noted
        self._process = multiprocessing.get_context("spawn").Process(
            target=_write, args=(where, noted, accounts, documents), daemon=True
        )

    def __enter__(self) -> Writer:
        self._process.start()
        deadline = time.monotonic() + 30
        while not self.acknowledged():
            if time.monotonic() > deadline or not self._process.is_alive():
                raise SystemExit("the writer cannot write")
            time.sleep(0.05)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()

    def end(self) -> None:
        """Kill it: what waits for the fence must not go on when the fence is lifted."""
        self._process.kill()
        self._process.join()

    def acknowledged(self) -> dict[str, tuple[float, float]]:
        """For each acknowledged token when it was, and how many seconds the commit took."""
        if not self.noted.exists():
            return {}
        lines = [line.split() for line in self.noted.read_text().splitlines()]
        return {line[0]: (float(line[1]), float(line[2])) for line in lines if len(line) == 3}

    def seen(self, began: float, ended: float) -> str:
        """Commits a second between two moments, and how long they took."""
        took = [s for at, s in self.acknowledged().values() if began <= at < ended]
        if not took or ended <= began:
            return "no commits"
        return (
            f"{len(took) / (ended - began):.0f} commits/s, "
            f"median {median(took) * 1000:.1f} ms, longest {max(took) * 1000:.0f} ms"
        )


def _write(where: Endpoint, noted: Path, accounts: int, documents: int) -> None:
    """The process: two threads until the server refuses."""
    file = os.open(noted, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    threads = [
        threading.Thread(target=_one, args=(where, file, f"t{n}", accounts, documents))
        for n in range(THREADS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _one(where: Endpoint, file: int, name: str, accounts: int, documents: int) -> None:
    connect, refused = _driver(where.kind)
    account, document = STATEMENTS[where.kind]
    chance = random.Random(f"{name} {time.time()}")
    due, number = time.monotonic(), 0
    try:
        conn = connect(where)
        cursor = conn.cursor()
        while True:
            token = f"{name}-{number}"
            began = time.perf_counter()
            cursor.execute("insert into writes (token) values (%s)", (token,))
            cursor.execute(account, (1 + chance.randrange(accounts),))
            cursor.execute(document, (1 + chance.randrange(documents),))
            conn.commit()
            took = time.perf_counter() - began
            os.write(file, f"{token} {time.time():.6f} {took:.6f}\n".encode())
            number += 1
            due = max(due + THREADS / RATE, time.monotonic() - 1)  # never a long catching up
            time.sleep(max(0.0, due - time.monotonic()))
    except refused:
        return  # the fence


def _driver(kind: str) -> tuple[Callable[[Endpoint], Any], type[Exception]]:
    import psycopg
    import pymysql

    def postgres(where: Endpoint) -> Any:
        return psycopg.connect(
            host=where.address.host,
            port=where.address.port,
            dbname=where.database,
            user=where.user,
            password=resolve(where.password, where.base),
        )

    def mysql(where: Endpoint) -> Any:
        return pymysql.connect(
            host=where.address.host,
            port=where.address.port,
            database=where.database,
            user=where.user,
            password=resolve(where.password, where.base),
        )

    if kind == "postgres":
        return postgres, psycopg.Error
    return mysql, pymysql.err.Error
