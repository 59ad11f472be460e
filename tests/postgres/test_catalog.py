"""What is read of a database, and what is said when it does not fit on the new server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.postgres.copying import Copy

from crossfade.drivers.databases.postgres.connect import connect
from crossfade.drivers.databases.postgres.fitting import Fit, fit
from crossfade.drivers.databases.postgres.inventory import Inventory
from crossfade.testing.servers import PostgresServer

Servers = Callable[..., PostgresServer]


@pytest.fixture
def make(server_of: Servers, tmp_path: Path) -> Callable[..., Copy]:
    """``make(statement, old=15, new=15)``: two servers, the statement run in the old database."""

    def made(statement: str = "", *, old: int = 15, new: int = 15) -> Copy:
        statements = (statement,) if statement else ()
        return Copy.of(server_of(old), server_of(new, "new"), tmp_path, *statements)

    return made


def looked(copy: Copy, inventory: Inventory | None = None) -> Fit:
    """How the old database fits."""
    with connect(copy.old) as old, connect(copy.new, database="template1") as new:
        known = inventory or copy.inventory()
        return fit(known, old, new, "postgres", copy.new.database)


def codes(found: Fit) -> list[str]:
    """The codes of its problems."""
    return [problem.code for problem in found.problems]


def test_tables_keys_and_columns(make: Callable[..., Copy]) -> None:
    """Every kind of table with its columns, what identifies rows, and what is large."""
    copy = make(
        'create schema "Ä"; create domain "Ä".d as varchar(5);'
        ' create table "Ä"."T x" (a int, b "Ä".d not null,'
        "   c int generated always as (a + 1) stored,"
        "   id int generated always as identity, primary key (id, b));"
        ' create unique index "by b" on "Ä"."T x" (b) include (a);'
        ' create unique index "by c" on "Ä"."T x" (c);'
        ' create unique index "some" on "Ä"."T x" (b) where a > 1;'
        " create table public.full_one (a int unique);"
        " alter table public.full_one replica identity full;"
        " create table public.indexed (a int not null, b int);"
        " create unique index by_a on public.indexed (a);"
        " alter table public.indexed replica identity using index by_a;"
        " create unlogged table public.gone (a int);"
        " create table public.p (a int) partition by range (a);"
        " create table public.p1 partition of public.p default;"
        " create temporary table nothing (a int)"
    )
    known = {str(table): table for table in copy.inventory().tables}
    table = known["Ä.T x"]
    assert [(c.name, c.base, c.generated) for c in table.columns] == [
        ("a", "integer", False),
        ("b", "character varying", False),
        ("c", "integer", True),
        ("id", "integer", False),
    ]
    assert table.key == ("id", "b")
    assert table.data_columns == ("a", "b", "id")
    assert [key.columns for key in table.keys] == [("id", "b"), ("b",)]
    assert (known["public.full_one"].identity, known["public.full_one"].key) == ("full", ())
    assert known["public.indexed"].key == ("a",)
    assert known["public.gone"].unlogged
    assert known["public.p"].kind == "partitioned"
    assert known["public.p1"].parents == (known["public.p"].oid,)
    assert sorted(known) == ["public.full_one", "public.gone", "public.indexed", "public.p",
                             "public.p1", "Ä.T x"]  # fmt: skip
    assert "public.p" not in map(str, copy.inventory().with_data)


@pytest.mark.parametrize(
    "change",
    [
        "alter table public.t add column c int",
        "alter table public.t alter b type varchar(9)",
        "alter table public.t alter a set default 5",
        "alter table public.t add check (a > 0)",
        "create index on public.t (b)",
        "drop view public.v",
        "create or replace view public.v as select 2 as one",
        "create or replace function public.f() returns int language sql as 'select 2'",
        "create trigger x before insert on public.t execute function tsvector_update_trigger()",
        "alter type public.m add value 'b'",
        "create policy p on public.t",
        "create rule r as on delete to public.t do instead nothing",
        "create schema s; create table s.u ()",
    ],
)
def test_the_fingerprint_sees_every_change_of_the_schema(
    make: Callable[..., Copy], change: str
) -> None:
    """It is the same while nothing changes, and rows do not count."""
    copy = make(
        "create type public.m as enum ('a'); create table public.t (a int, b text, m public.m);"
        " create view public.v as select 1 as one;"
        " create function public.f() returns int language sql as 'select 1'"
    )
    before = copy.inventory().facts["schema"]
    copy.on_old("insert into public.t values (1)")
    assert copy.inventory().facts["schema"] == before
    copy.on_old(change)
    assert copy.inventory().facts["schema"] != before


def test_large_objects_are_a_reason_to_dump(make: Callable[..., Copy]) -> None:
    """Replication does not carry them."""
    assert make().inventory().reasons_for_dump == ()
    (reason,) = make("select lo_create(0)").inventory().reasons_for_dump
    assert "1 large objects" in reason


def test_what_fits_has_no_problem(make: Callable[..., Copy]) -> None:
    """Nothing to say of a plain database."""
    found = looked(make("create table public.t (a int)"))
    assert (found.problems, found.actions) == ([], [])


def test_an_extension_that_the_new_server_lacks(make: Callable[..., Copy]) -> None:
    """It is named, with what helps."""
    copy = make("create extension citext")
    inventory = copy.inventory()
    missing = replace(inventory.extensions[0], name="nowhere_é")
    found = looked(copy, replace(inventory, extensions=(missing,)))
    assert codes(found) == ["extension-missing"]
    assert "nowhere_é" in found.problems[0].next


def test_a_new_server_that_is_older(make: Callable[..., Copy]) -> None:
    """Data does not go back to an older server."""
    assert codes(looked(make(old=15, new=13))) == ["new-server-older"]


def test_the_same_database(make: Callable[..., Copy], server_of: Servers) -> None:
    """A copy onto itself is refused."""
    copy = make()
    itself = replace(copy, new=copy.old, new_server=copy.old_server)
    assert "same-database" in codes(looked(itself))


def test_a_role_of_ours_without_rights(make: Callable[..., Copy]) -> None:
    """The statement that helps is the problem's next command."""
    copy = make()
    copy.old_server.sql("create role \"weak é\" login password 'weak'")
    (copy.directory / "weak").write_text("weak")
    weak = replace(copy.old, admin="weak é", admin_password="file:weak", base=copy.directory)
    with connect(weak) as old, connect(copy.new, database="template1") as new:
        found = fit(copy.inventory(), old, new, "postgres", copy.new.database)
    assert codes(found) == ["database-right-missing"]
    assert found.problems[0].next.startswith('ALTER ROLE "weak é" SUPERUSER')


def test_a_locale_that_the_new_machine_lacks(make: Callable[..., Copy]) -> None:
    """It is found by trying, and nothing stays of the trial."""
    copy = make()
    inventory = replace(copy.inventory(), collate="xx_XX.UTF-8", ctype="xx_XX.UTF-8")
    assert codes(looked(copy, inventory)) == ["locale-missing"]


def test_what_cannot_be_carried_is_named(make: Callable[..., Copy]) -> None:
    """Settings that are no more, subscriptions, other people's slots: each by its name."""
    copy = make(
        "create subscription \"an É\" connection 'host=x' publication p with (connect = false)",
        old=13,
        new=17,
    )
    name = '"' + copy.old.database.replace('"', '""') + '"'
    copy.old_server.sql(f"alter database {name} set operator_precedence_warning = on")
    found = looked(copy)
    assert [text for text in found.not_carried if "É" in text]
    assert [text for text in found.not_carried if "operator_precedence_warning" in text]
    old, new = copy.run()
    assert old == new
    assert copy.on_new("select count(*) from pg_subscription") == [(0,)]
    copy.on_old('alter subscription "an É" set (slot_name = none); drop subscription "an É"')
