"""A small application with a SQLite database, for tests: ``sqlite_writer.py FILE [once]``.

It commits unique tokens as fast as every millisecond, and prints each one once it is committed.
A line on its standard input pauses or continues it; the end of the input ends it.
"""

from __future__ import annotations

import sqlite3
import sys
import threading
import uuid


def tell(line: str) -> None:
    """Print one line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(path: str, once: bool) -> int:
    """Write tokens to ``path`` until the input ends, or a single one."""
    connection = sqlite3.connect(path, timeout=0.3 if once else 30, isolation_level=None)
    running, ended, idle = threading.Event(), threading.Event(), threading.Event()
    running.set()

    def listen() -> None:
        for _ in sys.stdin:
            if running.is_set():
                running.clear()
                idle.wait()
                tell("paused")
            else:
                idle.clear()
                running.set()
        ended.set()

    if not once:
        threading.Thread(target=listen, daemon=True).start()
    while not ended.wait(0.001):
        if not running.is_set():
            idle.set()
            continue
        token = uuid.uuid4().hex
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO tokens VALUES (?, ?)", (token, "x" * 500))
        connection.execute("COMMIT")
        tell(token)
        if once:
            break
    connection.close()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1], "once" in sys.argv))
    except sqlite3.Error as error:
        sys.exit(str(error))
