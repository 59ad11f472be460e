"""Scratch servers: real ones, of every kind and major, apart from each other and gone when done."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pymysql
import pytest

from crossfade.drivers import listeners, procfs
from crossfade.errors import Failed
from crossfade.manifest import resolve
from crossfade.model import Address, Endpoint
from crossfade.testing.servers import MariadbServer, PostgresServer

Server = PostgresServer | MariadbServer
Make = Callable[[Path], Server]

ODD = 'Größe "7" `x` 100%_\\'
"""A name that shows every quoting mistake."""


def postgres(directory: Path) -> Server:
    """PostgreSQL, whichever is the newest."""
    return PostgresServer(directory)


def mariadb(directory: Path) -> Server:
    """MariaDB with a binary log."""
    return MariadbServer(directory, settings={"log_bin": "binlog"})


KINDS = pytest.mark.parametrize("make", [postgres, mariadb])


def log_in(endpoint: Endpoint, *, password: str | None = None, admin: bool = False) -> str:
    """Log in over TCP and say as whom the server knows us."""
    user, reference = endpoint.user, endpoint.password
    if admin:
        user, reference = endpoint.admin, endpoint.admin_password
    secret = resolve(reference, endpoint.base) if password is None else password
    where: dict[str, Any] = {
        "host": endpoint.address.host,
        "port": endpoint.address.port,
        "user": user,
        "password": secret,
    }
    if endpoint.kind == "postgres":
        with psycopg.connect(**where, dbname=endpoint.database) as connection:
            row = connection.execute("select current_user").fetchone()
    else:
        with closing(pymysql.connect(**where, database=endpoint.database)) as link:
            cursor = link.cursor()
            cursor.execute("select substring_index(user(), '@', 1)")
            row = cursor.fetchone()
    assert row is not None
    return str(row[0])


@pytest.fixture(scope="module", params=[postgres, mariadb])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A running server that tests only add to."""
    with request.param(tmp_path_factory.mktemp("server") / "of ours") as running:
        yield running


def test_only_this_machine_reaches_it(server: Server) -> None:
    """It listens on 127.0.0.1 and nowhere else, below the ports of outgoing connections."""
    port = server.address.port
    assert server.address.host == "127.0.0.1"
    assert 1024 < port < 32768
    assert server.pid in listeners.listening_pids(server.address)
    for other in ("127.0.0.2", "::1"):
        assert not listeners.listening_pids(Address(other, port))


def test_is_no_superuser_of_this_machine(server: Server) -> None:
    """No process of it runs as root, and others cannot look into its directories."""
    assert server.pid is not None
    for pid in procfs.descendants([server.pid]):
        assert Path(f"/proc/{pid}").stat().st_uid != 0
    for private in (server.data, server.secrets):
        assert stat.S_IMODE(private.stat().st_mode) & 0o077 == 0
    assert len(os.fsencode(server.sockets)) < 90


def test_passwords_stay_secret(server: Server) -> None:
    """They stand in files of mode 0600, not in arguments, environments or the log."""
    endpoint = server.create("secret", user="secret")
    for reference in (endpoint.password, endpoint.admin_password):
        file = endpoint.base / reference.removeprefix("file:")
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        password = resolve(reference, endpoint.base)
        assert len(password) >= 24
        assert password not in server.log.read_text()
        assert server.pid is not None
        for pid in procfs.descendants([server.pid]):
            assert password not in " ".join(procfs.command_of(pid))
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended
                assert password.encode() not in Path(f"/proc/{pid}/environ").read_bytes()


def test_wrong_password_is_refused(server: Server) -> None:
    """Neither the superuser nor a role of ours gets in without the right password."""
    endpoint = server.create("refused", user="refused")
    assert log_in(endpoint) == "refused"
    assert log_in(endpoint, admin=True) == server.admin
    for admin in (False, True):
        for password in ("", "wrong"):
            with pytest.raises((psycopg.OperationalError, pymysql.err.OperationalError)) as refused:
                log_in(endpoint, password=password, admin=admin)
            assert re.search("password|Access denied", str(refused.value))


def test_socket_wants_the_password_too(server: Server) -> None:
    """The unix socket is no way around it, not even for root."""
    if isinstance(server, PostgresServer):
        assert server.sql("select 1", database="postgres") == [(1,)]
        with server.connect(host=str(server.sockets)) as connection:
            assert connection.execute("select 1").fetchone() == (1,)
        with pytest.raises(psycopg.OperationalError):
            server.connect(host=str(server.sockets), password="wrong")
    else:
        server.connect(unix_socket=str(server.socket)).close()
        with pytest.raises(pymysql.err.OperationalError, match="denied"):
            server.connect(unix_socket=str(server.socket), password="")


