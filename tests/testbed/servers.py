"""Pairs of scratch database servers for sites of the Notes application."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from shutil import rmtree
from typing import Any

from crossfade.model import Side
from crossfade.testing.servers import MariadbServer, PostgresServer, majors

__all__ = [
    "FOLLOWED",
    "KINDS",
    "UNFOLLOWED",
    "Pair",
    "Server",
    "close_shared",
    "make_pair",
    "shared",
]

Server = PostgresServer | MariadbServer

KINDS = ("postgres", "mysql")
FOLLOWED: Mapping[str, Mapping[str, str]] = {
    "postgres": {
        "wal_level": "logical",
        "max_replication_slots": "40",
        "max_wal_senders": "40",
        "max_worker_processes": "24",
        "max_logical_replication_workers": "12",
        "max_prepared_transactions": "5",
        "shared_buffers": "32MB",
        "log_statement": "all",  # the logs are searched for secrets
    },
    "mysql": {
        "log_bin": "binlog",
        "binlog_format": "ROW",
        "innodb_buffer_pool_size": "32M",
        "general_log": "1",  # searched for secrets
    },
}
"""Settings of servers whose changes can be followed."""
UNFOLLOWED: Mapping[str, Mapping[str, str]] = {
    "postgres": {"wal_level": "replica", "shared_buffers": "32MB"},
    "mysql": {"skip_log_bin": "1", "innodb_buffer_pool_size": "32M"},
}
"""Settings as a distribution ships them: changes cannot be followed."""

_names = count(1)
_shared: dict[str, Pair] = {}
_everything = ExitStack()


@dataclass(frozen=True)
class Pair:
    """The server of the old side and the one of the new side."""

    kind: str
    old: Server
    new: Server

    def of(self, side: Side) -> Server:
        """The server of a side."""
        return self.old if side is Side.OLD else self.new

    def new_name(self) -> str:
        """A name for a role and its database that nobody used before, with what is quoted."""
        number = f"{next(_names):03}"  # no name is the beginning of another one
        return f"Notes ü{number}" if self.kind == "postgres" else f"notes-ü{number}"


@contextmanager
def make_pair(
    kind: str,
    directory: Path,
    *,
    old: Mapping[str, str] | None = None,
    new: Mapping[str, str] | None = None,
) -> Iterator[Pair]:
    """Two running servers below a directory, ended afterwards."""
    make: Any = partial(PostgresServer, major=debians()) if kind == "postgres" else MariadbServer
    given = {"old": FOLLOWED[kind] if old is None else old, "new": new or FOLLOWED[kind]}
    with ExitStack() as stack:
        servers = {
            side: stack.enter_context(make(directory / side, settings=settings))
            for side, settings in given.items()
        }
        yield Pair(kind, servers["old"], servers["new"])


def debians() -> int:
    """The PostgreSQL major of the distribution: its client programs are here, too."""
    places = Path("/usr/lib/postgresql")
    return max(major for major in majors() if (places / f"{major}/bin/pg_dump").exists())


def shared(kind: str) -> Pair:
    """The pair that all sites of this test process share; ``close_shared`` ends it."""
    if kind not in _shared:
        directory = Path(tempfile.mkdtemp(prefix="notes-servers-"))
        directory.chmod(0o755)
        _everything.callback(rmtree, directory, ignore_errors=True)
        _shared[kind] = _everything.enter_context(make_pair(kind, directory))
    pair = _shared[kind]
    for server in (pair.old, pair.new):
        server.start()  # a test may have ended it
    return pair


def close_shared() -> None:
    """End the shared pairs."""
    _everything.close()
    _shared.clear()
