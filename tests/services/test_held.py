"""Held starts at the doors of a holder, with real servers and their own clients."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from tests.services.conftest import Make
from tests.services.test_relay import pid_of
from tests.testbed.site import eventually

from crossfade.drivers import procfs
from crossfade.drivers.services.holding import Holding
from crossfade.drivers.services.process import ProcessService
from crossfade.errors import Failed
from crossfade.testing.free_ports import free_ports
from crossfade.testing.servers import MariadbServer, PostgresServer

# what a careful program does: everything without data first, then some connections
PROGRAM = """
import os, sys, threading, time
import psycopg

def one(number):
    where = os.environ["DSN"] + " application_name=server"
    with psycopg.connect(where, password=os.environ["PASSWORD"]) as connection:
        value = connection.execute("select value from state").fetchone()[0]
        print(number, "read", value, flush=True)
        time.sleep(600)

print("loaded by", sys.argv[1:], flush=True)
threads = [threading.Thread(target=one, args=(n,)) for n in range(int(os.environ["COUNT"]))]
[thread.start() for thread in threads]
"""
MIGRATION = """
import os, sys, psycopg
print("migration loaded", flush=True)
where = os.environ["DSN"] + " application_name=migration"
with psycopg.connect(where, password=os.environ["PASSWORD"]) as connection:
    connection.execute("update state set value = value || ' migrated'")
    connection.execute("select pg_sleep(0.3)")
sys.exit(int(os.environ.get("STATUS", "0")))
"""
COMES_AGAIN = """
import os, time, psycopg
where = os.environ["DSN"] + " application_name=server connect_timeout=2"
while True:
    try:
        connection = psycopg.connect(where, password=os.environ["PASSWORD"])
        break
    except psycopg.OperationalError as error:
        print("gave up:", error, flush=True)
print("read", connection.execute("select value from state").fetchone()[0], flush=True)
time.sleep(600)
"""
GIVES_UP = COMES_AGAIN.replace('print("gave up:", error, flush=True)', "raise SystemExit(3)")


@pytest.fixture(autouse=True)
def state(postgres: PostgresServer) -> None:
    """What the program reads: stale until the last sync has been made."""
    postgres.sql(
        "drop table if exists state; create table state (value text);"
        " insert into state values ('stale'); alter table state owner to app",
        database="app",
    )


class Case:
    """A service of a program at a PostgreSQL database, through doors."""

    def __init__(self, make: Make, server: PostgresServer, text: str, **given: Any) -> None:
        self.server = server
        ports = free_ports(2)
        direct = f"host=127.0.0.1 port={server.address.port} dbname=app user=app"
        held = [direct.replace(f"port={server.address.port}", f"port={port}") for port in ports]
        lists = given.pop("lists", None)  # options of a connection to a list of hosts
        if lists is not None:
            hosts = f"host=127.0.0.1,127.0.0.1 port={{}},{{}} dbname=app user=app {lists}"
            held = [hosts.format(port, server.address.port) for port in ports]
        target = str(server.address)
        environment = {"DSN": direct, "PASSWORD": f"file:{server.secret_of('app')}", "COUNT": "1"}
        migration = given.pop("migration", "")
        values: dict[str, Any] = {
            "environment": {**environment, **given.pop("environment", {})},
            "doors": {"server": (f"127.0.0.1:{ports[0]}", target)},
            "held_environment": {"DSN": held[0]},
            "base": "/",
        }
        if lists is not None:
            values["sends_on"] = ("server", "migration")
        if migration:
            values["doors"]["migration"] = (f"127.0.0.1:{ports[1]}", target)
            values |= {"migrate": (sys.executable, "-c", migration)}
            values |= {"migrate_doors": ("migration",)}
            values |= {"held_migrate_environment": {"DSN": held[1]}}
        self.service = make(text, **{**values, **given})
        self.began = len(self.log())

    def log(self) -> list[str]:
        """The server's own log of connections and log-ins of the application's role."""
        lines = self.server.log.read_text(errors="replace").splitlines()
        return [line for line in lines if "user=app database=app" in line]

    def newcomers(self) -> int:
        """Log-ins of the application's role since this case began."""
        return len(self.log()) - self.began

    def logged(self, text: str) -> int:
        """How many lines of the program's log hold a text."""
        return sum(text in line for line in self.service.log_tail(500))

    def holder(self) -> Holding:
        """The service's holder."""
        return Holding(self.service.keep / f"{self.service.spec.mark}.holder.json")

    def sync(self) -> None:
        """What the last sync does: only now is the data what the program should read."""
        self.server.sql("update state set value = 'fresh'", database="app")


