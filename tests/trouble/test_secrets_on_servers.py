"""Databases' passwords turn up in no journal, log, report, process argument or output."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.testbed.client import Client
from tests.testbed.servers import FOLLOWED, KINDS, Pair, make_pair
from tests.testbed.site import Site

from crossfade.model import Side


@pytest.fixture(params=KINDS)
def talkative(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pair]:
    """Servers that write every statement to their logs."""
    kind = str(request.param)
    more = {"log_statement": "all", "log_connections": "on", "log_replication_commands": "on"}
    if kind == "mysql":
        more = {"general_log": "1", "general_log_file": "general.log", "log_warnings": "9"}
    settings = {**FOLLOWED[kind], **more}
    with make_pair(kind, tmp_path, old=settings, new=settings) as pair:
        yield pair


def processes() -> dict[str, bytes]:
    """Arguments of all processes, and the environments of those that are clients of databases."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (process / "cmdline").read_bytes()
            found[f"arguments of {arguments[:60]!r}"] = arguments
            environment = (process / "environ").read_bytes()
            found[f"environment of {arguments[:60]!r}"] = environment
        except OSError:
            continue
    return found


def test_passwords_stay_where_they_are(talkative: Pair, make_site: Callable[..., Site]) -> None:
    """Rehearse, cut over, go back, cut over, retire: then every byte that was written is searched.

    The servers log every statement; what they log must not tell a password either."""
    site = make_site(database=talkative.kind, pair=talkative)
    user = site.databases[Side.OLD].user
    servers = (talkative.old, talkative.new)
    passwords = {server.password_of(server.admin) for server in servers}
    passwords.add(talkative.old.password_of(user))
    told_before = [logs(talkative)]  # making the site tells its password, by the test's own doing
    seen: dict[str, bytes] = {}
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.2):
            seen.update(processes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with Client(site.gate):
            ended = [
                site.run("plan", "--json"),
                site.run("config", "show"),
                site.run("rehearse"),
                site.run("cutover", "--yes", "--json"),
                site.run("status", "--json"),
                site.run("rollback", "--yes"),
                site.run("cutover", "--yes"),
                site.run("retire", "--yes"),
                site.run("report"),
            ]
    finally:
        over.set()
        watcher.join()
    output = "".join(result.out + result.err for result in ended).encode()
    state = site.directory / "state"
    ours = {str(p): p.read_bytes() for p in state.rglob("*") if is_record(p)}
    assert str(state / "journal.db") in ours
    told = logs(talkative)
    for path, text in told.items():
        told[path] = text[len(told_before[0].get(path, b"")) :]
    assert any(told.values()), "the servers did log"
    for password in passwords:
        everywhere = {"output": output, **ours, **told, **seen}
        assert [n for n, data in everywhere.items() if password.encode() in data] == []
    new = (site.directory / "new" / "notes.yaml").read_text(encoding="utf-8")
    assert talkative.old.password_of(user) in new, "the password itself came over"
    for file in state.rglob("*"):
        if file.is_file() and any(word.encode() in file.read_bytes() for word in passwords):
            assert file.stat().st_mode & 0o077 == 0, f"{file} may be read by others"


def is_record(path: Path) -> bool:
    """A file of the state directory, but for what is there to hold the application's password:
    the archive of the old side, the configuration in its backup, and its password file."""
    if "backups" in path.parts and "configuration" in path.parts:
        return False
    return path.is_file() and path.parent.name not in ("run", "archive")


def logs(pair: Pair) -> dict[str, bytes]:
    """All logs of both servers."""
    found = {}
    for server in (pair.old, pair.new):
        for path in (server.log, server.data / "general.log"):
            if path.exists():
                found[str(path)] = path.read_bytes()
    return found
