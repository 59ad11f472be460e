"""Large objects: carried by pg_dump and pg_restore, compared page by page.

Their names, owners and grants come with the schema; here it is about what is in them.  Replication
knows nothing of them.
"""

from __future__ import annotations

import contextlib
import subprocess
from tempfile import TemporaryFile

from crossfade.drivers.databases.postgres.connect import Conn, fetch
from crossfade.drivers.databases.postgres.copying import plain_settings
from crossfade.drivers.databases.postgres.digests import part
from crossfade.drivers.databases.postgres.programs import (
    access,
    find_programs,
    program_failed,
    server_arguments,
)
from crossfade.model import Endpoint, Part

__all__ = ["PART", "copy", "digest"]

PART = "large objects"
"""The name of their part in a digest."""


def copy(old: Endpoint, new: Endpoint, version: int, snapshot: str) -> None:
    """Fill the large objects of the new side, which stand empty, as of an exported snapshot.

    version is the old server's.  Raises Failed.
    """
    programs = find_programs(version)
    dump = [programs.path("pg_dump"), *server_arguments(old), "--format=custom", "--compress=0"]
    dump += ["--section=data", "--large-objects" if programs.major >= 16 else "--blobs"]
    dump += ["--exclude-table-data=*.*", f"--snapshot={snapshot}"]
    restore = [programs.path("pg_restore"), *server_arguments(new), "--exit-on-error"]
    with contextlib.ExitStack() as stack:
        by_old = stack.enter_context(access(old, plain_settings(version)))
        by_new = stack.enter_context(access(new, {"synchronous_commit": "off"}))
        said = [stack.enter_context(TemporaryFile()) for _ in range(2)]
        dumping = stack.enter_context(
            subprocess.Popen(
                dump,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=said[0],
                env=dict(by_old.environment),
                pass_fds=(by_old.descriptor,),
            )
        )
        restoring = stack.enter_context(
            subprocess.Popen(
                restore,
                stdin=dumping.stdout,
                stdout=subprocess.DEVNULL,
                stderr=said[1],
                env=dict(by_new.environment),
                pass_fds=(by_new.descriptor,),
            )
        )
        if dumping.stdout is not None:
            dumping.stdout.close()
        ends = [(restore[0], restoring.wait(), new), (dump[0], dumping.wait(), old)]
        for (program, status, where), words in zip(ends, reversed(said), strict=True):
            if status != 0:
                words.seek(0)
                text = words.read().decode("utf-8", "replace")
                raise program_failed(
                    program, status, text, doing="copy the large objects", where=str(where)
                )


def digest(conn: Conn) -> Part:
    """How many large objects there are, and a checksum over their bytes.

    A page that is all zeros may be there or not, and counts as not: its bytes are the same.
    Needs a superuser.  Raises psycopg.Error.
    """
    pages = fetch(conn, _PAGES)
    count = fetch(
        conn,
        "select count(*), coalesce(sum(hashoidextended(oid, 0)), 0) from pg_largeobject_metadata",
    )
    whole = part(pages)
    names = part(count)
    return Part(names.count, f"{int(whole.checksum, 16) ^ int(names.checksum, 16):032x}")


_PAGES = """
select count(*), coalesce(sum(hash_array_extended(array[data || repeat_zero.bytes],
    hashoidextended(loid, hashint4extended(pageno, 0)))), 0)
from pg_largeobject
cross join lateral (select substring(zero.page from 1 for 2048 - length(data)) as bytes
    from (select decode(repeat('00', 2048), 'hex') as page) zero) repeat_zero
where data <> substring(decode(repeat('00', 2048), 'hex') from 1 for length(data))
"""