@pytest.fixture
def case(program: Make, postgres: PostgresServer) -> Callable[..., Case]:
    """Makes cases."""
    return lambda text=PROGRAM, **given: Case(program, postgres, text, **given)


Cases = Callable[..., Case]


def told(service: ProcessService, text: str) -> bool:
    """Whether a finding says so; all findings of a held start must hold."""
    findings = service.held()
    assert all(finding.holds for finding in findings)
    return any(text in f"{finding.claim}: {finding.observed}" for finding in findings)


@pytest.mark.parametrize("count", [1, 20])
def test_nothing_reaches_the_server_before_the_opening(case: Cases, count: int) -> None:
    """The server's log and statistics see nobody until ``start``; then the fresh data is read."""
    one = case(environment={"COUNT": str(count)})
    sessions = "select sessions, blks_hit + blks_read from pg_stat_database where datname = 'app'"
    before = one.server.sql(sessions)
    one.service.prepare()
    assert told(one.service, f"waits with {count} connections")
    assert one.logged("loaded by") == 1
    assert one.service.look().running is False, "what waits does not run yet"
    assert ProcessService(one.service.spec, one.service.keep).look().running is False
    assert one.newcomers() == 0
    assert one.server.sql(sessions) == before
    one.sync()
    began = one.newcomers()
    one.service.start()
    eventually(lambda: one.logged("read fresh") == count)
    assert one.service.look().running is True
    assert one.newcomers() - began == count
    assert told(one.service, "bytes that reached")
    assert told(one.service, "connections that reached")
    assert one.logged("stale") == 0


def test_mariadb(program: Make, mariadb: MariadbServer) -> None:
    """PyMySQL, where the server speaks first, waits as well; the server counts no connection."""
    (port,) = free_ports(1)
    text = (
        "import os, time, pymysql\n"
        "connection = pymysql.connect(host='127.0.0.1', port=int(os.environ['PORT']), user='app',"
        " password=os.environ['PASSWORD'], database='app')\n"
        "cursor = connection.cursor(); cursor.execute('select value from state')\n"
        "print('read', cursor.fetchone()[0], flush=True); time.sleep(600)\n"
    )
    mariadb.sql("create or replace table state (value text)", database="app")
    mariadb.sql("insert into state values ('stale')", database="app")
    service = program(
        text,
        environment={
            "PORT": str(mariadb.address.port),
            "PASSWORD": f"file:{mariadb.secret_of('app')}",
        },
        doors={"server": (f"127.0.0.1:{port}", str(mariadb.address))},
        held_environment={"PORT": str(port)},
        base="/",
    )

    def connections() -> int:
        ((_, count),) = mariadb.sql("show global status like 'Connections'")
        return int(count)

    before = connections()
    service.prepare()
    assert told(service, "waits with 1 connections")
    assert connections() - before == 1, "our own, which asks"
    mariadb.sql("update state set value = 'fresh'", database="app")
    service.start()
    eventually(lambda: any("read fresh" in line for line in service.log_tail(5)))


def test_migration_goes_first(case: Cases) -> None:
    """The server waits at its own door until the migration, held as well, has ended with 0."""
    one = case(migration=MIGRATION)
    one.service.prepare()
    assert one.logged("migration loaded") == 1
    assert one.newcomers() == 0
    one.sync()
    one.service.start()
    eventually(lambda: one.logged("read fresh migrated") == 1)
    applications = [line.rpartition("application_name=")[2] for line in one.log()[one.began :]]
    assert applications == ["migration", "server"]
    assert told(one.service, "migration is loaded before the pause")


