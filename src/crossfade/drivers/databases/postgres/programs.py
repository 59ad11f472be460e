"""PostgreSQL's own programs: pg_dump, pg_restore and psql, found and run without showing secrets.

Passwords reach them through a file that is only in memory (``memfd_create``, mode 0600): no other
user can open it, it is in no directory, and it is gone with the processes that hold it.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile

from crossfade.drivers.databases.postgres.connect import password_of
from crossfade.errors import Failed
from crossfade.model import Endpoint

__all__ = [
    "Access",
    "Programs",
    "access",
    "find_programs",
    "program_failed",
    "run_program",
    "server_arguments",
]

_PLACES = (
    "/usr/lib/postgresql/*/bin",  # Debian, Ubuntu
    "/usr/pgsql-*/bin",  # the PostgreSQL project's RPMs
    "/usr/libexec/postgresql*",  # Alpine
    "/usr/lib/postgresql*/bin",
    "/usr/local/pgsql/bin",
    "/usr/local/bin",
    "/opt/postgresql*/bin",
    "/usr/bin",
)
_NEEDED = ("pg_dump", "pg_restore", "psql")
_TAIL = 3  # lines of a program's complaint that are shown
_KEPT = ("PATH", "HOME", "PGSSLMODE", "PGSSLROOTCERT", "PGSSLCERT", "PGSSLKEY", "PGSSLCRL")


@dataclass(frozen=True, slots=True)
class Programs:
    """Where pg_dump, pg_restore and psql of one major version stand."""

    directory: Path
    major: int

    def path(self, name: str) -> str:
        """One of them, for an argv."""
        return str(self.directory / name)


@dataclass(frozen=True, slots=True)
class Access:
    """What a program needs to log in: environment, and a file descriptor that it must inherit."""

    environment: Mapping[str, str] = field(repr=False)
    descriptor: int


def find_programs(*versions: int) -> Programs:
    """The newest programs on this machine, at least as new as the server ``versions`` (150018).

    Raises Failed ``program-missing`` that names the package."""
    wanted = max((version // 10000 for version in versions), default=0)
    found = _newest(os.environ.get("PATH", os.defpath))
    if found is None or found.major < wanted:
        have = "there is none" if found is None else f"the newest here is of version {found.major}"
        raise Failed(
            "program-missing",
            f"pg_dump of PostgreSQL {wanted or 12} or newer is needed on this machine; {have}."
            f" Debian's package is postgresql-client-{wanted or 15}.",
            where="this machine, PATH and the distributions' places",
        )
    return found


@cache
def _newest(path: str) -> Programs | None:
    """The newest programs on the ``path`` and in the usual places."""
    directories = [Path(entry) for entry in path.split(os.pathsep) if entry]
    for pattern in _PLACES:
        directories += Path("/").glob(pattern.removeprefix("/"))
    best: Programs | None = None
    for directory in dict.fromkeys(directories):
        if all(os.access(directory / name, os.X_OK) for name in _NEEDED):
            major = _major(directory / "pg_dump")
            if major and (best is None or major > best.major):
                best = Programs(directory, major)
    return best


def _major(program: Path) -> int:
    """The major version that a program says it has; 0 when it says none."""
    try:
        said = subprocess.run([program, "--version"], capture_output=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    match = re.search(rb"\(PostgreSQL\) (\d+)", said.stdout)
    return int(match[1]) if match else 0


def server_arguments(endpoint: Endpoint, database: str | None = None) -> tuple[str, ...]:
    """The arguments by which a program reaches the database as our administrator."""
    return (
        f"--host={endpoint.address.host}",
        f"--port={endpoint.address.port}",
        f"--username={endpoint.admin}",
        f"--dbname={_connection(database or endpoint.database)}",
        "--no-password",
    )


def _connection(database: str) -> str:
    """A database's name as a connection string, in which it cannot be taken for options."""
    escaped = database.replace("\\", "\\\\").replace("'", "\\'")
    return f"dbname='{escaped}'"


@contextlib.contextmanager
def access(endpoint: Endpoint, settings: Mapping[str, str] | None = None) -> Iterator[Access]:
    """Means to log in to ``endpoint`` as our administrator, for as long as the context lasts.

    settings are server parameters for the programs' sessions.  Raises UsageError."""
    descriptor = os.memfd_create("crossfade-pgpass", os.MFD_CLOEXEC)
    try:
        os.fchmod(descriptor, 0o600)
        password = password_of(endpoint)
        if password:
            line = ":".join(
                part.replace("\\", "\\\\").replace(":", "\\:")
                for part in (endpoint.address.host, str(endpoint.address.port))
            )
            user = endpoint.admin.replace("\\", "\\\\").replace(":", "\\:")
            secret = password.replace("\\", "\\\\").replace(":", "\\:")
            os.write(descriptor, f"{line}:*:{user}:{secret}\n".encode())
        environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
        environment |= {
            "LC_ALL": "C.UTF-8",
            "PGAPPNAME": "crossfade",
            "PGCLIENTENCODING": "UTF8",
            "PGCONNECT_TIMEOUT": "20",
            "PGOPTIONS": " ".join(
                f"-c {name}={_escaped(value)}" for name, value in (settings or {}).items()
            ),
            "PGPASSFILE": f"/proc/self/fd/{descriptor}",
            "PSQLRC": "/dev/null",
        }
        yield Access(environment, descriptor)
    finally:
        os.close(descriptor)


def run_program(
    argv: Sequence[str],
    by: Access | None,
    *,
    doing: str,
    where: str,
    stdin: int = subprocess.DEVNULL,
) -> bytes:
    """Run a program to its end; returns what it printed.

    by is None for one that asks no server.  Raises Failed with its first complaints.
    """
    with TemporaryFile() as complaints:
        ended = subprocess.run(
            argv,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=complaints,
            env=dict(by.environment) if by else {"LC_ALL": "C.UTF-8"},
            pass_fds=(by.descriptor,) if by else (),
            check=False,
        )
        complaints.seek(0)
        said = complaints.read().decode("utf-8", "replace")
    if ended.returncode != 0:
        raise program_failed(argv[0], ended.returncode, said, doing=doing, where=where)
    return ended.stdout


def program_failed(program: str, status: int, said: str, *, doing: str, where: str) -> Failed:
    """The error of a program that ended with ``status``: its words without the statements."""
    name = Path(program).name
    lines = [line for line in said.splitlines() if "rror:" in line or "ERROR:" in line]
    lines = lines or [line for line in said.splitlines() if line.strip()]
    shown = "; ".join(line.strip()[:300] for line in lines[:_TAIL]) or f"status {status}"
    code = "database-program-failed"
    if "No space left on device" in said:
        code = "database-disk-full"
    elif "server closed the connection" in said or "Connection refused" in said:
        code = "database-connection-lost"
    return Failed(code, f"Crossfade cannot {doing}: {name} says: {shown}.", where=where)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace(" ", "\\ ")
