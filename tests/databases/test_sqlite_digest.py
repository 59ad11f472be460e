"""Digests and exports of SQLite databases: exact, stable, and complete for odd tables too."""

# ruff: noqa: S608 - statements are made from constants of this file

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from tests.databases.sqlite_site import run

from crossfade.drivers.databases.sqlite import SqliteDatabase, digests
from crossfade.drivers.databases.sqlite_digest import digest_file, digest_share
from crossfade.model import Digest

ODD = (
    "CREATE TABLE keyed (a TEXT, b, PRIMARY KEY (a, b)) WITHOUT ROWID",
    "INSERT INTO keyed VALUES ('x', 1), ('x', 2.5), ('a', x'00ff')",
    "CREATE TABLE computed (a, b AS (a * 2), c AS (a * 3) STORED)",
    "INSERT INTO computed (a) VALUES (1), (2)",
    "CREATE TABLE texts (t TEXT)",
    "INSERT INTO texts VALUES (CAST(x'ff00fe' AS TEXT)), ('a' || char(0) || 'b'), ('é')",
    'CREATE TABLE "odd ""name" ("a ""b" , rowid, _rowid_, oid)',
    'INSERT INTO "odd ""name" VALUES (1, 2, 3, 4)',
    "CREATE VIRTUAL TABLE search USING fts5 (body)",
    "INSERT INTO search VALUES ('hello world')",
    "CREATE TABLE counted (id INTEGER PRIMARY KEY AUTOINCREMENT, v)",
    "INSERT INTO counted (v) VALUES (9e999), (-0.0), (9223372036854775807)",
    "CREATE TABLE blobs (b)",
    "INSERT INTO blobs VALUES (randomblob(1000)), (zeroblob(20000000))",
    "CREATE VIEW seen AS SELECT * FROM counted",
    "CREATE INDEX by_v ON counted (v)",
)


def make(path: Path, *statements: str) -> SqliteDatabase:
    """A database made by statements."""
    run(path, *statements)
    return SqliteDatabase("app", path)


def test_every_table_that_holds_rows_has_its_part(tmp_path: Path) -> None:
    """Ordinary, keyed, computed, shadow and sequence tables count; views and virtual ones not."""
    digest = make(tmp_path / "a", *ODD).digest()
    counts = {name: part.count for name, part in digest.parts.items()}
    shadows = {f"table:search_{end}": 1 for end in ("config", "content", "docsize", "idx")}
    expected = {"table:keyed": 3, "table:computed": 2, "table:texts": 3, 'table:odd "name': 1}
    expected |= {"table:counted": 3, "table:blobs": 2, "table:sqlite_sequence": 1}
    assert (expected | shadows).items() <= counts.items()
    assert "table:seen" not in counts
    assert "table:search" not in counts


def test_copies_and_vacuumed_copies_have_equal_digests(tmp_path: Path) -> None:
    """Neither copying, nor rebuilding the file with other rowids, changes a digest."""
    old, new = make(tmp_path / "a", *ODD), SqliteDatabase("app", tmp_path / "b")
    run(old.path, "DELETE FROM texts WHERE t = 'é'", "INSERT INTO texts VALUES ('ü')")
    old.copy_to(tmp_path / "copy")
    new.place(tmp_path / "copy")
    assert len(set(map(Digest.__str__, digests(old, new)))) == 1
    run(new.path, "PRAGMA page_size=8192", "VACUUM")
    assert old.path.read_bytes() != new.path.read_bytes()
    one, two = digests(old, new)
    assert one.differences(two) == ()


GOLDEN = "c17164a527df51ca637e58adba83b57d"

VALUES = ("1", "1.0", "'1'", "x'31'", "NULL", "0", "''", "x''", "'1.0'", "2", "CAST(x'ff' AS TEXT)")


def test_values_and_types_are_kept_apart(tmp_path: Path) -> None:
    """Values that print alike, and rows that join alike, have different digests."""
    lists = [f"({value}, 7)" for value in VALUES]
    lists += ["(1, 7), (1, 7)", "('ab', 'c')", "('a', 'bc')", "(7, 1)", "(1, 7), (2, 8)"]
    seen = set()
    for i, values in enumerate(lists):
        database = make(
            tmp_path / f"{i}", "CREATE TABLE t (a, b)", f"INSERT INTO t VALUES {values}"
        )
        seen.add(database.digest().checksum)
    assert len(seen) == len(lists)


def test_digest_is_the_same_in_every_version_of_ours(tmp_path: Path) -> None:
    """A digest in a journal can be compared by a later version, on another Python."""
    values = "(1, 'a'), (1.5, x'00'), (NULL, 'é'), (-5000000000, CAST(x'ff' AS TEXT))"
    database = make(tmp_path / "a", "CREATE TABLE t (a, b)", f"INSERT INTO t VALUES {values}")
    parts = database.digest().parts
    assert (parts["table:t"].count, parts["table:t"].checksum) == (4, GOLDEN)


