"""Large tables without a key: followed by whole rows, proven by what an index finds, counted."""

# ruff: noqa: S608 - the parts that are joined here are constants

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.postgres.feeding import SETTINGS, TAG, Doing, Site, Writer, until

from crossfade.drivers.databases.postgres import counts, keyless, slots, stream, subscription
from crossfade.drivers.databases.postgres.carrier import PostgresCarrier
from crossfade.drivers.databases.postgres.catalog import inspect
from crossfade.drivers.databases.postgres.connect import connect
from crossfade.drivers.databases.postgres.digests import digest_tables
from crossfade.drivers.databases.postgres.following import Keeper
from crossfade.drivers.databases.postgres.inventory import Column, Lookup, Table
from crossfade.drivers.databases.postgres.keyless import Use
from crossfade.drivers.databases.postgres.stream import StreamWay
from crossfade.model import Finding
from crossfade.testing.servers import PostgresServer, majors

SCHEMA = """
create table public.writes (id bigserial primary key, token text);
create table public.few (v text);
insert into public.few select 'v' || g from generate_series(1, 12) g;
create table public."State ""groups" (
  state_group bigint not null, room_id text not null, type varchar(60) not null, state_key text,
  event_id text not null, twice bigint generated always as (state_group * 2) stored);
insert into public."State ""groups" (state_group, room_id, type, state_key, event_id)
  select g / 40, '!room' || g % 50, 'm.röom.' || g % 4, nullif('@user' || g % 40, '@user7'),
         '$event_with_a_long_name_' || g
  from generate_series(1, 200000) g;
insert into public."State ""groups" (state_group, room_id, type, state_key, event_id)
  select state_group, room_id, type, state_key, event_id from public."State ""groups"
  where state_group < 30;
create index on public."State ""groups" (room_id);
create index "The index" on public."State ""groups" (state_group, type, state_key)
  include (event_id);
create index on public."State ""groups" (state_group, type, state_key, room_id)
  where state_key is null;
create index on public."State ""groups" (state_group, lower(type), state_key, room_id, event_id);
create table public.no_index as
  select g as n, nullif(g % 3, 0) as m, repeat(md5(g::text), 12) as v
  from generate_series(1, 24000) g;
analyze;
"""
GROUPS = 'public."State ""groups"'
INSERTED = f"insert into {GROUPS} (state_group, room_id, type, state_key, event_id) values "
CHANGES = (
    INSERTED + "({n}, '!r', 'm.röom.1', 'k', 'e{n}'), ({n}, '!r', 'm.röom.1', 'k', 'e{n}')",
    INSERTED + "({n} + 6000, '!r', 'm', null, 'e')",
    f"update {GROUPS} set event_id = 'other{{n}}' where ctid ="
    f" (select min(ctid) from {GROUPS} where state_group = {{n}} % 30)",
    f"update {GROUPS} set state_key = 'now' where state_key is null and state_group = {{n}} + 5999",
    f"delete from {GROUPS} where ctid ="
    f" (select max(ctid) from {GROUPS} where state_group = {{n}} % 40 + 1)",
)


@pytest.fixture(scope="module")
def servers(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[int, PostgresServer]]:
    """The servers by their majors."""
    place = tmp_path_factory.mktemp("keyless")
    with (
        PostgresServer(place / "old", 15, settings=SETTINGS) as old,
        PostgresServer(place / "new", majors()[-1], settings=SETTINGS) as new,
    ):
        yield {15: old, majors()[-1]: new}


@pytest.fixture
def site(servers: dict[int, PostgresServer], tmp_path: Path) -> Iterator[Site]:
    """From 15 to a newer server, with fewer rows."""
    schema = SCHEMA.replace("200000", "40000")
    yield from made(servers[15], servers[majors()[-1]], tmp_path, schema)


@pytest.fixture(params=sorted({15, majors()[-1]}))
def either(
    request: pytest.FixtureRequest, servers: dict[int, PostgresServer], tmp_path: Path
) -> Iterator[Site]:
    """From 15 to a newer server, which uses indexes for such tables, and to 15, which does not."""
    yield from made(servers[15], servers[request.param], tmp_path, SCHEMA)


def made(old: PostgresServer, new: PostgresServer, directory: Path, schema: str) -> Iterator[Site]:
    """Databases that are removed in the end."""
    site = Site.make(old, new, directory, schema=schema)
    yield site
    stream.let_go(site.old, site.new, site.way().names, site.directory / TAG)
    for server, where in ((site.new_server, site.new), (site.old_server, site.old)):
        server.sql('drop database if exists "{}"'.format(where.database.replace('"', '""')))


