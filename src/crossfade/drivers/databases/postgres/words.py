"""The new side's server's own words about why its feed stopped, as far as they can be reached.

PostgreSQL tells the reason only in its log.  Read it through the server where the log has a file
of the server's making, or through /proc when the server runs on this machine.
"""

from __future__ import annotations

import re
from pathlib import Path

import psycopg

from crossfade.drivers.databases.postgres.connect import Conn, fetch, one

__all__ = ["Log"]

_TAIL = 256 * 1024
_ERROR = re.compile(r"\bERROR:\s+(?P<text>.+)$")
_RELATION = re.compile(r'replication target relation "(?P<name>.+?)"(?: in transaction| column|$)')
_OF_FEED = ("processing remote data", "logical replication")


class Log:
    """The log of the server that ``conn`` is on, from now on."""

    def __init__(self, conn: Conn) -> None:
        self._conn = conn
        self._path = _path(conn)
        self._from = self._size()

    def apply_error(self) -> str:
        """The last error of a feed since this object was made; empty when none is to be seen.

        Only the message and the table; the details may quote a row."""
        lines = self._read().splitlines()
        found = ""
        for number, line in enumerate(lines):
            match = _ERROR.search(line)
            if match is None:
                continue
            after = "\n".join(_until_next(lines[number + 1 :]))
            if any(words in line or words in after for words in _OF_FEED):
                table = _RELATION.search(after)
                where = f" (table {table['name']})" if table and table["name"] not in line else ""
                found = match["text"].strip().rstrip(".") + where
        return found

    def _size(self) -> int:
        kind, path = self._path
        try:
            if kind == "server":
                size = one(self._conn, "select size from pg_catalog.pg_stat_file(%s)", (path,))
                return int(size or 0)
            return Path(path).stat().st_size if kind == "here" else 0
        except (OSError, psycopg.Error):
            return 0

    def _read(self) -> str:
        kind, path = self._path
        size = self._size()
        begin = max(self._from, size - _TAIL) if size >= self._from else 0
        try:
            if kind == "server":
                data = one(
                    self._conn,
                    "select pg_catalog.pg_read_binary_file(%s, %s, %s)",
                    (path, begin, _TAIL),
                )
            elif kind == "here":
                with Path(path).open("rb") as file:
                    file.seek(begin)
                    data = file.read(_TAIL)
            else:
                data = b""
        except (OSError, psycopg.Error):
            data = b""
        return bytes(data or b"").decode("utf-8", "replace")


def _until_next(lines: list[str]) -> list[str]:
    """The lines that belong to a message: up to the next one with a severity of its own."""
    own = []
    for line in lines[:8]:
        if re.search(r"\b(ERROR|LOG|FATAL|PANIC|WARNING):  ", line):
            break
        own.append(line)
    return own


def _path(conn: Conn) -> tuple[str, str]:
    try:
        rows = fetch(
            conn,
            "select pg_catalog.pg_current_logfile('stderr'), pg_catalog.pg_backend_pid(),"
            " inet_server_addr()",
        )
    except psycopg.Error:
        return "", ""
    file, pid, _ = rows[0]
    if file:
        return "server", str(file)
    try:
        if b"postgres" not in Path(f"/proc/{pid}/cmdline").read_bytes():
            return "", ""
        target = str(Path(f"/proc/{pid}/fd/2").readlink())
    except OSError:
        return "", ""
    return ("here", target) if target.startswith("/") and Path(target).is_file() else ("", "")
