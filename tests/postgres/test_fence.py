"""The fence of a PostgreSQL database: against everybody, and gone when it should be."""

from __future__ import annotations

import dataclasses
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import psycopg
import pytest
from tests.postgres.writers import (
    OBJECTS,
    ONLY_SUPERUSER,
    ROLES,
    SCHEMA,
    WRITERS,
    Conn,
    session,
)

from crossfade.drivers.databases.postgres.fence import FENCE, Fence, lift, mark
from crossfade.drivers.databases.postgres.fence_proof import problems, prove
from crossfade.errors import Failed
from crossfade.model import Endpoint
from crossfade.testing.servers import PostgresServer, majors


@pytest.fixture(scope="module", params=sorted({majors()[0], majors()[-1]}))
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PostgresServer]:
    """A server with one database that has every kind of object that can be written to."""
    settings = {
        "wal_level": "logical",
        "max_prepared_transactions": "5",
        "autovacuum_naptime": "1s",
    }
    place = tmp_path_factory.mktemp("fence")
    with PostgresServer(place, request.param, settings=settings) as running:
        for statement in filter(None, map(str.strip, SCHEMA.split(";"))):
            running.sql(statement)
        running.sql(OBJECTS, database="Ä pp")
        yield running


@pytest.fixture
def endpoint(server: PostgresServer) -> Iterator[Endpoint]:
    """The database; whatever fence a test leaves is lifted."""
    where = server.endpoint("Ä pp", user="Grantée")
    yield where
    lift(where)


def wait_until(what: str, seen: object, deadline: float = 30.0) -> None:
    """Poll until ``seen()`` is true."""
    assert callable(seen)
    end = time.monotonic() + deadline
    while not seen():
        assert time.monotonic() < end, what
        time.sleep(0.005)


def attempt(conn: Conn, name: str) -> str:
    """Try to write; the SQLSTATE of the refusal, or ``written``.  Nothing stays."""
    try:
        (WRITERS | ONLY_SUPERUSER)[name](conn)
    except psycopg.Error as error:
        return error.sqlstate or "lost"
    finally:
        conn.rollback()
    return "written"


def attempts(server: PostgresServer) -> dict[tuple[str, str], str]:
    """Every attempt of every role."""
    seen = {}
    for role in ROLES:
        with closing(session(server, role)) as conn:
            for name in WRITERS if role != "postgres" else WRITERS | ONLY_SUPERUSER:
                if name != "merge" or server.major >= 15:
                    seen[name, role] = attempt(conn, name)
    return seen


def test_every_writer_can_write_while_nothing_is_fenced(server: PostgresServer) -> None:
    """Otherwise the other tests would show nothing."""
    seen = attempts(server)
    assert {key: value for key, value in seen.items() if value != "written"} == {}


def test_a_fence_makes_every_writer_wait(server: PostgresServer, endpoint: Endpoint) -> None:
    """Application, owner and superuser, in every way that we know of."""
    with closing(Fence.take(endpoint)):
        finding = prove(endpoint)
        seen = attempts(server)
    assert finding.holds, finding
    assert {key: value for key, value in seen.items() if value != "55P03"} == {}
    assert not prove(endpoint).holds


def test_a_kept_fence_refuses_every_writer(server: PostgresServer, endpoint: Endpoint) -> None:
    """The triggers refuse what the locks held up, apart from row locks and large objects."""
    Fence.take(endpoint).keep()
    finding = prove(endpoint)
    seen = attempts(server)
    assert finding.holds, finding
    allowed = {"row lock", "new large object", "large object"}
    open_ways = {key for key, value in seen.items() if value != "25006"}
    assert {name for name, _ in open_ways} == allowed
    lift(endpoint)
    assert not prove(endpoint).holds
    assert set(attempts(server).values()) == {"written"}


