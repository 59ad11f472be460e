"""Notes: a small real web application on SQLite, PostgreSQL or MariaDB, in several versions.

    python -m notes -c notes.yaml

Standard library, and the database's own module for ``engine: postgres`` and ``engine: mysql``.
Version 2 migrates the database at start.  ``NOTES_BREAK`` makes it fail in
the ways that new versions do: start (exits at once), die (exits after answering health once), 500,
version (says a wrong one), check (loses a note's text), check:DIRECTORY (the same, but only when
its database, or with a server its uploads, are below DIRECTORY), users (500 for every note).
"""

import json
import os
import signal
import socket
import sqlite3
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

VERSION = "@VERSION@"


def settings(path):
    """``key: value`` lines; enough of YAML for one flat file."""
    pairs = (
        line.split("#")[0].partition(":") for line in Path(path).read_text("utf-8").splitlines()
    )
    return {key.strip(): scalar(value.strip()) for key, _, value in pairs if value.strip()}


def scalar(text):
    if text[0] == text[-1] == "'":
        return text[1:-1].replace("''", "'")
    return json.loads(text) if text[0] == text[-1] == '"' else text


class SqliteStore:
    """The database in a file: one connection a thread."""

    def __init__(self, given):
        self.path, self.local = given["database"], threading.local()
        db = self.db()
        db.execute(f"pragma journal_mode = {given.get('journal', 'wal')}")
        db.execute("create table if not exists note (id text primary key, text text not null)")
        if VERSION.startswith("2") and db.execute("pragma user_version").fetchone()[0] < 2:
            db.executescript(
                "begin; alter table note add column shout text;"
                "update note set shout = upper(text); pragma user_version = 2; commit;"
            )

    def db(self):
        if not hasattr(self.local, "db"):
            self.local.db = sqlite3.connect(self.path, timeout=20, isolation_level=None)
            self.local.db.execute("pragma synchronous = normal")
        return self.local.db

    def rows(self, query, *values):
        return self.db().execute(query.replace("%s", "?"), values).fetchall()

    def put(self, note, text):
        self.db().execute("insert or replace into note (id, text) values (?, ?)", (note, text))

    def leave(self):
        pass

    def close(self):
        self.db().execute("pragma wal_checkpoint(truncate)")


class ServerStore:
    """The database on a server: one connection a thread, made anew when it was lost.

    Every write also gets a number from a sequence, in the same transaction."""

    def __init__(self, given):
        self.given, self.local = given, threading.local()
        for table in self.TABLES:
            self.commit((f"create table if not exists {table}", ()))
        if not self.rows("select version from schema_version"):
            self.commit(("insert into schema_version (version) values (1)", ()))
        if VERSION.startswith("2") and self.rows("select version from schema_version")[0][0] < 2:
            self.commit(
                ("alter table note add column shout text not null default ''", ()),
                ("update note set shout = upper(text)", ()),
                ("update schema_version set version = 2", ()),
            )

    def place(self):
        given = self.given
        return {
            "host": given["database_host"],
            "port": int(given["database_port"]),
            "user": given["database_user"],
            "password": given["database_password"],
            "connect_timeout": 30,
        }

    def again(self, do):
        """Once more on a new connection when the old one was lost, as ordinary programs do."""
        for last in (False, True):
            try:
                return do(self.db())
            except Exception as error:
                self.local.db = None
                if last or not isinstance(error, self.lost):
                    raise

    def db(self):
        if getattr(self.local, "db", None) is None:
            self.local.db = self.connect()
        return self.local.db

    def rows(self, query, *values):
        def do(db):
            with db.cursor() as cursor:
                cursor.execute(query, values)
                return cursor.fetchall()

        return self.again(do)

    def commit(self, *statements):
        def do(db):
            with db.cursor() as cursor:
                cursor.execute("begin")
                for statement, values in statements:
                    cursor.execute(statement, values)
                cursor.execute("commit")

        self.again(do)

    def put(self, note, text):
        self.commit(
            (self.WRITE, (note, text)),
            ("insert into entry (note) values (%s)", (note,)),
        )

    def leave(self):
        """A thread ends: its connection must not wait for the garbage collector, or the server
        soon has no place for others."""
        if getattr(self.local, "db", None) is not None:
            self.local.db.close()
            self.local.db = None

    def close(self):
        pass