def test_names_of_any_kind(server: Server) -> None:
    """Databases and roles may have any name; a role gets its own database and nothing else."""
    endpoint = server.create(ODD, user=ODD)
    assert log_in(endpoint) == ODD
    assert server.endpoint(ODD, user=ODD) == endpoint
    again = server.create("second " + ODD, user=ODD)
    assert again.password == endpoint.password
    assert log_in(again) == ODD
    if isinstance(server, PostgresServer):
        rows = server.sql("select rolsuper from pg_roles where rolname = %s", (ODD,))
        assert rows == [(False,)]
    else:
        server.sql('create database `Größe "7" ``x`` 100xy\\`')  # matches, were _ a wildcard
        with pytest.raises(pymysql.err.OperationalError, match="denied"):
            log_in(server.endpoint('Größe "7" `x` 100xy\\', user=ODD))


@KINDS
def test_killed_and_started_again(make: Make, tmp_path: Path) -> None:
    """After kill -9 it comes back at the same address with what was committed."""
    with make(tmp_path / "server") as server:
        endpoint = server.create("app", user="app")
        server.sql("create table t (a int)", database="app")
        server.sql("insert into t values (1), (2)", database="app")
        first = server.pid
        assert first is not None
        family = procfs.descendants([first])
        server.kill()
        assert not any(procfs.alive(pid) for pid in family)
        with pytest.raises((psycopg.OperationalError, pymysql.err.OperationalError)):
            log_in(endpoint)
        server.start()
        assert server.pid != first
        assert server.sql("select sum(a) from t", database="app") == [(3,)]
        assert log_in(endpoint) == "app"


@KINDS
def test_started_stopped_and_gone(make: Make, tmp_path: Path) -> None:
    """Start and stop may be said twice; in the end there is no process, port or stray file."""
    server = make(tmp_path / "server")
    server.start()
    pid = server.pid
    server.start()
    assert server.pid == pid
    server.stop()
    server.stop()
    assert not listeners.listening_pids(server.address)
    server.start()
    family = procfs.descendants([server.pid or 0])
    elsewhere = server.directory
    server.close()
    assert not any(procfs.alive(pid) for pid in family)
    assert not listeners.listening_pids(server.address)
    if not elsewhere.is_relative_to(tmp_path):
        assert not elsewhere.exists()


@KINDS
def test_two_at_once(make: Make, tmp_path: Path) -> None:
    """Two servers know nothing of each other, and stopping one leaves the other."""
    with make(tmp_path / "one") as one, make(tmp_path / "two") as two:
        assert one.address != two.address
        assert one.pid != two.pid
        assert one.password_of(one.admin) != two.password_of(two.admin)
        one.create("app", user="app")
        with pytest.raises((psycopg.OperationalError, pymysql.err.OperationalError)):
            two.sql("select 1", database="app")
        one.kill()
        assert str(two.sql("select 1")[0][0]) == "1"


@KINDS
def test_settings(make: Make, tmp_path: Path) -> None:
    """Settings hold from the start, and restart adds more."""
    with make(tmp_path / "server") as server:
        if isinstance(server, PostgresServer):
            shown = "select setting from pg_settings where name = 'work_mem'"
            more = {"work_mem": "77kB"}
        else:
            assert server.sql("select @@log_bin") == [(1,)]
            shown, more = "select @@max_connections", {"max_connections": "77"}
        server.restart(more)
        assert str(server.sql(shown)[0][0]) == "77"


@KINDS
def test_one_that_cannot_start_says_why(make: Make, tmp_path: Path) -> None:
    """A server that ends at once is an error with the last lines of its log."""
    server = make(tmp_path / "server")
    server.settings["no_such_setting_at_all"] = "1"
    with pytest.raises(Failed) as failed:
        server.start()
    assert failed.value.code == "server-does-not-start"
    assert "no_such_setting_at_all" in failed.value.where or "no-such" in failed.value.where
    assert server.pid is None
    server.close()


@pytest.mark.parametrize("major", [13, 15, 17])
def test_each_major(major: int, tmp_path: Path) -> None:
    """Each major that the tests use starts, decodes changes logically, and has ICU and contrib."""
    with PostgresServer(tmp_path / "server", major, settings={"wal_level": "logical"}) as server:
        assert server.sql("show server_version")[0][0].startswith(f"{major}.")
        server.sql("select pg_create_logical_replication_slot('s', 'pgoutput')")
        server.sql("create extension hstore; create extension pgcrypto; create extension citext")
        server.sql("create collation de (provider = icu, locale = 'de')")
        assert server.sql("show server_encoding") == [("UTF8",)]
        with server.connect() as connection:
            dump = server.program("pg_dump")
            assert dump.exists()
            assert connection.info.server_version // 10000 == major