def begun(site: Site) -> StreamWay:
    """A way that follows."""
    way = site.way()
    good(way.back_up(Doing()))
    good(way.restore(Doing()))
    return way


def good(findings: list[Finding]) -> None:
    """All hold."""
    assert findings
    assert [finding for finding in findings if not finding.holds] == []


def test_a_large_table_without_a_key_is_followed_and_proven(either: Site) -> None:
    """Inserts, updates and deletes under load, duplicates and nulls too: equal, row by row."""
    quick = either.new_server.major >= 16
    with Writer(either.old, *CHANGES, pause=0.05 if quick else 0.5) as writer:
        way = begun(either)
        until(lambda: len(writer.acknowledged) > 8)
    assert writer.error is None
    on = Doing()
    findings = way.bring_last(on, still=True)
    good(findings)
    counted = next(finding for finding in findings if "as many rows" in finding.claim)
    assert int(counted.observed.split()[0]) >= 2, counted.observed
    assert " of 4 tables counted" in counted.observed
    assert "counts app" in on.parts
    tables = way.inventory.with_data
    assert digest_tables(either.old, tables) == digest_tables(either.new, tables)
    way.let_go()
    assert either.traces() == []


@pytest.mark.parametrize(
    ("touched", "harm", "told"),
    [
        (
            f"update {GROUPS} set room_id = 'x' where state_group = 7 and state_key = '@user9'",
            f"delete from {GROUPS} where ctid = (select min(ctid) from {GROUPS}"
            " where state_group = 7 and state_key = '@user9')",
            "7/m.röom.1/@user9",
        ),
        (
            f"update {GROUPS} set room_id = 'x' where state_group = 8 and state_key is null",
            f"update {GROUPS} set event_id = 'y' where ctid = (select min(ctid) from {GROUPS}"
            " where state_group = 8 and state_key is null)",
            "(state_group, type, state_key) = 8/m.röom.3/None",
        ),
        (
            "update public.no_index set m = 5 where n in (30, 31)",
            "update public.no_index set v = 'z' where n = 30",
            "public.no_index (n, m, v) = 30/",
        ),
        ("insert into public.few values ('one more')", "truncate public.few", "public.few"),
    ],
)
def test_a_lost_row_is_found_and_named(
    site: Site, monkeypatch: pytest.MonkeyPatch, touched: str, harm: str, told: str
) -> None:
    """One of several equal rows counts, and so does one whose key has nulls."""
    monkeypatch.setattr(Keeper, "_run", lambda keeper: None)
    way = begun(site)
    site.on_old(touched)
    with connect(site.old) as conn:
        end = subscription.flushed(conn)
        until(lambda: confirmed(way) >= end)
    site.on_new(harm)
    bad = [finding for finding in way.bring_last(Doing(), still=True) if not finding.holds]
    assert bad
    assert told in bad[0].observed


def confirmed(way: StreamWay) -> int:
    """How far the new side has confirmed."""
    with connect(way.old) as conn:
        slot = slots.look(conn, way.names.feed)
    assert slot is not None
    return slot.confirmed


def test_what_nobody_wrote_to_the_old_side_is_counted(site: Site) -> None:
    """A row that appeared on the new side's alone is named with both numbers, also in a rehearsal;
    a table that is in use may differ there."""
    with Writer(site.old, pause=0.01) as writer:
        way = begun(site)
        site.on_new("insert into public.few values ('stray')")
        findings = way.bring_last(Doing(), still=False)
    assert writer.error is None
    bad = [finding for finding in findings if not finding.holds]
    assert [finding.source for finding in bad] == ["count(*) on both sides"]
    assert bad[0].observed.endswith("differs in public.few (12 and 13)")