def test_migration_that_fails(case: Cases) -> None:
    """A status other than 0 is an error with the log's last lines; the server stays outside."""
    one = case(migration=MIGRATION, environment={"STATUS": "7"})
    one.service.prepare()
    with pytest.raises(Failed) as caught:
        one.service.start()
    assert caught.value.code == "migration-failed"
    assert "status 7" in caught.value.what
    assert "migration loaded" in caught.value.where
    one.service.stop(2)
    assert one.logged("read stale") + one.logged("read fresh") == 0
    assert procfs.with_mark("CROSSFADE_SERVICE", one.service.spec.mark) == set()


@pytest.mark.parametrize("held", [True, False])
def test_plain_start_migrates_too(case: Cases, held: bool) -> None:
    """Without any preparation, or with the migration alone not held, all goes directly."""
    one = case(migration=MIGRATION, hold_by="off" if not held else "", migrate_doors=())
    if held:
        one.service.prepare()
    one.sync()
    one.service.start()
    eventually(lambda: one.logged("read fresh migrated") == 1)


def test_migration_that_never_ends(case: Cases) -> None:
    """It is ended after the time it may take."""
    one = case(migration="import time; time.sleep(600)", migrate_doors=(), migrate_at_most=0.3)
    with pytest.raises(Failed) as caught:
        one.service.start()
    assert caught.value.code == "migration-failed"
    eventually(lambda: procfs.with_mark("CROSSFADE_SERVICE", one.service.spec.mark) == set())


def test_program_that_comes_again(case: Cases) -> None:
    """A client with a time-out of its own that tries again still gets a held start."""
    one = case(COMES_AGAIN)
    one.service.prepare()
    eventually(lambda: one.logged("gave up") >= 1)
    assert one.newcomers() == 0
    one.sync()
    one.service.start()
    eventually(lambda: one.logged("read fresh") == 1)
    assert told(one.service, "bytes that reached")


def test_program_that_gives_up(case: Cases) -> None:
    """One that ends while it waits is started plainly, with the direct address, and it is told."""
    one = case(GIVES_UP)
    one.service.prepare()
    assert told(one.service, "waits with 1 connections")
    eventually(lambda: not procfs.with_mark("CROSSFADE_SERVICE", one.service.spec.mark))
    one.sync()
    one.service.start()
    assert told(one.service, "plain start instead: it ended (status 3) while it waited")
    eventually(lambda: one.logged("read fresh") == 1)
    assert one.holder().doors() is None


@pytest.mark.parametrize(
    ("text", "words"),
    [("raise SystemExit(4)", "it ended (status 4)"), ("import time; time.sleep(600)", "in 0.8 s")],
)
def test_program_that_never_comes(case: Cases, text: str, words: str) -> None:
    """One that ends or does something else in time is not held; ``start`` starts it plainly."""
    one = case(text, ready_within=0.8)
    one.service.prepare()
    assert told(one.service, words)
    assert procfs.with_mark("CROSSFADE_SERVICE", one.service.spec.mark) == set()
    one.service.start()
    if "sleep" in text:
        assert one.service.look().running is True


def test_program_that_connects_late(case: Cases) -> None:
    """A program that listens, and connects only when asked, is ready as soon as it listens."""
    (port,) = free_ports(1)
    text = (
        "import os, socket, psycopg\n"
        "listener = socket.create_server(('127.0.0.1', int(os.environ['PORT'])))\n"
        "client, _ = listener.accept()\n"
        "where = os.environ['DSN'] + ' application_name=server'\n"
        "with psycopg.connect(where, password=os.environ['PASSWORD']) as connection:\n"
        "    value = connection.execute('select value from state').fetchone()[0]\n"
        "    client.sendall(value.encode())\n"
        "import time; time.sleep(600)\n"
    )
    one = case(text, address=f"127.0.0.1:{port}", environment={"PORT": str(port)})
    one.service.prepare()
    assert told(one.service, "listens already")
    assert one.service.look().running is False
    one.sync()
    one.service.start()
    with socket.create_connection(("127.0.0.1", port), 20) as client:
        assert client.recv(100) == b"fresh"


def test_doors_are_not_for_a_program_that_runs(case: Cases) -> None:
    """A side that serves is left alone: no second program beside it, no holder."""
    one = case()
    one.service.start()
    eventually(lambda: one.logged("read stale") == 1)
    pids = one.service.look().pids
    one.service.prepare()
    assert one.service.look().pids == pids
    assert one.holder().doors() is None


