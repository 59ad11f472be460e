"""A database with every kind of object gets to another server as it is, also to a newer one.

Compared are ``pg_dump --schema-only`` of both, the rows, the large objects, the sequences and the
roles.  What may differ is what the plan announced, and what the newer server itself writes in
other words.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.postgres.copying import Copy, fill
from tests.postgres.feeding import TAG

from crossfade.drivers.databases.postgres import kept, sequences
from crossfade.drivers.databases.postgres.carrier import PostgresCarrier
from crossfade.drivers.databases.postgres.connect import connect, fetch
from crossfade.drivers.databases.postgres.database import PostgresDatabase
from crossfade.drivers.databases.postgres.dump import DumpWay
from crossfade.drivers.databases.postgres.fitting import fit
from crossfade.drivers.databases.postgres.place import unmark
from crossfade.model import Endpoint, Finding
from crossfade.testing.servers import PostgresServer, majors

Servers = Callable[..., PostgresServer]
CATALOGUE = Path(__file__).parent / "catalogue.sql"


@pytest.fixture(params=[(15, 15), (majors()[0], majors()[-1])], ids="{0[0]}-{0[1]}".format)
def copy(request: pytest.FixtureRequest, server_of: Servers, tmp_path: Path) -> Iterator[Copy]:
    """The catalogue on one server, and the place of its copy on another."""
    before, after = request.param
    made = Copy.of(server_of(before, "catalogue"), server_of(after, "catalogue new"), tmp_path)
    fill(made.old_server, made.old.database, CATALOGUE)
    yield made
    PostgresDatabase("app", made.new).remove()


def good(findings: list[Finding]) -> None:
    """All hold."""
    assert findings
    assert [finding for finding in findings if not finding.holds] == []


def test_everything_is_carried(copy: Copy) -> None:
    """By each way (kept, dumped, copied): schema, rows, large objects, sequences, roles."""
    with connect(copy.old) as old, connect(copy.new, database="postgres") as new:
        announced = fit(copy.inventory(), old, new, "postgres", copy.new.database)
    assert announced.problems == []
    assert announced.not_carried == ["roles with no part in this database: nothing_to_do"]
    assert {"app_group", "Leser ÄÖ", "member_of_group"} <= _names(announced.actions)

    one = PostgresCarrier("app", copy.old, copy.new, copy.directory, TAG).keep(
        copy.on, copy.directory
    )
    good(list(one.findings))
    assert one.digest.count > 2000
    assert kept.standing(copy.new, TAG) == []

    way = DumpWay(copy.old, copy.new, copy.directory, TAG, copy.inventory(), jobs=2)
    good(way.back_up(copy.on))
    good(way.restore(copy.on))
    _compare(copy)
    good(way.bring_last(copy.on, still=True))
    _compare(copy)

    _compare_sequences(copy)
    unmark(copy.new)
    assert _roles(copy.old) == _roles(copy.new)
    assert _schema(copy.old_server, copy.old, copy) == _schema(copy.new_server, copy.new, copy)
    copy.new_server.sql(f"comment on database {_quoted(copy.new.database)} is {_mark()}")


def _mark() -> str:
    return f"'made by Crossfade ({TAG})'"


def _names(actions: list[str]) -> set[str]:
    return {name.strip() for action in actions for name in re.split(r",| roles | on the ", action)}


def _compare(copy: Copy) -> None:
    """Schema in words, schema in objects, and rows are equal; views are filled; nothing fired."""
    assert _schema(copy.old_server, copy.old, copy) == _schema(copy.new_server, copy.new, copy)
    before = PostgresDatabase("app", copy.old).digest()
    after = PostgresDatabase("app", copy.new).digest()
    assert before.differences(after) == ()
    assert before.count > 2000
    for view in ("app.counted", "app.counted_again"):
        query = f"select * from {view} order by 1"  # noqa: S608
        assert copy.on_old(query) == copy.on_new(query)
    populated = "select relispopulated from pg_class where oid = 'app.never_filled'::regclass"
    assert copy.on_new(populated) == [(False,)]


def _compare_sequences(copy: Copy) -> None:
    """Each goes on a little after the old one; what was never called, or cycles, is as it was."""
    known = copy.inventory().sequences
    with connect(copy.old) as old, connect(copy.new) as new:
        before, after = sequences.read(old, known), sequences.read(new, known)
    assert len(before) == 6
    for sequence in known:
        here = before[str(sequence)]
        beyond = sequences.MARGIN * sequence.increment if here.called and not sequence.cycle else 0
        wanted = min(here.value + beyond, sequence.maximum)
        assert after[str(sequence)] == sequences.State(wanted, here.called), sequence


def _schema(server: PostgresServer, endpoint: Endpoint, copy: Copy) -> list[str]:
    """What pg_dump says of a database, without its name, our mark and the version's own words."""
    newest = max((copy.old_server, copy.new_server), key=lambda one: one.major)
    dumped = subprocess.run(
        [
            str(newest.program("pg_dump")),
            "--schema-only",
            "--create",
            f"--host={endpoint.address.host}",
            f"--port={endpoint.address.port}",
            f"--username={server.admin}",
            "--dbname=dbname='" + endpoint.database.replace("\\", "\\\\").replace("'", "\\'") + "'",
        ],
        env={"PGPASSWORD": server.password_of(server.admin), "PGCLIENTENCODING": "UTF8"},
        capture_output=True,
        check=True,
    ).stdout.decode()
    for name in (_quoted(endpoint.database), endpoint.database):
        dumped = dumped.replace(name, "DATABASE")
    dumped = re.sub(r"made by Crossfade \([a-z0-9_]+\)\n", "", dumped)
    dumped = re.sub(r",\n    multirange_type_name = [\w.]+", "", dumped)  # since 14
    dumped = re.sub(r'(?<!app\.)("Personen & ""Tiere"""|counted)\.(?=[\w"])', "", dumped)  # to 15
    return [
        line
        for line in dumped.splitlines()
        if not re.match(r"-- Dumped|\\(un)?restrict|\\connect|CREATE DATABASE|$", line)
    ]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _roles(endpoint: Endpoint) -> list[tuple[object, ...]]:
    """Attributes, verifiers, settings, comments and memberships of the catalogue's roles."""
    with connect(endpoint) as conn:
        return fetch(
            conn,
            "select r.rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin,"
            " rolreplication, rolbypassrls, rolconnlimit, rolpassword, rolvaliduntil,"
            " shobj_description(r.oid, 'pg_authid'),"
            " array(select unnest(setconfig) from pg_db_role_setting"
            "   where setrole = r.oid and setdatabase = 0),"
            " array(select m.rolname || a.admin_option::text from pg_auth_members a"
            "   join pg_roles m on m.oid = a.member where a.roleid = r.oid)"
            " from pg_authid r where rolname in ('app_group', 'Leser ÄÖ', 'member_of_group')"
            " order by 1",
        )
