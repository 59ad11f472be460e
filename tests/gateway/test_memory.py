"""A gigabyte either way, and held: the gate's memory stays flat."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

from tests.gateway.conftest import Trio
from tests.gateway.scratch import GateProcess, receive_until, until

GIGABYTE = 1 << 30
GROWTH = 16 << 20
BLOCK = bytes(1 << 20)


def highest_while(gate: GateProcess, do: Callable[[], None]) -> int:
    """How many bytes the gate's memory grew at most while ``do`` ran."""
    start = highest = gate.rss()
    done = threading.Event()

    def watch() -> None:
        nonlocal highest
        while not done.wait(0.02):
            highest = max(highest, gate.rss())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        do()
    finally:
        done.set()
        watcher.join()
    return highest - start


def test_upload_of_a_gigabyte(trio: Trio) -> None:
    """The body reaches the application whole, in flat memory."""
    gate, _, _ = trio
    gate.get("/warm", "POST", BLOCK)
    answer = b""

    def upload() -> None:
        nonlocal answer
        with gate.connect() as raw:
            raw.sendall(b"POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % GIGABYTE)
            for _ in range(GIGABYTE // len(BLOCK)):
                raw.sendall(BLOCK)
            answer = receive_until(raw, b"}")

    assert highest_while(gate, upload) < GROWTH
    assert b'"length": %d' % GIGABYTE in answer


def test_download_of_a_gigabyte(trio: Trio) -> None:
    """The body reaches the client whole, in flat memory."""
    gate, _, _ = trio
    gate.get("/warm")
    length = 0

    def download() -> None:
        nonlocal length
        buffer = bytearray(1 << 20)
        with gate.connect() as raw:
            raw.sendall(b"GET /big?n=%d HTTP/1.1\r\nHost: a\r\n\r\n" % GIGABYTE)
            head = receive_until(raw, b"\r\n\r\n")
            length = len(head.partition(b"\r\n\r\n")[2])
            while length < GIGABYTE:
                got = raw.recv_into(buffer)
                assert got, "the answer was cut"
                length += got

    assert highest_while(gate, download) < GROWTH
    assert length == GIGABYTE


def test_held_uploads_wait_in_the_kernel(trio: Trio) -> None:
    """Large bodies of held requests are not taken in: a quarter of a megabyte each at most."""
    gate, _, _ = trio
    gate.get("/warm", "POST", BLOCK)
    gate.hold()
    raws = [gate.connect() for _ in range(10)]

    def push() -> None:
        for raw in raws:
            raw.sendall(b"POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n")
            raw.settimeout(0.3)
            with suppress(TimeoutError):
                for _ in range(100):
                    raw.sendall(BLOCK)
        until(lambda: gate.status()["waiting"] == len(raws), "all wait")

    assert highest_while(gate, push) < GROWTH
    for raw in raws:
        raw.close()