def test_shares_of_several_processes_make_the_same_digest(tmp_path: Path) -> None:
    """However many processes share the tables of a large file, the digest is the same."""
    database = make(tmp_path / "a", *ODD)
    whole = digest_share(database.path, 0, 1)
    for of in (2, 3):
        shares = [digest_share(database.path, i, of) for i in range(of)]
        assert sum(map(len, shares)) == len(whole)
        assert {name: part for share in shares for name, part in share.items()} == whole
    assert database.size() > 16 << 20
    assert digest_file(database.path, lambda: False) == whole


def test_digest_of_utf16_and_empty_databases(tmp_path: Path) -> None:
    """Another encoding shows in the schema only; an empty file is an empty database."""
    sql = ("CREATE TABLE t (a)", "INSERT INTO t VALUES ('é')")
    one = make(tmp_path / "a", *sql).digest()
    two = make(tmp_path / "b", "PRAGMA encoding='UTF-16le'", *sql).digest()
    assert one.differences(two) == ("schema",)
    (tmp_path / "c").touch()
    empty = SqliteDatabase("app", tmp_path / "c")
    assert empty.digest().count == 0
    assert empty.copy_to(tmp_path / "copy") == 0


def test_sound_tells_broken_foreign_keys_without_failing(tmp_path: Path) -> None:
    """They may be off in the application, so that broken ones are only told."""
    sql = ("CREATE TABLE a (i PRIMARY KEY)", "CREATE TABLE b (i REFERENCES a)")
    finding = make(tmp_path / "a", *sql, "INSERT INTO b VALUES (7)").sound()
    assert finding.holds
    assert "broken foreign keys: 1" in finding.observed


def test_sound_finds_a_row_missing_from_an_index(tmp_path: Path) -> None:
    """What the structure alone does not show is found by the full check."""
    database = make(tmp_path / "a", "CREATE TABLE t (a)", "CREATE INDEX i ON t (a)")
    with closing(sqlite3.connect(database.path, isolation_level=None)) as connection:
        connection.execute("PRAGMA writable_schema=ON")
        row = connection.execute("SELECT * FROM sqlite_master WHERE name='i'").fetchone()
        connection.execute("DELETE FROM sqlite_master WHERE name='i'")
    run(database.path, "INSERT INTO t VALUES (7)")
    with closing(sqlite3.connect(database.path, isolation_level=None)) as connection:
        connection.execute("PRAGMA writable_schema=ON")
        connection.execute("INSERT INTO sqlite_master VALUES (?, ?, ?, ?, ?)", row)
    finding = database.sound()
    assert not finding.holds
    assert "index i" in finding.observed


def test_export_writes_what_json_cannot_say_directly(tmp_path: Path) -> None:
    """Blobs, odd text and infinities are written so that they can be read back."""
    there = make(tmp_path / "there", "CREATE TABLE t (a TEXT COLLATE NOCASE, b)")
    run(there.path, "INSERT INTO t VALUES ('same', 1)", "CREATE TABLE sub (a)")
    here = make(tmp_path / "here", "CREATE TABLE t (extra, b, A TEXT COLLATE NOCASE)")
    values = "(9, 1, 'same'), (9, 1, 'SAME'), (9, x'00ff', 'blob'), (9, 9e999, CAST(x'ff' AS TEXT))"
    run(here.path, f"INSERT INTO t VALUES {values}", "CREATE TABLE sub (a)")
    run(
        here.path, "CREATE TABLE none (a)", "CREATE TABLE 'a/b' (a)", "INSERT INTO 'a/b' VALUES (1)"
    )
    run(here.path, "CREATE VIRTUAL TABLE s USING fts5 (x)", "INSERT INTO s VALUES ('word')")
    assert here.export_beyond(there.path, tmp_path / "rows") == 4
    files = {path.name: path.read_text() for path in (tmp_path / "rows").iterdir()}
    assert files.keys() == {"t.jsonl", "a%2Fb.jsonl"}
    assert sorted(map(json.loads, files["t.jsonl"].splitlines()), key=str) == sorted(
        [
            {"b": 1, "A": "SAME"},
            {"b": {"base64": "AP8="}, "A": "blob"},
            {"b": {"real": "inf"}, "A": {"base64": "/w=="}},
        ],
        key=str,
    )


def test_export_reads_a_database_in_use(tmp_path: Path) -> None:
    """Rows that are still in the WAL of a running application are exported too."""
    there = make(tmp_path / "there", "CREATE TABLE t (a)")
    here = make(tmp_path / "here", "PRAGMA journal_mode=wal", "CREATE TABLE t (a)")
    with closing(sqlite3.connect(here.path, isolation_level=None)) as connection:
        connection.execute("INSERT INTO t VALUES (1)")
        assert here.export_beyond(there.path, tmp_path / "rows") == 1


@pytest.mark.parametrize("name", ["with space", "ä", "percent%41", "question?x=1#y"])
def test_odd_file_names_are_files(tmp_path: Path, name: str) -> None:
    """What has a meaning in a URI has none in a path."""
    database = make(tmp_path / name, "CREATE TABLE t (a)", "INSERT INTO t VALUES (1)")
    database.copy_to(tmp_path / "copy")
    assert database.sound().holds
    assert database.digest() == SqliteDatabase("app", tmp_path / "copy").digest()
