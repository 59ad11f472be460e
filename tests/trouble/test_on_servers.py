"""Trouble with the databases' servers: four sentences, the old side serves, nothing is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
import pymysql
import pytest
from tests.testbed import WHOLE
from tests.testbed.client import Client
from tests.testbed.moments import Moments
from tests.testbed.servers import KINDS, Server
from tests.testbed.site import Result, Site, eventually
from tests.testbed.traces import differences, kill
from tests.testbed.wire import Wire

from crossfade.model import Side

Make = Callable[..., Site]

AFTER_COPY = "cutover.restore.after-record"
"""Between the copy and the pause: the feed follows."""
IN_PAUSE = "cutover.stop.after-record"
"""The old side is fenced, the last changes are not there yet."""
BEFORE_COMMIT = "cutover.sync.after-record"
"""The new version is healthy, and nobody uses it yet."""

pytestmark = pytest.mark.one_kind


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """postgres and mysql, one after the other."""
    return str(request.param)


def explained(result: Result, *codes: str, exit_code: int = 5) -> None:
    """The error has one of these codes, its four sentences, and the exit code."""
    assert result.code == exit_code, result.err
    said = result.err.partition("error: ")[2].partition("\n")[0].strip()
    assert said in codes, result.err
    for sentence in ("  × ", "  now:  ", "  next: crossfade "):
        assert sentence in result.err, result.err


def old_serves(site: Site) -> None:
    """Users get the old version, and requests are not held."""
    assert site.version() == "1.0"
    assert site.run("status", "--json").json["gate"]["held"] is False


@contextmanager
def loaded(site: Site, *, fails: bool = False) -> Iterator[Client]:
    """A client that loses nothing and (unless told otherwise) has no request that fails."""
    with Client(site.gate) as client:
        yield client
        have = len(client.acknowledged)
        eventually(lambda: len(client.acknowledged) > have + 3)
    assert fails or client.failures == []
    assert client.lost(site.gate) == set()


def run(
    site: Site, deeds: Mapping[str, Callable[[], object]], *words: str, deeds_take: float = 0
) -> Result:
    """A command, with something done at moments of it, which takes so many seconds."""
    with Moments(site.directory, deeds) as moments:
        return site.run(*words, env=moments.environment, ok=False, timeout=300 + deeds_take)


def nothing_left(site: Site, before: Any, *but: str) -> None:
    """Nothing stands on either server that was not there before; on the new side's server but for
    what has one of these words in it."""
    left = site.run("doctor", "--json", ok=False)
    assert (left.code, left.json["left"]) == (0, []), left.out
    assert site.left(before, *but, *site.account()) == {}


def done_after_all(site: Site) -> None:
    """The same upgrade works once the trouble is over, and loses nothing."""
    with loaded(site):
        site.run("rehearse")
        site.run("cutover", "--yes")
        assert site.version() == "2.0"


@pytest.mark.parametrize("moment", ["loading", AFTER_COPY, IN_PAUSE] if WHOLE else [IN_PAUSE])
def test_new_server_killed(make_site: Make, kind: str, moment: str) -> None:
    """The new side's server dies while it is filled, while it follows, or inside the pause."""
    site = make_site(database=kind)
    assert site.pair
    point = LOADING[kind] if moment == "loading" else moment
    if moment == "loading":
        bulk(site)
    site.run("rehearse")
    before = site.stand()
    with loaded(site):
        result = run(site, {point: site.pair.new.kill}, "cutover", "--yes")
        old_serves(site)
    # the old side is back and clean, but nobody can clean a server that is dead
    explained(result, "recovery-failed", exit_code=6)
    on_old = {Side.OLD: before[Side.OLD], Side.NEW: {}}
    still = {**site_stand_of_old(site), Side.NEW: {}}
    assert differences(on_old, still) == {}, "the old side is clean at once"
    site.pair.new.start()
    site.run("doctor", "--fix")
    nothing_left(site, before, site.databases[Side.NEW].user)  # half a copy, made anew next time
    done_after_all(site)


LOADING = {
    "postgres": "cutover.restore.copy-main.before-act",
    "mysql": "cutover.restore.copy-main.before-act",
}


def bulk(site: Site) -> None:
    """A table of the application's that takes a while to copy."""
    assert site.pair
    name = site.databases[Side.OLD].database
    if site.pair.kind == "postgres":
        site.sql(
            Side.OLD,
            "create table bulk as select n as id, repeat(md5(n::text), 20) as filler"
            " from generate_series(1, 150000) n; alter table bulk add primary key (id)",
        )
        site.sql(Side.OLD, f'alter table bulk owner to "{name}"')
    else:
        site.pair.old.sql(
            "create table bulk (id int primary key, filler text not null) select seq as id,"
            " repeat(md5(seq), 20) as filler from seq_1_to_150000",
            database=name,
        )