def test_switched_off(case: Cases) -> None:
    """``off`` prepares nothing."""
    one = case(hold_by="off")
    one.service.prepare()
    assert one.logged("loaded") == 0
    assert one.service.held() == []
    one.service.start()
    eventually(lambda: one.logged("read stale") == 1)


@pytest.mark.parametrize("opened", [False, True])
def test_holder_is_killed(case: Cases, opened: bool) -> None:
    """Killed while it holds: a plain start.  Killed when open: connections break, and the program
    is back with its direct address after a stop and a start."""
    one = case()
    one.service.prepare()
    if opened:
        one.service.start()
        eventually(lambda: one.logged("read stale") == 1)
    os.kill(pid_of(one.holder()), signal.SIGKILL)
    one.sync()
    if opened:
        one.service.stop(5)
    one.service.start()
    eventually(lambda: one.logged("read fresh") == 1)
    if not opened:
        assert told(one.service, "plain start instead")


def test_target_that_is_down(case: Cases, tmp_path: Path) -> None:
    """When the database is gone at the opening the program sees a broken connection and ends."""
    (dead,) = free_ports(1)
    one = case()
    doors = {"server": (one.service.spec.doors["server"][0], f"127.0.0.1:{dead}")}
    spec = one.service.spec
    service = ProcessService(replace(spec, doors=doors), one.service.keep)
    service.prepare()
    service.start()
    eventually(lambda: service.look().running is False)
    assert one.logged("server closed the connection unexpectedly") == 1
    service.stop(1)


def test_longest_hold(case: Cases) -> None:
    """After the longest hold nobody waits any more, and ``start`` is a plain one."""
    one = case(COMES_AGAIN, hold_at_most=4.0)
    one.service.prepare()
    eventually(lambda: one.holder().doors() is None)
    one.sync()
    one.service.start()
    assert told(one.service, "plain start instead: the holder")
    eventually(lambda: one.logged("read fresh") == 1)


def test_stop_ends_what_waits(case: Cases) -> None:
    """Stopping a prepared service ends it, its migration and the holder; nothing was connected."""
    one = case(migration=MIGRATION)
    one.service.prepare()
    one.service.stop(5, keep_prepared=True)
    assert one.holder().doors() is not None
    one.service.stop(5)
    assert one.holder().doors() is None
    assert procfs.with_mark("CROSSFADE_SERVICE", one.service.spec.mark) == set()
    assert one.newcomers() == 0


def test_stop_ends_the_holder(case: Cases) -> None:
    """Stopping a program that runs through an open door ends the holder after it."""
    one = case()
    one.service.prepare()
    one.service.start()
    eventually(lambda: one.logged("read stale") == 1)
    one.service.stop(5)
    assert one.holder().doors() is None
    assert not one.holder().file.exists()


def test_burial_and_revival_know_no_doors(case: Cases) -> None:
    """The dead-man's switch ends what waits, doors and all, and starts it directly again."""
    one = case(migration=MIGRATION)
    one.service.prepare()
    burial, revival = one.service.burial(), one.service.revival()
    subprocess.run(burial, check=True)
    assert one.holder().doors() is None
    assert procfs.with_mark("CROSSFADE_SERVICE", one.service.spec.mark) == set()
    one.sync()
    subprocess.run(revival, check=True)
    eventually(lambda: one.logged("read fresh") == 1)
    assert one.logged("migration loaded") == 1, "what served before needs no migration"
    description = next(one.service.keep.glob("*[0-9].json")).read_text(encoding="utf-8")
    assert one.service.spec.doors["server"][0] not in description
    one.service.stop(5)


TOOL = (
    "import json, os, signal, sys\nfrom pathlib import Path\n"
    "from crossfade.drivers.services.process import ProcessService\n"
    "from crossfade.drivers.services.spawn import ProcessSpec\n"
    "given = json.loads(sys.argv[1])\n"
    "spec = ProcessSpec(**{k: tuple(v) if isinstance(v, list) else v for k, v in given.items()})\n"
    "service = ProcessService(spec, Path(sys.argv[2]))\n"
    "service.prepare()\n"
    "if sys.argv[3] == 'start': service.start()\n"
    "os.kill(os.getpid(), signal.SIGKILL)\n"
)