def test_what_takes_long_to_count_is_left_out_and_told(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By size, and by the time that it takes; the smallest table is always counted."""
    monkeypatch.setattr(counts, "_SECONDS", 0.0)
    monkeypatch.setattr(counts, "_AT_ONCE", 1)
    way = begun(site)
    findings = way.bring_last(Doing(), still=True)
    good(findings)
    counted = next(finding for finding in findings if "as many rows" in finding.claim)
    assert counted.observed == (
        "1 of 4 tables counted, 0 MB; the larger ones by their changed rows only"
    )


def test_the_index_that_finds_the_fewest_rows_is_taken(site: Site) -> None:
    """Not one of expressions, of some rows, or of a column with few values."""
    with connect(site.old) as conn:
        tables = {table.name: table for table in inspect(conn).tables}
    lookup = tables['State "groups'].lookup
    assert lookup is not None
    assert lookup.columns == ("state_group", "type", "state_key")
    assert lookup.rows is not None
    assert lookup.rows < 40
    assert lookup.most is not None
    assert 400 < lookup.most < 1600, "the index on rooms finds 800"
    assert tables["no_index"].lookup is None


SYNAPSE = """
create table public.event_auth (event_id text not null, auth_id text, room_id text);
create index evauth_edges_id on public.event_auth (event_id);
create table public.event_edges (event_id text, prev_event_id text, room_id text);
create unique index on public.event_edges (event_id, prev_event_id);
create table public.event_search (
  event_id text, room_id text, sender text, key text, vector tsvector);
create index event_search_fts_idx on public.event_search using gin (vector);
create index event_search_ev_ridx on public.event_search (room_id);
create unique index event_search_event_id_idx on public.event_search (event_id);
insert into public.event_auth
  select '$' || g / 3, repeat('a', 300), '!r' from generate_series(1, 40000) g;
insert into public.event_edges
  select '$' || g, repeat('p', 300) || g, '!r' from generate_series(1, 40000) g;
insert into public.event_search
  select '$' || g, '!r' || g % 20, repeat('s', 300), 'k', 'one two'
  from generate_series(1, 40000) g;
analyze;
"""


def test_a_schema_like_synapses_is_streamed(either: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plan says for each such table why; where too little is known it is a dump."""
    either.on_old(f"drop table public.no_index; {SYNAPSE}")
    unknown = PostgresCarrier("app", either.old, either.new, either.directory / "0", TAG).preview()
    monkeypatch.setattr(keyless, "LONG_ENOUGH", 0.0)
    plan = PostgresCarrier("app", either.old, either.new, either.directory / "1", TAG).preview()
    assert plan.strategy == "stream", plan.why
    warned = {
        table: next(w for w in plan.warnings if f"table public.{table} " in w)
        for table in ('"State "groups"', "event_auth", "event_edges", "event_search")
    }
    assert all("has no key and is large" in warning for warning in warned.values())
    by_index = "finds its rows by an index" in warned["event_edges"]
    assert by_index == (either.new_server.major >= 16)
    assert "rarely updated or deleted" in warned["event_search"], "one of its indexes is poor"
    assert unknown.strategy == "dump"
    assert "is not known" in unknown.why
    assert not any("no key" in warning for warning in unknown.warnings)
    assert either.traces() == []


def table(lookup: Lookup | None, *, megabytes: int = 1000, kind: str = "text") -> Table:
    """A table without a key."""
    return Table(
        1,
        "public",
        "t",
        "table",
        "o",
        megabytes * 1024**2,
        0,
        0,
        (Column("a", kind, 1, not_null=False, generated=False, identity=False, base=kind),),
        (),
        "default",
        lookup=lookup,
    )


GOOD = Lookup(("a",), 3.0, 5.0)
POOR = Lookup(("a",), 3.0, 1e5)
DAY = 86400.0


@pytest.mark.parametrize(
    ("of", "use", "version", "words"),
    [
        (table(GOOD), None, 170000, "+finds its rows by an index"),
        (table(Lookup(("a",), None, None)), None, 160000, "+finds its rows by an index"),
        (table(GOOD), None, 150000, "-updated or deleted there is not known"),
        (table(GOOD), Use(10**7, 20, DAY), 150000, "+rarely updated or deleted there (less than"),
        (table(GOOD), Use(10**7, 2000, DAY), 150000, "-updated or deleted too often there (1 a mi"),
        (table(GOOD), Use(10**7, 0, 5.0), 150000, "-not known"),
        (table(POOR), Use(10**7, 20, DAY), 170000, "+rarely"),
        (table(POOR), None, 170000, "-not known"),
        (table(None), Use(10**7, 0, DAY), 170000, "-rows are written too often there (116 a sec"),
        (table(None), Use(20, 0, DAY), 170000, "+rarely"),
        (table(None, megabytes=5), None, 150000, ""),
        (table(GOOD, kind="json[]"), None, 170000, "-column a cannot be compared"),
    ],
)
def test_when_a_table_without_a_key_is_followed(
    of: Table, use: Use | None, version: int, words: str
) -> None:
    """By the index of a new server that uses it, or by how rarely it changes; else not."""
    reason, warning = keyless.judge(of, use, version)
    assert words[1:] in (warning if words.startswith("+") else reason)
    assert bool(reason) == words.startswith("-")
    assert bool(warning) == words.startswith("+")