def site_stand_of_old(site: Site) -> dict[Side, Any]:
    """What stands on the old side's server, the other one being dead."""
    from tests.testbed.traces import everything

    assert site.pair
    return {Side.OLD: everything(site.pair.old)}


def test_old_server_restarted_while_followed(make_site: Make, kind: str) -> None:
    """The feed survives a restart of the server that it comes from; the cutover goes on."""
    site = make_site(database=kind)
    assert site.pair
    site.run("rehearse")
    with loaded(site, fails=True):
        result = run(site, {AFTER_COPY: site.pair.old.restart}, "cutover", "--yes")
        assert (result.code, site.version()) == (0, "2.0"), result.err


def test_network_cut_for_5_seconds(make_site: Make, kind: str) -> None:
    """The way between the servers is cut while followed: the feed comes back by itself."""
    site = make_site(database=kind)
    assert site.pair
    with Wire(site.between()) as wire:
        site.go_through(wire.address)
        site.run("rehearse")

        def cut() -> None:
            wire.cut()
            time.sleep(5)
            wire.mend()

        with loaded(site):
            result = run(site, {AFTER_COPY: cut}, "cutover", "--yes")
            assert (result.code, site.version()) == (0, "2.0"), result.err
        assert wire.bytes > 0, "the feed went through it"


def test_network_cut_in_the_pause(make_site: Make, kind: str) -> None:
    """Cut inside the pause, and not mended: the old side serves again within the limit."""
    site = make_site(database=kind)
    assert site.pair
    with Wire(site.between()) as wire:
        site.go_through(wire.address)
        site.run("rehearse")
        before = site.stand()

        with loaded(site) as client:
            result = run(site, {"cutover.stop.before-act": wire.cut}, "cutover", "--yes")
            old_serves(site)
        if kind == "postgres":
            explained(result, "feed-stalled")
        else:  # it is the way to the new server, so nobody can clean that
            explained(result, "recovery-failed", exit_code=6)
        assert client.longest < 30
        wire.mend()
        site.run("doctor", "--fix")
        nothing_left(
            site, before, *(() if kind == "postgres" else (site.databases[Side.NEW].user,))
        )


def late_note(server: Server, database: str, note: str) -> str:
    """A superuser writes a note past everything; returns what became of it."""
    statement = "insert into note (id, text) values (%s, 'late')"
    try:
        server.sql(statement, [note], database=database)
    except (psycopg.Error, pymysql.Error) as error:
        return f"refused: {error}"
    return "written"


def test_sneaky_writer_in_the_pause(make_site: Make, kind: str) -> None:
    """A superuser who writes to the old database inside the pause is refused, or waits for ever
    after; at no moment do both sides take writes."""
    site = make_site(database=kind)
    assert site.pair
    site.run("rehearse")
    name = site.databases[Side.OLD].database
    old = site.pair.old
    became: list[str] = []
    writer = threading.Thread(target=lambda: became.append(late_note(old, name, "sneaky")))
    with loaded(site):
        result = run(site, {IN_PAUSE: writer.start}, "cutover", "--yes")
        assert (result.code, site.version()) == (0, "2.0"), result.err
        assert late_note(old, name, "later").startswith("refused")
    writer.join()
    assert became[0].startswith("refused"), became
    assert site.sql(Side.OLD, "select id from note where id in ('sneaky', 'later')") == []


def test_fence_broken_by_a_superuser(make_site: Make, kind: str) -> None:
    """Somebody ends our fence and writes: that is found, the cutover goes back, the note lives."""
    site = make_site(database=kind)
    assert site.pair
    site.run("rehearse")
    before = site.stand()
    name = site.databases[Side.OLD].database
    old = site.pair.old

    def break_in() -> None:
        if kind == "postgres":
            old.sql(
                "select pg_terminate_backend(pid, 5000) from pg_locks"
                " where mode = 'ExclusiveLock' and locktype = 'relation'"
            )
        else:
            for (session,) in old.sql(
                "select id from information_schema.processlist where user = 'root'"
                " and id <> connection_id()"
            ):
                kill(old, session)
        assert late_note(old, name, "sneaky") == "written"

    with loaded(site):
        result = run(site, {IN_PAUSE: break_in}, "cutover", "--yes")
        old_serves(site)
    explained(result, "evidence-failed", "fence-lost", "database-connection-lost")
    assert site.ask("/notes/sneaky") == (200, {"text": "late"})
    nothing_left(site, before)