class PostgresStore(ServerStore):
    TABLES = (
        "note (id text primary key, text text not null)",
        "entry (number bigserial primary key, note text not null)",
        "schema_version (version integer primary key)",
    )
    WRITE = (
        "insert into note (id, text) values (%s, %s)"
        " on conflict (id) do update set text = excluded.text"
    )

    def connect(self):
        import psycopg

        self.lost = psycopg.OperationalError
        name = self.given["database_name"]
        return psycopg.connect(**self.place(), dbname=name, autocommit=True)


class MysqlStore(ServerStore):
    TABLES = (
        "note (id varchar(190) primary key, text text not null)",
        "entry (number bigint auto_increment primary key, note varchar(190) not null)",
        "schema_version (version integer primary key)",
    )
    WRITE = (
        "insert into note (id, text) values (%s, %s) on duplicate key update text = values(text)"
    )

    def connect(self):
        import pymysql

        self.lost = (pymysql.OperationalError, pymysql.InterfaceError)
        name = self.given["database_name"]
        return pymysql.connect(**self.place(), database=name, charset="utf8mb4", autocommit=True)


STORES = {"postgres": PostgresStore, "mysql": MysqlStore}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def finish(self):
        super().finish()
        self.server.app.store.leave()

    def answer(self, status, body):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def body(self):
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def do_GET(self):
        app, path = self.server.app, self.path
        app.asked += path.startswith("/notes/")
        if (
            app.broken == "names"
            and "127." not in self.headers.get("Host", "")
            and path != "/health"
        ):
            self.answer(403, {"error": "broken on purpose"})
        elif app.broken in ("users", "host") and path.startswith("/notes/"):
            self.answer(500 if app.broken == "users" else 403, {"error": "broken on purpose"})
        elif path == "/health":
            sick = app.broken == "500" or (app.broken == "sick" and app.asked > 20)
            self.answer(500 if sick else 200, {"status": "UP"})
            if app.broken == "die":
                os._exit(1)
        elif path == "/version":
            self.answer(200, {"version": "9.9" if app.broken == "version" else VERSION})
        elif path == "/notes":
            rows = app.store.rows("select id from note")
            self.answer(200, [row[0] for row in rows])
        elif path.startswith("/notes/"):
            rows = app.store.rows("select text from note where id = %s", path[7:])
            text = "" if app.broken == "check" or not rows else rows[0][0]
            self.answer(200 if rows else 404, {"text": text})
        elif path.startswith("/uploads/") and (app.uploads / path[9:]).is_file():
            self.answer(200, (app.uploads / path[9:]).read_bytes())
        else:
            self.answer(404, {"error": "no such thing"})

    do_HEAD = do_GET

    def do_POST(self):
        note = json.loads(self.body())
        self.server.app.store.put(note["id"], note["text"])
        self.server.app.mail(f"note {note['id']}")
        self.answer(201, {"id": note["id"]})

    def do_PUT(self):
        target = self.server.app.uploads / self.path.removeprefix("/uploads/")
        partial = target.with_name(target.name + ".partial")
        partial.write_bytes(self.body())
        partial.rename(target)
        self.answer(201, {})

    def log_message(self, format, *args):
        pass


class App:
    def __init__(self, given):
        self.broken = os.environ.get("NOTES_BREAK", "")
        self.asked = 0
        if self.broken.startswith("check:"):
            place = given.get("database", given["uploads"])
            inside = place.startswith(self.broken.removeprefix("check:"))
            self.broken = "check" if inside else ""
        if self.broken == "start":
            sys.exit("notes: broken on purpose")
        self.uploads = Path(given["uploads"])
        self.uploads.mkdir(exist_ok=True)
        self.store = STORES.get(given.get("engine"), SqliteStore)(given)
        self.given = given
        self.mail("started")

    def mail(self, text):
        """To ``mail_server``, if there is one, with ``mail_password``; or as variables say."""
        server = self.given.get("mail_server") or os.environ.get("NOTES_MAIL_SERVER", "")
        host, _, port = server.rpartition(":")
        if host:
            with socket.create_connection((host, int(port)), 10) as to:
                password = self.given.get("mail_password") or os.environ["NOTES_MAIL_PASSWORD"]
                to.sendall(f"{self.given['listen']} {password} {text}\n".encode())


def main():
    given = settings(sys.argv[sys.argv.index("-c") + 1])
    host, _, port = given["listen"].rpartition(":")
    ThreadingHTTPServer.daemon_threads = True
    ThreadingHTTPServer.request_queue_size = 256
    app = App(given)
    server = ThreadingHTTPServer((host, int(port)), Handler)
    server.app = app

    def stop(*_):
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, stop)
    server.serve_forever(poll_interval=0.02)
    app.store.close()


if __name__ == "__main__":
    main()
