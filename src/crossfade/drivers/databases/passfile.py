"""The file in which an application finds its database's password, in the form of its clients.

PostgreSQL: a password file as libpq reads it (PGPASSFILE, ``passfile=``), for any server, so that
it also holds for the door of a held start.  MySQL: an option file (``read_default_file``).
"""

from __future__ import annotations

from crossfade.manifest import resolve
from crossfade.model import Endpoint

__all__ = ["passfile_text"]


def passfile_text(endpoint: Endpoint) -> bytes:
    """What the file holds.  Raises UsageError when the secret cannot be read.

    PyMySQL takes a quoted value literally; the C clients also understand escapes, so that they
    read a password with a backslash otherwise."""
    password = resolve(endpoint.password, endpoint.base) if endpoint.password else ""
    if endpoint.kind == "postgres":
        fields = ("*", "*", endpoint.database, endpoint.user, password)
        return (":".join(fields[:2] + tuple(map(_escaped, fields[2:]))) + "\n").encode()
    return f'[client]\npassword="{password}"\n'.encode()


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace(":", "\\:")