def test_duplicate_key_on_the_new_side(make_site: Make, kind: str) -> None:
    """Somebody writes to the new database while it follows: the feed stops, and it is said why."""
    site = make_site(database=kind)
    assert site.pair
    site.run("rehearse")
    before = site.stand()

    def collide() -> None:
        late_note(site.pair.new, site.databases[Side.NEW].database, "same")  # type: ignore[union-attr]
        assert late_note(site.pair.old, site.databases[Side.OLD].database, "same") == "written"  # type: ignore[union-attr]

    with loaded(site):
        result = run(site, {AFTER_COPY: collide}, "cutover", "--yes")
        old_serves(site)
    explained(result, "feed-stopped")
    assert "note" in result.err
    nothing_left(site, before)
    done_after_all(site)


def test_ddl_on_old_in_the_middle_of_the_feed(make_site: Make, kind: str) -> None:
    """The old side's schema changes while it is followed: the cutover goes back and says so."""
    site = make_site(database=kind)
    assert site.pair
    site.run("rehearse")
    change = "alter table note add column colour varchar(20) not null default 'green'"
    with loaded(site):
        deed = {AFTER_COPY: lambda: site.sql(Side.OLD, change)}
        result = run(site, deed, "cutover", "--yes")
        old_serves(site)
    explained(result, "feed-stopped", "evidence-failed", "schema-changed")
    left = site.run("doctor", "--json", ok=False)
    assert (left.code, left.json["left"]) == (0, []), left.out
    done_after_all(site)


def test_long_transaction_of_the_application(make_site: Make, kind: str) -> None:
    """A session that never ends its transaction is in nobody's way for ever: it is ended by the
    fence, and what it had not committed is nowhere."""
    site = make_site(database=kind)
    assert site.pair
    site.run("rehearse")
    name = site.databases[Side.OLD].database
    sessions: list[Any] = []

    def begin() -> None:
        session: Any = site.pair.old.connect(name)  # type: ignore[union-attr]
        cursor = session.cursor()
        cursor.execute("begin")
        cursor.execute("insert into note (id, text) values ('never', 'committed')")
        sessions.append(session)

    with loaded(site):
        result = run(site, {AFTER_COPY: begin}, "cutover", "--yes")
        assert (result.code, site.version()) == (0, "2.0"), result.err
    for side in Side:
        assert site.sql(side, "select id from note where id = 'never'") == []
    sessions[0].close()


def test_prepared_transaction(make_site: Make, kind: str) -> None:
    """A prepared transaction cannot be ended by a fence: it is named, and nothing is harmed."""
    site = make_site(database=kind)
    assert site.pair
    site.run("rehearse")
    before = site.stand()
    name = site.databases[Side.OLD].database

    def prepare() -> None:
        session: Any = site.pair.old.connect(name)  # type: ignore[union-attr]
        cursor = session.cursor()
        insert = "insert into note (id, text) values ('in doubt', 'prepared')"
        if kind == "postgres":
            words = ["begin", insert, "prepare transaction 'in doubt'"]
        else:
            words = ["xa start 'in doubt'", insert, "xa end 'in doubt'", "xa prepare 'in doubt'"]
        for statement in words:
            cursor.execute(statement)
        session.close()

    with loaded(site):
        result = run(site, {AFTER_COPY: prepare}, "cutover", "--yes")
        old_serves(site)
    explained(result, "fence-blocked", "prepared-transaction", "old-not-fenced")
    assert "in doubt" in result.err
    end = "rollback prepared 'in doubt'" if kind == "postgres" else "xa rollback 'in doubt'"
    site.sql(Side.OLD, end)
    nothing_left(site, before)
    done_after_all(site)


def test_hand_back_undone_without_a_feed(make_site: Make) -> None:
    """Going back is broken off, and the new server has removed the log that the way back needs:
    the new side serves, and the next rollback is not kept from settling that."""
    site = make_site(database="mysql")
    assert site.pair
    site.run("rehearse")
    site.run("cutover", "--yes")
    new = site.pair.new

    def removed() -> bool:
        new.sql("flush binary logs")
        logs = [row[0] for row in new.sql("show binary logs")]
        new.sql(f"purge binary logs to '{logs[-1]}'")
        return len(new.sql("show binary logs")) == 1

    eventually(removed)
    crash = {"CROSSFADE_CRASH_AT": "rollback.hand-back.start.after-act"}
    assert site.run("rollback", "--yes", "--accept-loss", env=crash, ok=False).code < 0
    assert site.version() == "2.0"
    result = site.run("rollback", "--yes", "--accept-loss", ok=False)
    assert (result.code, site.version()) == (0, "1.0"), result.err
