"""Notes: a small real web application on SQLite, in two versions.

    python -m notes -c notes.yaml

Standard library only.  Version 2 migrates the database at start.  ``NOTES_BREAK`` makes it fail in
the ways that new versions do: start (exits at once), die (exits after answering health once), 500,
version (says a wrong one), check (loses a note's text), check:DIRECTORY (the same, but only when
its database is below DIRECTORY).
"""

import json
import os
import signal
import sqlite3
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

VERSION = "@VERSION@"


def settings(path):
    """``key: value`` lines; enough of YAML for one flat file."""
    pairs = (line.split("#")[0].partition(":") for line in Path(path).read_text().splitlines())
    return {key.strip(): value.strip().strip("\"'") for key, _, value in pairs if value.strip()}


class Store:
    """The database: one connection a thread."""

    def __init__(self, path, journal):
        self.path, self.local = path, threading.local()
        db = self.db()
        db.execute(f"pragma journal_mode = {journal}")
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


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

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
        if path == "/health":
            self.answer(500 if app.broken == "500" else 200, {"status": "UP"})
            if app.broken == "die":
                os._exit(1)
        elif path == "/version":
            self.answer(200, {"version": "9.9" if app.broken == "version" else VERSION})
        elif path == "/notes":
            rows = app.store.db().execute("select id from note").fetchall()
            self.answer(200, [row[0] for row in rows])
        elif path.startswith("/notes/"):
            row = (
                app.store.db().execute("select text from note where id = ?", (path[7:],)).fetchone()
            )
            text = "" if app.broken == "check" or row is None else row[0]
            self.answer(200 if row else 404, {"text": text})
        elif path.startswith("/uploads/") and (app.uploads / path[9:]).is_file():
            self.answer(200, (app.uploads / path[9:]).read_bytes())
        else:
            self.answer(404, {"error": "no such thing"})

    do_HEAD = do_GET

    def do_POST(self):
        note = json.loads(self.body())
        self.server.app.store.db().execute(
            "insert or replace into note (id, text) values (?, ?)", (note["id"], note["text"])
        )
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
        if self.broken.startswith("check:"):
            inside = given["database"].startswith(self.broken.removeprefix("check:"))
            self.broken = "check" if inside else ""
        if self.broken == "start":
            sys.exit("notes: broken on purpose")
        self.uploads = Path(given["uploads"])
        self.uploads.mkdir(exist_ok=True)
        self.store = Store(given["database"], given.get("journal", "wal"))


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
    app.store.db().execute("pragma wal_checkpoint(truncate)")


if __name__ == "__main__":
    main()
