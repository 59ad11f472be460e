"""Small unlogged tables on the stream way: copied in the pause, and no reason for a dump."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.postgres.feeding import SETTINGS, TAG, Doing, Site

from crossfade.drivers.databases.postgres import stream
from crossfade.drivers.databases.postgres.catalog import inspect
from crossfade.drivers.databases.postgres.connect import connect
from crossfade.drivers.databases.postgres.preflight import judge
from crossfade.drivers.databases.postgres.roundtrip import pair_up
from crossfade.testing.servers import PostgresServer, majors

SCHEMA = """
create unlogged table public.modes ("Modus ü" text primary key);
create unlogged table public.locks (
    "Modus ü" text references public.modes, holder int, more text, twice int
    generated always as (holder * 2) stored);
create unlogged table public.nothing ();
insert into public.modes values ('lesen'), ('schreiben');
insert into public.locks
  values ('lesen', 1, null), ('lesen', 1, E'a\\tb\\\\'), ('schreiben', 2, '');
"""


@pytest.fixture(scope="module")
def servers(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[PostgresServer, PostgresServer]]:
    """The old server of the oldest major, the new one of the newest."""
    place = tmp_path_factory.mktemp("unlogged")
    with (
        PostgresServer(place / "old", majors()[0], settings=SETTINGS) as old,
        PostgresServer(place / "new", majors()[-1], settings=SETTINGS) as new,
    ):
        yield old, new


@pytest.fixture
def site(servers: tuple[PostgresServer, PostgresServer], tmp_path: Path) -> Iterator[Site]:
    """Two servers; whatever a test leaves is removed."""
    made = Site.make(*servers, tmp_path)
    yield made
    stream.let_go(made.old, made.new, made.way().names, made.directory / TAG)


def test_changes_since_the_copy_arrive(site: Site) -> None:
    """Rows that came, changed and went after the copy are as on the old side; so are duplicates."""
    site.on_old(SCHEMA)
    on, way = Doing(), site.way()
    assert all(finding.holds for finding in (*way.back_up(on), *way.restore(on)))
    site.on_old("delete from public.locks where holder = 2; update public.locks set holder = 3")
    site.on_old("insert into public.modes values ('neu'); insert into public.locks values ('neu')")
    findings = way.bring_last(on, still=True)
    assert [finding for finding in findings if not finding.holds] == []
    assert any("unlogged" in finding.claim for finding in findings)
    for query in (
        "select * from public.locks order by 1, 3",
        "select * from public.modes order by 1",
    ):
        assert site.on_new(query) == site.on_old(query)
    assert site.on_new("select twice from public.locks where holder = 3") == [(6,), (6,)]


def test_they_are_in_nobodys_way(site: Site) -> None:
    """They do not make a dump, and do not keep the reverse feed from carrying all else."""
    site.on_old(SCHEMA)
    with connect(site.old) as conn:
        inventory = inspect(conn)
    assert judge(inventory) == []
    pairs, reasons = pair_up(inventory.tables, inventory.tables, 150000)
    assert reasons == []
    assert not any(pair.old.unlogged for pair in pairs)


def test_a_large_one_makes_a_dump(site: Site) -> None:
    """What takes long to copy again is not left to the pause of a stream."""
    site.on_old(
        "create unlogged table public.large as"
        " select repeat(md5(g::text), 20) from generate_series(1, 20000) g"
    )
    with connect(site.old) as conn:
        assert any("unlogged and not small" in reason for reason in judge(inspect(conn)))
