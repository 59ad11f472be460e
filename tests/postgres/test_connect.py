"""Sessions on a PostgreSQL server, and errors that explain themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from psycopg import sql

from crossfade.drivers.databases.postgres.connect import connect, explained, fetch, one, run
from crossfade.drivers.databases.postgres.programs import (
    access,
    find_programs,
    run_program,
    server_arguments,
)
from crossfade.errors import Failed, UsageError
from crossfade.model import Address
from crossfade.testing.servers import PostgresServer

Servers = Callable[..., PostgresServer]


@pytest.fixture
def server(server_of: Servers) -> PostgresServer:
    """A server of this machine's own major."""
    return server_of(15)


def test_a_session_of_ours_has_our_settings(server: PostgresServer) -> None:
    """What an administrator set for the application does not reach us."""
    server.sql('create database "Ein \'é \\ Name"')
    endpoint = server.endpoint("Ein 'é \\ Name", user="postgres")
    for setting in ("search_path = app", "statement_timeout = 1", "timezone = 'Asia/Tokyo'"):
        server.sql(f'alter database "Ein \'é \\ Name" set {setting}')
    with connect(endpoint, application_name="crossfade tests it") as conn:
        assert one(conn, "select current_database()") == "Ein 'é \\ Name"
        assert one(conn, "select current_setting('search_path')") == ""
        assert one(conn, "select current_setting('statement_timeout')") == "0"
        assert one(conn, "select current_setting('timezone')") == "UTC"
        assert one(conn, "select current_setting('application_name')") == "crossfade tests it"
        assert one(conn, "select pg_sleep(0.05)") == ""
    with connect(endpoint, settings={"work_mem": "7 MB"}) as conn:
        assert one(conn, "select current_setting('work_mem')") == "7MB"


def test_the_application_has_its_own_settings(server: PostgresServer) -> None:
    """As the application we see the database as it does."""
    endpoint = server.create("of the app", user="an app")
    server.sql('alter role "an app" set search_path = somewhere')
    with connect(endpoint, as_app=True) as conn:
        assert one(conn, "select current_user::text") == "an app"
        assert one(conn, "select current_setting('search_path')") == "somewhere"
    with connect(endpoint, replication=True) as conn:
        assert fetch(conn, "IDENTIFY_SYSTEM")[0][3] == "of the app"


def test_transactions_are_the_callers_when_asked_for(server: PostgresServer) -> None:
    """Without autocommit, what was not committed is gone."""
    endpoint = server.create("transactions", user="an app")
    with connect(endpoint, autocommit=False) as conn:
        run(conn, "create table public.t (a int)")
        conn.rollback()
        assert one(conn, "select to_regclass('public.t') is null")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"database": "nirgends é"}, "database-missing"),
        ({"admin": "niemand é"}, "database-login-refused"),
        ({"admin_password": "file:wrong"}, "database-login-refused"),
        ({"admin_password": ""}, "database-login-refused"),
        ({"address": Address("127.0.0.1", 9)}, "database-unreachable"),
        ({"address": Address("name.invalid", 5432)}, "database-unreachable"),
    ],
)
def test_a_refusal_says_why(
    server: PostgresServer, tmp_path: Path, change: dict[str, object], code: str
) -> None:
    """Each kind of refusal has its code, and no password in its words."""
    (tmp_path / "wrong").write_text("gEh3im-und-falsch\n")
    endpoint = server.endpoint("postgres", user="postgres")
    if change.get("admin_password") == "file:wrong":
        endpoint = replace(endpoint, base=tmp_path)
    with pytest.raises(Failed) as caught:
        connect(replace(endpoint, **change))  # type: ignore[arg-type]
    assert caught.value.code == code
    said = f"{caught.value.what} {caught.value.where}"
    assert "gEh3im" not in said
    assert server.password_of("postgres") not in said


def test_a_password_that_is_not_there_names_its_reference(server: PostgresServer) -> None:
    """A reference that leads nowhere is a usage error."""
    endpoint = replace(server.endpoint("postgres", user="x"), admin_password="env:NOT_SET_ANYWHERE")
    with pytest.raises(UsageError, match="NOT_SET_ANYWHERE"):
        connect(endpoint)


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("select 1 / 0", "database-error"),
        ("insert into public.once values (1)", "database-duplicate-key"),
        ("select pg_terminate_backend(pg_backend_pid())", "database-connection-lost"),
        ("set role nobody_special; table public.once", "database-right-missing"),
        ("set statement_timeout = 10; select pg_sleep(9)", "database-statement-timeout"),
    ],
)
def test_errors_of_statements_have_codes(server: PostgresServer, statement: str, code: str) -> None:
    """What the server says becomes one of our errors, without the values of a row."""
    endpoint = server.endpoint("postgres", user="x")
    server.sql("create table if not exists public.once (secret int primary key)")
    server.sql("insert into public.once values (1) on conflict do nothing")
    if not server.sql("select 1 from pg_roles where rolname = 'nobody_special'"):
        server.sql("create role nobody_special")
    with connect(endpoint) as conn:
        with pytest.raises(Failed) as caught, explained("try it", endpoint):
            conn.execute(statement.encode())
        assert caught.value.code == code
        assert caught.value.what.startswith("Crossfade cannot try it: ")
        assert "(secret)=(1)" not in caught.value.what


def test_programs_log_in_with_any_password(server: PostgresServer, tmp_path: Path) -> None:
    """A password, a role and a database with every special character reach psql, unseen."""
    password = "a:b\\c'd\"e f é"
    (tmp_path / "secret").write_text(password)
    role, database = "Röle: \\ x", "host=evil 'x\\"
    server.sql(
        sql.SQL("create role {} superuser login password {}").format(
            sql.Identifier(role), sql.Literal(password)
        )
    )
    server.sql(sql.SQL("create database {}").format(sql.Identifier(database)))
    endpoint = replace(
        server.endpoint(database, user="x"),
        admin=role,
        admin_password="file:secret",
        base=tmp_path,
    )
    programs = find_programs(150000)
    with access(endpoint, {"application_name": "with spaces"}) as by:
        argv = (programs.path("psql"), *server_arguments(endpoint), "-XAtc", "select user")
        assert run_program(argv, by, doing="x", where="y").decode().strip() == role
        assert password not in " ".join([*argv, *by.environment.values()])
        assert password not in repr(by)
        with pytest.raises(Failed, match="division by zero") as caught:
            run_program(
                (*argv[:-1], "select 1/0", "--set=ON_ERROR_STOP=1"), by, doing="x", where="y"
            )
        assert caught.value.code == "database-program-failed"


def test_programs_that_are_too_old_are_refused() -> None:
    """The error names the package that helps."""
    with pytest.raises(Failed, match="postgresql-client-99") as caught:
        find_programs(990001)
    assert caught.value.code == "program-missing"
