"""A scratch PostgreSQL server, of any major version that this machine has."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import psycopg
from psycopg import sql

from crossfade.errors import Failed
from crossfade.model import Endpoint
from crossfade.testing.servers._majors import clients_of, find_major, newest
from crossfade.testing.servers._server import ScratchServer

__all__ = ["PostgresServer"]


class PostgresServer(ScratchServer):
    """A PostgreSQL server on 127.0.0.1 whose superuser is ``postgres`` (scram-sha-256).

    major is one of ``majors()``; without it that of the data, or the newest of them.  initdb are
    further arguments of
    that program, such as ``--encoding=LATIN1`` (default: UTF8 and the locale C.UTF-8).
    """

    kind: ClassVar[str] = "postgres"
    admin: ClassVar[str] = "postgres"
    stop_signals: ClassVar[tuple[signal.Signals, ...]] = (signal.SIGINT, signal.SIGQUIT)

    def __init__(
        self,
        directory: Path,
        major: int | None = None,
        *,
        settings: Mapping[str, str] | None = None,
        durable: bool = False,
        initdb: Sequence[str] = (),
    ) -> None:
        find_major(major or newest())  # before anything is made
        super().__init__(directory, settings=settings, durable=durable)
        self.major = major or self._major_of_data() or newest()
        self.programs = find_major(self.major)
        self.initdb = tuple(initdb)

    def connect(self, database: str = "postgres", **given: Any) -> psycopg.Connection:
        """A connection of the superuser, in autocommit mode unless said otherwise."""
        values: dict[str, Any] = {
            "host": self.address.host,
            "port": self.address.port,
            "dbname": database,
            "user": self.admin,
            "password": self.password_of(self.admin),
            "autocommit": True,
            "connect_timeout": 10,
            **given,
        }
        return psycopg.connect(**values)

    def sql(
        self,
        statement: str | sql.Composable,
        parameters: Sequence[object] | Mapping[str, object] | None = None,
        *,
        database: str = "postgres",
    ) -> list[tuple[Any, ...]]:
        """Run SQL as superuser; the rows of the last statement, if it has any.

        Several statements may be given in one string when there are no parameters."""
        with self.connect(database) as connection:
            text = statement if isinstance(statement, str) else statement.as_string(connection)
            cursor = connection.execute(text.encode(), parameters)
            while cursor.nextset():
                pass
            return cursor.fetchall() if cursor.description else []

    def create(self, database: str, *, user: str) -> Endpoint:
        """Make a role that can log in (if it is not ours yet) and an empty database of its own."""
        if not self.secret_of(user).exists():
            password = self.new_secret(user)
            self.sql(
                sql.SQL("create role {} login password {}").format(
                    sql.Identifier(user), sql.Literal(password)
                )
            )
        self.sql(
            sql.SQL("create database {} owner {}").format(
                sql.Identifier(database), sql.Identifier(user)
            )
        )
        return self.endpoint(database, user=user)

    def program(self, name: str) -> Path:
        """A program of this major, or of a newer one where this one came without it."""
        for programs in (self.programs, *clients_of(self.major)):
            if (programs / name).exists():
                return programs / name
        raise Failed(
            "program-missing",
            f"There is no {name} that fits PostgreSQL {self.major}.",
            where=str(self.programs),
        )

    def _prepare(self, password: str) -> None:
        password_file = self.secret_of(self.admin)
        self.run(
            (
                str(self.programs / "initdb"),
                f"--pgdata={self.data}",
                f"--username={self.admin}",
                f"--pwfile={password_file}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--no-sync",
                *self.initdb,
            ),
            f"Making a PostgreSQL {self.major} data directory",
        )
        with (self.data / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write("\ninclude 'crossfade.conf'\n")

    def _configure(self) -> None:
        quick = {"fsync": "off", "full_page_writes": "off"}  # what is committed survives kill -9
        settings = {
            "lc_messages": "C",
            "logging_collector": "off",
            "timezone": "UTC",
            "log_timezone": "UTC",
            **({} if self.durable else quick),
            **self.settings,
            "listen_addresses": self.address.host,
            "port": str(self.address.port),
            "unix_socket_directories": str(self.sockets),
        }
        lines = [f"{name} = '{_quoted(value)}'\n" for name, value in settings.items()]
        self.write_private(self.data / "crossfade.conf", "".join(lines))

    def _command(self) -> tuple[str, ...]:
        return (str(self.programs / "postgres"), "-D", str(self.data))

    def _answers(self) -> bool:
        try:
            self.connect(connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def _major_of_data(self) -> int | None:
        try:
            return int((self.data / "PG_VERSION").read_text(encoding="utf-8"))
        except (FileNotFoundError, PermissionError):
            return None

    def _listed_pid(self) -> int | None:
        try:
            first = (self.data / "postmaster.pid").read_text(encoding="utf-8").split("\n")[0]
        except FileNotFoundError:
            return None
        return int(first) if first.isdigit() else None


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "''")