def die_after(one: Case, verb: str) -> None:
    """Let another process prepare (and start) the service, and be killed."""
    spec = json.dumps(asdict(one.service.spec))
    argv = (sys.executable, "-c", TOOL, spec, str(one.service.keep), verb)
    done = subprocess.run(argv, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL


def test_tool_killed_between_prepare_and_start(case: Cases) -> None:
    """What was held ends by itself and has reached nothing; the next one starts as if new."""
    one = case(COMES_AGAIN)
    die_after(one, "prepare")
    eventually(lambda: procfs.with_mark("CROSSFADE_SERVICE", one.service.spec.mark) == set())
    eventually(lambda: one.holder().doors() is None)
    assert one.newcomers() == 0
    one.service.prepare()
    one.sync()
    one.service.start()
    eventually(lambda: one.logged("read fresh") == 1)


def test_another_takes_over_at_once(case: Cases) -> None:
    """Who starts it while remains of a killed tool still wait ends them first."""
    one = case(COMES_AGAIN)
    die_after(one, "prepare")
    one.sync()
    one.service.start()
    eventually(lambda: one.logged("read fresh") == 1)
    assert len(one.service.look().pids) == 1


def test_holder_outlives_us_and_ends_after_the_program(case: Cases) -> None:
    """The open door works on when the tool is killed, and is found again by the next to stop it."""
    one = case()
    die_after(one, "start")
    eventually(lambda: one.logged("read stale") == 1)
    assert one.service.look().running is True
    doors = one.holder().doors()
    assert doors is not None
    assert (doors["server"]["state"], doors["server"]["open_connections"]) == ("open", 1)
    assert len(one.service.look().pids) == 1
    one.service.stop(5)
    assert one.holder().doors() is None


def test_migration_that_cannot_be_held(case: Cases) -> None:
    """It is run plainly, the program is held all the same; and the door that nobody used does not
    tie the program to the tool, which is killed."""
    refuses = "import os\nif 'CROSSFADE_HELD' in os.environ: raise SystemExit(5)\n"
    one = case(migration=refuses + MIGRATION)
    die_after(one, "start")
    eventually(lambda: one.logged("read stale migrated") == 1)
    applications = [line.rpartition("application_name=")[2] for line in one.log()[one.began :]]
    assert applications == ["migration", "server"]
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        doors = one.holder().doors()
        assert doors is not None
        assert [door["state"] for door in doors.values()] == ["open", "given-up"]
        assert one.service.look().running is True
        time.sleep(0.1)


def test_holder_ends_by_itself(hold: Any, postgres: PostgresServer) -> None:
    """When the last process with the service's mark has been gone for a while it ends."""
    mark = f"alone-{os.getpid()}-{time.monotonic_ns()}"
    environment = {**os.environ, "CROSSFADE_SERVICE": mark}
    argv = (sys.executable, "-c", "import time; time.sleep(600)")
    with subprocess.Popen(argv, env=environment) as person:
        target = str(postgres.address)
        holding, _ = hold({"one": target}, mark=("CROSSFADE_SERVICE", mark), linger=0.1)
        holding.open("one")
        until = time.monotonic() + 3.0
        while time.monotonic() < until:
            assert holding.doors() is not None, "the program lives"
            time.sleep(0.1)
        person.kill()
    eventually(lambda: holding.doors() is None)
    assert not holding.file.exists()


def test_no_secret_is_left(case: Cases, tmp_path: Path) -> None:
    """Neither files nor arguments nor the holder's environment have the password."""
    one = case(migration=MIGRATION)
    secret = one.server.password_of("app").encode()
    one.service.prepare()
    pid = pid_of(one.holder())
    assert secret not in Path(f"/proc/{pid}/environ").read_bytes()
    held = procfs.with_mark("CROSSFADE_SERVICE", one.service.spec.mark)
    assert len(held) >= 2
    for process in (pid, *held):
        assert secret not in Path(f"/proc/{process}/cmdline").read_bytes()
    kept = [path for path in one.service.keep.iterdir() if path.is_file()]
    assert len(kept) >= 3
    for path in kept:
        assert secret not in path.read_bytes()
        assert path.stat().st_mode & 0o077 == 0 or path.suffix in (".held", ".lock")
