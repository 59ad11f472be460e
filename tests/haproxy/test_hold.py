"""What HAProxy does with those that do not wait until the end, and with a request in its hands."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.haproxy.scratch import Proxy

from crossfade.errors import Failed
from crossfade.model import Side
from crossfade.testing.applications import PATIENCE, ScratchApp, beside, eventually, request

Fitted = tuple[Proxy, ScratchApp, ScratchApp]


@pytest.fixture
def fitted(tmp_path: Path) -> Iterator[Fitted]:
    """A HAProxy with our part, before two applications."""
    with ScratchApp("old") as old, ScratchApp("new") as new:
        proxy = Proxy(tmp_path, old.address)
        try:
            proxy.fit({Side.OLD: old.address, Side.NEW: new.address})
            yield proxy, old, new
        finally:
            proxy.close()


def _hold(proxy: Proxy, token: Path) -> None:
    proxy.traffic.hold(lease=30, at_most=60, commit_to=Side.NEW, commit_token=token)


def _waiting(proxy: Proxy) -> int:
    said = proxy.runtime.gate("notes", "exact")
    assert said is not None
    return int(said["waiting"])


def test_clients_that_leave_while_held(fitted: Fitted, tmp_path: Path) -> None:
    """Who leaves with half a request is forgotten, and neither counts as waiting nor in flight."""
    proxy, old, new = fitted
    _hold(proxy, tmp_path / "token")
    half = b"POST /half HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc"
    there = (proxy.listen.host, proxy.listen.port)
    left = [socket.create_connection(there, PATIENCE) for _ in range(10)]
    for raw in left:
        raw.sendall(half)
    whole, results = beside(lambda: request(proxy.listen, "/whole", b"x")["app"])
    eventually(lambda: _waiting(proxy) == 11, "all wait")
    for raw in left:
        raw.close()
    eventually(lambda: _waiting(proxy) == 1, "they are forgotten")
    assert proxy.traffic.drain(10.0).in_flight == 0
    proxy.traffic.switch(Side.NEW)
    proxy.traffic.release()
    whole.join()
    assert (results, old.served, new.served) == (["new"], [], ["/whole"])


def test_drain_counts_a_process_that_a_reload_left(fitted: Fitted, tmp_path: Path) -> None:
    """A request in flight in the old process, which no socket reaches, keeps the drain waiting."""
    proxy, old, _ = fitted
    slow, results = beside(lambda: request(proxy.listen, "/slow?sleep=4")["app"])
    eventually(lambda: old.active == 1, "it is in flight")
    worker = proxy.worker()
    subprocess.run(("sh", "-c", f"kill -USR2 {proxy.process.pid}"), check=True)
    eventually(lambda: proxy.answers() and proxy.worker() != worker, "reloaded")
    _hold(proxy, tmp_path / "token")
    state = proxy.traffic.look()
    assert state is not None
    with pytest.raises(Failed) as failed:
        proxy.traffic.drain(1.0)
    assert failed.value.code == "gate-drain-timeout"
    assert "left behind" in failed.value.what
    proxy.traffic.drain(20.0)
    assert old.active == 0
    slow.join()
    assert results == ["old"]


def test_watcher_that_dies_is_started_again(fitted: Fitted, tmp_path: Path) -> None:
    """Who looks for the commit is looked for at every renewal."""
    proxy, _, _ = fitted

    def watchers() -> list[int]:
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    words = (entry / "cmdline").read_bytes().split(b"\0")
                except OSError:
                    continue
                if os.fsencode(proxy.place) in words and b"notes" in words:
                    found.append(int(entry.name))
        return found

    token = tmp_path / "token.committed"
    _hold(proxy, token)
    eventually(lambda: len(watchers()) == 1, "one watches")
    os.kill(watchers()[0], 9)
    eventually(lambda: not watchers(), "it is gone")
    proxy.traffic.renew(2.0)
    eventually(lambda: len(watchers()) == 1, "another watches")
    token.touch()
    assert request(proxy.listen, "/held")["app"] == "new"
    eventually(lambda: not watchers(), "it ends with the hold")