class Hammer:
    """Threads that write as fast as they can, each in its own way, until stopped."""

    def __init__(self, server: PostgresServer) -> None:
        self.server = server
        self.acknowledged = 0
        self.refused = 0
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(n,)) for n in range(4)]

    def run(self, number: int) -> None:
        """One thread: the even ones log in anew for each row, as superuser and as replica."""
        conn: Conn | None = None
        while not self.stopping.is_set():
            try:
                if conn is None or conn.closed:
                    conn = self.server.connect("Ä pp", options="-c lock_timeout=2000")
                    if number % 2:
                        conn.execute('set session authorization "Grantée"')
                    else:
                        conn.execute("set session_replication_role = replica")
                conn.execute('insert into "Schéma 1".fast values (%s)', (1000 + number,))
                self.acknowledged += 1
                if not number % 2:
                    conn.close()
            except (psycopg.errors.ReadOnlySqlTransaction, psycopg.OperationalError):
                self.refused += 1
        if conn is not None:
            conn.close()

    def __enter__(self) -> Hammer:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        for thread in self.threads:
            thread.join()


def count(server: PostgresServer) -> int:
    """Rows that hammers wrote."""
    found = server.sql('select count(*) from "Schéma 1".fast where id >= 1000', database="Ä pp")
    return int(found[0][0])


def test_there_is_no_gap_between_locks_and_triggers(
    server: PostgresServer, endpoint: Endpoint
) -> None:
    """Writers that hammer all the time get nothing in from the first moment of the fence on."""
    server.sql('truncate "Schéma 1".fast', database="Ä pp")
    with Hammer(server) as hammer:
        wait_until("somebody writes", lambda: hammer.acknowledged > 50)
        fence = Fence.take(endpoint)
        before = count(server)
        fence.keep()
        wait_until("everybody was refused", lambda: hammer.refused > 50)
        assert count(server) == before
        lift(endpoint)
        wait_until("the way is free", lambda: count(server) > before)
    # An acknowledged write is one that is there, and almost the other way round: a session that
    # is ended may have committed without having been able to say so.
    assert hammer.acknowledged <= count(server) <= hammer.acknowledged + hammer.refused


def test_a_fence_that_is_closed_lets_waiting_writers_go_on(
    server: PostgresServer, endpoint: Endpoint
) -> None:
    """Nobody gets an error who only had to wait."""
    fence = Fence.take(endpoint)
    written = threading.Event()

    def write() -> None:
        with server.connect("Ä pp") as conn:
            conn.execute('insert into "Schéma 1".fast values (1)')
        written.set()

    thread = threading.Thread(target=write)
    thread.start()
    waiting = "select 1 from pg_stat_activity where wait_event_type = 'Lock'"
    wait_until("the writer waits", lambda: server.sql(waiting))
    assert not written.is_set()
    fence.close()
    thread.join(30)
    assert written.is_set()


def test_who_stands_in_the_way_is_disconnected_and_readers_are_not(
    server: PostgresServer, endpoint: Endpoint
) -> None:
    """Writers in open transactions, a lock, a table nobody can see yet; but not who reads."""
    ways = (
        "insert into fast values (77)",
        "lock table deleted_by_rule in share mode",
        "create table unseen (i int)",
        "select lo_create(77)",
        "select * from part for update",
        "analyze child",
        "alter table heir add column later int",
    )
    stack = ExitStack()
    open_ones = [stack.enter_context(closing(session(server))) for _ in ways]
    reader = stack.enter_context(closing(session(server)))
    for conn, way in zip(open_ones, ways, strict=True):
        conn.execute(way.encode())
    reader.execute('select count(*) from "T""one"')
    with stack, closing(Fence.take(endpoint)), closing(session(server, "Grantée")) as caller:
        assert reader.execute('select count(*) from "T""one"').fetchone() == (10,)
        for conn, way in zip(open_ones, ways, strict=True):
            with pytest.raises(psycopg.OperationalError):
                conn.execute("insert into unseen values (1)" if "unseen" in way else "select 1")
            assert conn.closed, way
        assert attempt(reader, "insert") == "55P03"
        assert caller.execute("select nextval('numbers')").fetchone()
    assert server.sql("select 1 from pg_class where relname = 'unseen'", database="Ä pp") == []


