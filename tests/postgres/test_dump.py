"""Strategy ``dump``: a backup that is proven, and a last copy that is proven, also under load."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.postgres.copying import Copy
from tests.postgres.feeding import TAG, Writer, until

from crossfade.drivers.databases.postgres.connect import connect, fetch
from crossfade.drivers.databases.postgres.database import PostgresDatabase
from crossfade.drivers.databases.postgres.dump import DumpWay
from crossfade.errors import Failed
from crossfade.testing.servers import PostgresServer

Servers = Callable[..., PostgresServer]
TABLES = """
create table public.writes (id bigserial primary key, token text);
create table public.other (id int primary key, t text);
insert into public.other select g, md5(g::text) from generate_series(1, 20000) g;
select lo_from_bytea(0, decode(repeat('ab', 100000), 'hex'));
"""


@pytest.fixture
def copy(server_of: Servers, tmp_path: Path) -> Iterator[Copy]:
    """A small old database."""
    made = Copy.of(server_of(15), server_of(15, "new"), tmp_path, TABLES)
    yield made
    PostgresDatabase("app", made.new).remove()


def way(copy: Copy) -> DumpWay:
    """A way as each process makes its own."""
    return DumpWay(
        copy.old, copy.new, copy.directory, TAG, copy.inventory(), name="a/b é", rate=1e12
    )


def test_backup_and_last_copy_while_the_old_side_works(copy: Copy) -> None:
    """Both are exactly the snapshot that they were made from; what was acknowledged before is in.

    In a rehearsal the old side works on, and nothing is left out of the comparison."""
    with Writer(copy.old, pause=0.001) as writer:
        until(lambda: len(writer.acknowledged) > 20)
        before = set(writer.acknowledged)
        assert all(finding.holds for finding in way(copy).back_up(copy.on))
        assert all(finding.holds for finding in way(copy).restore(copy.on))
        assert before <= tokens(copy)
        before = set(writer.acknowledged)
        findings = way(copy).bring_last(copy.on, still=False)
        assert [finding for finding in findings if not finding.holds] == []
        assert before <= tokens(copy)
    assert writer.error is None
    assert copy.on_new("select nextval('public.writes_id_seq') > max(id) from public.writes") == [
        (True,)
    ]


def test_everything_may_be_done_again(copy: Copy) -> None:
    """A second process that does the same once more has the same."""
    for _ in range(2):
        findings = way(copy).back_up(copy.on) + way(copy).restore(copy.on)
        findings += way(copy).bring_last(copy.on, still=True)
        assert [finding for finding in findings if not finding.holds] == []
    old, new = PostgresDatabase("app", copy.old), PostgresDatabase("app", copy.new)
    assert old.digest().differences(new.digest()) == ()


def test_a_backup_that_is_not_whole_is_seen(copy: Copy) -> None:
    """A file of rows that is missing fails the finding; without a digest nothing is restored."""
    way(copy).back_up(copy.on)
    backup = way(copy).backup
    (backup / "data").chmod(0o700)
    largest = max((backup / "data").glob("[0-9]*.dat"), key=lambda file: file.stat().st_size)
    kept = largest.read_bytes()
    largest.unlink()
    (finding,) = way(copy).back_up(copy.on)
    assert not finding.holds
    end = kept.rindex(b"\n", 0, len(kept) // 2) + 1
    largest.write_bytes(kept[:end] + b"\\.\n\n\n")
    assert not way(copy).restore(copy.on)[0].holds
    (backup / "digest.json").unlink()
    with pytest.raises(Failed) as caught:
        way(copy).restore(copy.on)
    assert caught.value.code == "backup-missing"


def test_a_row_that_differs_is_told_by_its_table(
    copy: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proof is a comparison of both servers: a row lost on the way fails it."""
    mine = way(copy)
    finish = mine.base.finish

    def lose(on: object) -> None:
        finish(copy.on)
        copy.on_new("delete from public.other where id = 7")

    monkeypatch.setattr(mine.base, "finish", lose)
    findings = mine.bring_last(copy.on, still=True)
    assert not findings[0].holds
    assert "differs in public.other" in findings[0].observed


def tokens(copy: Copy) -> set[str]:
    """What stands on the new side."""
    with connect(copy.new) as conn:
        return {row[0] for row in fetch(conn, "select token from public.writes")}
