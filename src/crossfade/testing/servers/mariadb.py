"""A scratch MariaDB server."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pymysql
from pymysql.constants import CLIENT

from crossfade.errors import Failed
from crossfade.model import Endpoint
from crossfade.testing.servers._account import give
from crossfade.testing.servers._programs import find_program
from crossfade.testing.servers._server import ScratchServer

__all__ = ["MariadbServer"]


class MariadbServer(ScratchServer):
    """A MariaDB server on 127.0.0.1 whose superuser is ``root`` (mysql_native_password).

    settings are lines of its ``[mariadbd]`` section, such as ``{"log_bin": "binlog"}``.
    """

    kind: ClassVar[str] = "mysql"
    admin: ClassVar[str] = "root"
    stop_signals: ClassVar[tuple[signal.Signals, ...]] = (signal.SIGTERM,)

    def __init__(
        self, directory: Path, *, settings: Mapping[str, str] | None = None, durable: bool = False
    ) -> None:
        self.server_program = _find("mariadbd")
        self.install_program = _find("mariadb-install-db")
        super().__init__(directory, settings=settings, durable=durable)
        self.config = self.directory / "my.cnf"

    @property
    def socket(self) -> Path:
        """The server's unix socket."""
        return self.sockets / "mariadb.sock"

    def connect(self, database: str | None = None, **given: Any) -> pymysql.Connection[Any]:
        """A connection of the superuser, in autocommit mode unless said otherwise."""
        values: dict[str, Any] = {
            "host": self.address.host,
            "port": self.address.port,
            "database": database,
            "user": self.admin,
            "password": self.password_of(self.admin),
            "autocommit": True,
            "charset": "utf8mb4",
            "connect_timeout": 10,
            "ssl_disabled": True,  # on this machine; PyMySQL would load all certificates
            "client_flag": CLIENT.MULTI_STATEMENTS,
            **given,
        }
        return pymysql.connect(**values)

    def sql(
        self,
        statement: str,
        parameters: Sequence[object] | Mapping[str, object] | None = None,
        *,
        database: str | None = None,
    ) -> list[tuple[Any, ...]]:
        """Run SQL as root; the rows of the last statement, if it has any."""
        with self.connect(database) as connection, connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            rows = list(cursor.fetchall())
            while cursor.nextset():
                rows = list(cursor.fetchall())
            return rows

    def create(self, database: str, *, user: str) -> Endpoint:
        """Make a user (if it is not ours yet) and an empty utf8mb4 database that is its own."""
        if not self.secret_of(user).exists():
            password = self.new_secret(user)
            self.sql("create user %s@'%%' identified by %s", (user, password))
        name = "`" + database.replace("`", "``") + "`"
        self.sql(f"create database {name} character set utf8mb4")
        # In a grant, _ and % of a database's name are wildcards unless escaped.
        pattern = name.replace("\\", "\\\\").replace("_", "\\_").replace("%", "\\%")
        self.sql(f"grant all on {pattern.replace('%', '%%')}.* to %s@'%%'", (user,))
        return self.endpoint(database, user=user)

    def program(self, name: str) -> Path:
        """A program of the MariaDB that is installed here, such as ``mariadb-dump``."""
        return _find(name)

    def start(self) -> None:
        """Begin to serve; returns when the superuser can log in.  Does nothing when it serves."""
        super().start()
        self._first_words.unlink(missing_ok=True)  # said once, it holds

    def environment(self) -> dict[str, str]:
        """With a directory of its own for temporary tables: a MariaDB that starts removes all that
        it finds in its own, also those of another server that works there."""
        place = self.directory / "tmp"
        if not place.exists():
            place.mkdir(mode=0o700)
            give(place, self.account)
        return {**super().environment(), "TMPDIR": str(place)}

    def _prepare(self, password: str) -> None:
        self.data.mkdir(mode=0o700)
        os.chown(self.data, self.account.uid, self.account.gid)
        self.run(
            (
                str(self.install_program),
                "--no-defaults",
                f"--datadir={self.data}",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                "--skip-name-resolve",
            ),
            "Making a MariaDB data directory",
        )
        self._write_first_words(password)

    def _configure(self) -> None:
        # Written at each commit, so it survives kill -9, but without waiting for the disk.
        quick = {"innodb_flush_log_at_trx_commit": "2", "sync_binlog": "0"}
        settings = {
            "server_id": str(self.address.port),  # servers that replicate need different ones
            "character_set_server": "utf8mb4",
            "skip_name_resolve": "1",
            "default_time_zone": "+00:00",
            **({} if self.durable else quick),
            **self.settings,
            "datadir": str(self.data),
            "bind_address": self.address.host,
            "port": str(self.address.port),
            "socket": str(self.socket),
            "pid_file": str(self._pid_file),
            "log_error": str(self.log),
            **({"init_file": str(self._first_words)} if self._first_words.exists() else {}),
        }
        lines = [f"{name} = {value}\n" for name, value in settings.items()]
        self.write_private(self.config, "".join(["[mariadbd]\n", *lines]))

    @property
    def _first_words(self) -> Path:
        return self.secrets / "first-words.sql"

    def _write_first_words(self, password: str) -> None:
        """SQL that runs before anybody can log in: no superuser is ever without a password."""
        lines = ["set sql_log_bin = 0;"]
        for host in ("localhost", "127.0.0.1"):
            lines += [
                f"create user if not exists root@'{host}';",
                f"alter user root@'{host}' identified via mysql_native_password"
                f" using password('{password}');",
                f"grant all on *.* to root@'{host}' with grant option;",
            ]
        lines += [
            "delete from mysql.global_priv"
            " where user = 'root' and host not in ('localhost', '127.0.0.1');",
            "delete from mysql.proxies_priv"
            " where user = 'root' and host not in ('localhost', '127.0.0.1');",
            "flush privileges;",
        ]
        self.write_private(self._first_words, "\n".join((*lines, "")))

    def _command(self) -> tuple[str, ...]:
        return (str(self.server_program), f"--defaults-file={self.config}")

    def _answers(self) -> bool:
        try:
            self.connect(connect_timeout=5).close()
        except pymysql.err.OperationalError:
            return False
        return True

    @property
    def _pid_file(self) -> Path:
        return self.directory / "mariadbd.pid"

    def _listed_pid(self) -> int | None:
        try:
            text = self._pid_file.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            return None
        return int(text) if text.isdigit() else None


def _find(name: str) -> Path:
    found = find_program(name)
    if found is None:
        raise Failed(
            "program-missing",
            f"{name} is not installed on this machine.",
            where="needed: the packages mariadb-server-core and mariadb-client (Debian)",
        )
    return found
