"""The servers' own client programs, for backups and archives; passwords go by option file."""

from __future__ import annotations

import contextlib
import gzip
import os
import shutil
import subprocess
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from crossfade.drivers.databases.mysql.catalog import read_catalog
from crossfade.drivers.databases.mysql.connect import (
    connect,
    explained,
    fetch,
    ident,
    password_of,
    quietly_close,
)
from crossfade.errors import Failed
from crossfade.model import Endpoint, Finding

__all__ = ["access", "dump_to", "find_program", "load_from", "whole"]

_BLOCK = 1 << 18
Taken = Callable[[bytes], None]
_NAMES = {"dump": ("mariadb-dump", "mysqldump"), "client": ("mariadb", "mysql")}


def find_program(what: str) -> str:
    """The program for ``dump`` or ``client``.  Raises Failed ``program-missing``."""
    for name in _NAMES[what]:
        found = shutil.which(name)
        if found:
            return found
    raise Failed(
        "program-missing",
        f"{_NAMES[what][0]} is not installed on this machine.",
        where="needed: the package mariadb-client (Debian)",
    )


@contextlib.contextmanager
def access(endpoint: Endpoint) -> Iterator[str]:
    """An option file (mode 0600) with which a client logs in as our administrator; the argument.

    The file is gone when the context ends."""
    with tempfile.TemporaryDirectory(prefix="crossfade-") as place:
        file = Path(place) / "options.cnf"
        password = password_of(endpoint).replace("\\", "\\\\").replace('"', '\\"')
        lines = (
            "[client]",
            f"host={endpoint.address.host}",
            f"port={endpoint.address.port}",
            f'user="{endpoint.admin}"',
            f'password="{password}"',
            "protocol=tcp",
            "",
        )
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
            opened.write("\n".join(lines))
        yield f"--defaults-file={file}"


def dump_to(endpoint: Endpoint, file: Path, taken: Taken | None = None) -> int:
    """A compressed dump with everything of the database, at one moment; returns its bytes.

    taken is called with each block as it comes; what it raises ends the dump."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = file.with_name(file.name + ".partial")
    options: tuple[str, ...] = (
        "--single-transaction", "--quick", "--routines", "--triggers", "--hex-blob",
        "--default-character-set=utf8mb4", "--tz-utc",
        "--skip-add-locks",  # a default that asks a sequence cannot be read back under them
    )  # fmt: skip
    with access(endpoint) as by, partial.open("wb") as opened:
        partial.chmod(0o600)
        writer = (find_program("dump"), by, *options, endpoint.database)
        _piped(writer, ("gzip", "-1"), opened.fileno(), endpoint, taken)
        opened.seek(0, os.SEEK_END)
        opened.write(gzip.compress(_events(endpoint).encode()))
        opened.flush()
        os.fsync(opened.fileno())
    partial.replace(file)
    return file.stat().st_size


def _events(endpoint: Endpoint) -> str:
    """The events as a script, a part of its own in the file, so that reading the file back for a
    comparison makes none.  (mariadb-dump --events 10.11 also fails for a database with a quotation
    mark in its name.)"""
    lines = ["", "DELIMITER ;;"]
    with explained("read the events", endpoint):
        conn = connect(endpoint)
        try:
            found = read_catalog(conn, endpoint.database)
            for name in found.events if found else ():
                row = fetch(conn, f"show create event {ident(name)}")[0]
                lines += [f"SET sql_mode = '{row[1]}';;", f"{row[3]};;"]
        finally:
            quietly_close(conn)
    return "\n".join((*lines, "DELIMITER ;", "-- Dump completed", ""))


def load_from(endpoint: Endpoint, database: str, file: Path, was: str) -> None:
    """Read a compressed dump of the database ``was`` back into another one, without its events.

    Column defaults that name a sequence name its database too; that is the other one then.  Raises
    Failed."""
    before, after = (f"nextval({ident(name)}.".encode() for name in (was, database))
    with access(endpoint) as by, tempfile.TemporaryFile() as words:
        unlogged = "--init-command=set sql_log_bin = 0"  # for a scratch database of ours
        client = (find_program("client"), by, unlogged, "--binary-mode", database)
        reader = subprocess.Popen(
            client, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=words
        )
        assert reader.stdin is not None  # noqa: S101  a pipe was asked for
        with reader, contextlib.suppress(BrokenPipeError):
            for block in _first_part(file):
                reader.stdin.write(block.replace(before, after))
            reader.stdin.close()
        if reader.returncode:
            words.seek(0)
            said = words.read().decode("utf-8", "replace").strip().splitlines()[-3:]
            raise Failed(
                "database-dump-failed",
                f"The dump could not be read back (exit {reader.returncode}).",
                where="\n".join((str(endpoint), *said)),
            )


def _first_part(file: Path) -> Iterator[bytes]:
    """What the first part of a compressed file holds, in whole lines."""
    unpacker = zlib.decompressobj(31)
    rest = b""
    with file.open("rb") as opened:
        while not unpacker.eof and (packed := opened.read(1 << 18)):
            lines, end, rest = (rest + unpacker.decompress(packed)).rpartition(b"\n")
            yield lines + end
    yield rest


def _piped(
    writer: Sequence[str], reader: Sequence[str], out: int, endpoint: Endpoint, taken: Taken | None
) -> None:
    """Run two programs, one feeding the other, through ``taken``; both must end well."""
    with tempfile.TemporaryFile() as words:
        second = None
        first = subprocess.Popen(
            writer, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=words
        )
        assert first.stdout is not None  # noqa: S101  a pipe was asked for
        try:
            source = first.stdout if taken is None else subprocess.PIPE
            second = subprocess.Popen(reader, stdin=source, stdout=out, stderr=words)
            if taken is not None and second.stdin is not None:
                with contextlib.suppress(BrokenPipeError), second.stdin as sink:
                    while block := os.read(first.stdout.fileno(), _BLOCK):
                        taken(block)
                        sink.write(block)
            first.stdout.close()
            statuses = (second.wait(), first.wait())
        finally:
            first.stdout.close()
            if first.poll() is None:
                first.kill()
                first.wait()
            if second is not None:
                second.wait()
        if any(statuses):
            words.seek(0)
            said = words.read().decode("utf-8", "replace").strip().splitlines()[-3:]
            name = Path(writer[0]).name
            raise Failed(
                "database-dump-failed",
                f"{name} or {Path(reader[0]).name} failed (exit {statuses[1]}, {statuses[0]}).",
                where="\n".join((str(endpoint), *said)),
            )


def whole(name: str, file: Path) -> Finding:
    """Whether a compressed dump is whole: it unpacks, and ends with the client's own last line."""
    try:
        tail = _tail(file)
    except (OSError, EOFError, zlib.error):
        tail = b""
    ended = b"-- Dump completed" in tail
    return Finding(
        claim=f"the dump of database {name} is whole",
        expected="ends with 'Dump completed'",
        observed=f"{file.stat().st_size} bytes, " + ("ends so" if ended else "does not end so"),
        source=str(file),
        holds=ended,
    )


def _tail(file: Path) -> bytes:
    """The last bytes of what a compressed file holds."""
    tail = b""
    with gzip.open(file, "rb") as opened:
        while block := opened.read(1 << 22):
            tail = (tail + block)[-200:]
    return tail
