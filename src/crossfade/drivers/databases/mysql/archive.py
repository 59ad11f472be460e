"""Step retire: the old database as a compressed dump that reads back; then it is dropped."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pymysql
from pymysql.constants import ER

from crossfade.drivers.databases.mysql import digests, kept_fence, programs
from crossfade.drivers.databases.mysql.base_copy import session_of
from crossfade.drivers.databases.mysql.catalog import Catalog, floats, read_catalog
from crossfade.drivers.databases.mysql.connect import Conn, explained, ident, one, run
from crossfade.drivers.databases.mysql.kept import loaded
from crossfade.errors import Failed
from crossfade.model import Endpoint, Finding
from crossfade.ports import Doing

__all__ = ["archive_and_remove"]


def archive_and_remove(
    name: str, old: Endpoint, new: Endpoint, archive: Path, tag: str, on: Doing
) -> list[Finding]:
    """Write the archive, load it into a scratch database of the new server, compare, drop.

    Nothing is dropped unless the archive is proven.  Fine when the old database is gone."""
    with explained("archive the database", old), session_of(old) as conn:
        catalog = read_catalog(conn, old.database)
    if catalog is None:
        return [Finding.equal(f"database {name} stands on the old server", False, False, str(old))]
    file = archive / (quote(name, safe=" ") + ".sql.gz")
    kept_fence.drop_triggers(old)  # they are ours, not the database's
    with on.timed(f"archive {name}"):
        programs.dump_to(old, file)
        findings = [programs.whole(name, file), _reads_back(name, old, new, file, tag, catalog)]
    if not all(finding.holds for finding in findings):
        raise Failed(
            "archive-unproven",
            "The archive does not read back as the database was; nothing removed.",
            where=f"{file}: {findings[-1].observed}",
        )
    with explained("remove the old database", old), session_of(old) as conn:
        run(conn, "set session lock_wait_timeout = 60")
        _drop(conn, old)
        gone = read_catalog(conn, old.database) is None
    findings.append(Finding.equal(f"database {name} stands on the old server", True, gone, "gone"))
    return findings


def _drop(conn: Conn, old: Endpoint) -> None:
    """The server removes the files that are its own, and then a directory that must be empty."""
    try:
        run(conn, f"drop database {ident(old.database)}")
    except pymysql.MySQLError as error:
        if error.args[:1] != (ER.DB_DROP_RMDIR,):
            raise
        datadir = one(conn, "select @@global.datadir")
        raise Failed(
            "database-directory-not-empty",
            "The old database has no table any more, but its server cannot remove its directory:"
            " files are in there that are not the server's.",
            where=f"{old}, below {datadir} there",
            next="crossfade retire   (once those files are away)",
        ) from error


def _reads_back(
    name: str, old: Endpoint, new: Endpoint, file: Path, tag: str, catalog: Catalog
) -> Finding:
    """Rows and checksums of the archive, loaded again, are those of the old database."""
    there = loaded(new, f"{tag}_archive", file, catalog)
    with explained("read the old database", old), session_of(old, old.database) as conn:
        here = digests.whole([conn], catalog.tables)
        rounded = floats(conn, catalog)
    differing = [n for n in here.differences(there) if n not in rounded]
    seen = str(there) + (f"; differs in {', '.join(differing[:5])}" if differing else "")
    if rounded:
        seen += (
            f"; compared by rows only, for FLOAT is dumped rounded: {', '.join(sorted(rounded))}"
        )
    wrong = [n for n in rounded if here.parts[n].count != there.parts[n].count]
    claim = f"the archive of database {name} reads back"
    return Finding(claim, str(here), seen, "loaded and compared", not differing and not wrong)