def test_autovacuum_is_ended_and_logins_are_not_held_up(
    server: PostgresServer, endpoint: Endpoint
) -> None:
    """A worker that vacuums a table slowly does not cost the pause a second."""
    server.sql(
        """create table slow (i int) with (autovacuum_vacuum_threshold = 1,
             autovacuum_vacuum_scale_factor = 0, autovacuum_analyze_threshold = 1000000,
             autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1);
           insert into slow select generate_series(1, 30000);
           delete from slow where i % 2 = 0""",
        database="Ä pp",
    )
    working = (
        "select 1 from pg_stat_activity where backend_type = 'autovacuum worker'"
        " and query like '%slow%'"
    )
    wait_until("autovacuum works", lambda: server.sql(working), 60)
    with closing(Fence.take(endpoint)):
        assert prove(endpoint).holds
        with closing(session(server, "Grantée")) as conn:
            assert conn.execute("select count(*) from fast").fetchone()
    server.sql("drop table slow", database="Ä pp")


def test_a_prepared_transaction_is_named_and_not_touched(
    server: PostgresServer, endpoint: Endpoint
) -> None:
    """It can be committed at any time, and belongs to somebody else."""
    with closing(session(server)) as conn:
        conn.execute("insert into fast values (78)")
        conn.execute("prepare transaction 'Order 66''s'")
    try:
        [problem] = problems(endpoint)
        assert problem.code == "prepared-transaction"
        with pytest.raises(Failed) as failed:
            Fence.take(endpoint)
        assert failed.value.code == "prepared-transaction"
        assert "Order 66" in failed.value.what
        assert len(server.sql("select gid from pg_prepared_xacts")) == 1
    finally:
        server.sql("rollback prepared 'Order 66''s'", database="Ä pp")
    assert problems(endpoint) == ()


def test_the_fence_ends_when_our_process_is_killed(
    server: PostgresServer, endpoint: Endpoint
) -> None:
    """So the old side serves again without anybody's help."""
    code = (
        "import sys, time, pickle; from crossfade.drivers.databases.postgres.fence import Fence;"
        "f = Fence.take(pickle.loads(bytes.fromhex(sys.argv[1]))); print('taken', flush=True);"
        "time.sleep(600)"
    )
    argument = pickle.dumps(endpoint).hex()
    with subprocess.Popen([sys.executable, "-c", code, argument], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"taken\n"
        with closing(session(server)) as conn:
            assert attempt(conn, "insert") == "55P03"
            child.send_signal(signal.SIGKILL)
            conn.execute("set lock_timeout = '20s'")
            assert attempt(conn, "insert") == "written"


KEEPALIVE = "02"


def test_the_server_would_soon_notice_that_our_machine_is_gone(
    server: PostgresServer, endpoint: Endpoint
) -> None:
    """Asked of the kernel: the server probes a fence that is silent for two seconds."""
    with closing(Fence.take(endpoint)):
        query = (  # the session of a fence that was lost before may still be there
            "select client_port from pg_stat_activity where application_name = %s"
            " order by backend_start desc limit 1"
        )
        [(port,)] = server.sql(query, (FENCE,))
        ends = f":{server.address.port:04X}", f":{port:04X}"
        deadline = time.monotonic() + 10
        kind, when = timer(ends)
        while kind != KEEPALIVE and time.monotonic() < deadline:  # first it waits for our ACK
            time.sleep(0.1)
            kind, when = timer(ends)
    assert kind == KEEPALIVE
    assert when <= 200


def timer(ends: tuple[str, str]) -> tuple[str, int]:
    """What the kernel waits for on a connection, and how long, in hundredths of a second."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    # A table that changes while it is read names a connection twice, and keeps ended ones.
    live = {row[9]: row[5] for row in rows if (row[1][8:], row[2][8:], row[3]) == (*ends, "01")}
    [found] = live.values()
    kind, when = found.split(":")
    return kind, int(when, 16)


def test_a_mark_stays_until_something_happens(server: PostgresServer, endpoint: Endpoint) -> None:
    """Held throughout by the same session; a lost fence never looks like one that held."""
    assert mark(endpoint) != mark(endpoint)
    fence = Fence.take(endpoint)
    locked = mark(endpoint)
    assert locked.startswith("locked")
    assert locked == mark(endpoint)
    fence.keep()
    kept = mark(endpoint)
    assert kept.startswith("kept")
    server.sql("vacuum analyze", database="Ä pp")
    assert kept == mark(endpoint)
    with server.connect("Ä pp", application_name="crossfade") as conn:
        conn.execute("create table late (i int)")
    assert mark(endpoint).startswith("not fenced")
    assert not prove(endpoint).holds
    Fence.take(endpoint).keep()
    assert mark(endpoint).startswith("kept")
    assert mark(endpoint) != kept
    lift(endpoint)
    server.sql("drop table late", database="Ä pp")


def test_keep_tells_when_the_locks_were_lost(server: PostgresServer, endpoint: Endpoint) -> None:
    """The fence stands again, but what was written in between is for somebody to judge."""
    fence = Fence.take(endpoint)
    before = mark(endpoint)
    end = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = %s"
    wait_until("the session has ended", lambda: not server.sql(end, (FENCE,)))
    assert mark(endpoint) != before
    with pytest.raises(Failed) as failed:
        fence.keep()
    assert failed.value.code == "fence-lost"
    assert prove(endpoint).holds


def test_lifting_works_from_every_state(server: PostgresServer, endpoint: Endpoint) -> None:
    """None, kept twice, half of it, and with a reader who does not go."""
    nothing = leavings(server)
    lift(endpoint)
    Fence.take(endpoint).keep()
    Fence.take(endpoint).keep()
    assert leavings(server) != nothing
    lift(endpoint)
    assert leavings(server) == nothing
    Fence.take(endpoint).keep()
    server.sql("drop event trigger crossfade_fence", database="Ä pp")
    with server.connect("Ä pp", application_name="crossfade") as conn:
        conn.execute('drop trigger crossfade_fence on "Schéma 1".fast')
    assert not prove(endpoint).holds
    with closing(session(server)) as reader:
        reader.execute('select count(*) from "T""one"')
        lift(endpoint)
    assert leavings(server) == nothing


def leavings(server: PostgresServer) -> list[tuple[object, ...]]:
    """Everything whose name could be ours."""
    return server.sql(
        """select 'schema', nspname from pg_namespace where nspname like '%crossfade%'
           union all select 'function', proname from pg_proc where prosrc ilike '%crossfade%'
           union all select 'trigger', tgname from pg_trigger where tgname like '%crossfade%'
           union all select 'event', evtname from pg_event_trigger""",
        database="Ä pp",
    )


def test_what_would_stand_in_the_way_is_told_before(
    server: PostgresServer, endpoint: Endpoint
) -> None:
    """No superuser; somebody else's subscription."""
    assert problems(endpoint) == ()
    weak = dataclasses.replace(endpoint, admin="Grantée", admin_password="")
    codes = {"fence-right-missing"}
    server.sql("alter role \"Grantée\" password 'secret'")
    weak = dataclasses.replace(weak, admin_password="secret")
    assert {problem.code for problem in problems(weak)} == codes
    create = (
        "create subscription others connection 'dbname=x' publication p"
        " with (connect = false, slot_name = none, enabled = false)"
    )
    server.sql(create, database="Ä pp")
    server.sql("update pg_subscription set subenabled = true")
    try:
        assert {problem.code for problem in problems(endpoint)} == {"database-fed-by-others"}
        assert problems(endpoint, ["others"]) == ()
    finally:
        server.sql("alter subscription others disable", database="Ä pp")
        server.sql("drop subscription others", database="Ä pp")


def test_too_many_tables_are_refused_before(tmp_path: Path) -> None:
    """Each takes a lock of the server's shared memory; others must not run out of them."""
    settings = {"max_locks_per_transaction": "10", "max_connections": "20"}
    with PostgresServer(tmp_path, settings=settings) as small:
        endpoint = small.create("app", user="app")
        for hundred in range(2):
            small.sql(
                "do $$ begin for i in 1..100 loop"
                f" execute 'create table t{hundred}_' || i || ' ()'; end loop; end $$",
                database="app",
            )
        [problem] = problems(endpoint)
        assert problem.code == "too-many-tables"
        assert "max_locks_per_transaction" in problem.next
