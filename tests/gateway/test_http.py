"""The gate as a proxy: every form that a request and an answer can take."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import time
from typing import Any

import pytest
from tests.gateway.conftest import Trio
from tests.gateway.scratch import (
    PATIENCE,
    App,
    in_background,
    receive_all,
    receive_until,
    silent,
    until,
)


def headers(answer: dict[str, Any], name: str) -> list[str]:
    """All values of a header that the application saw."""
    return [value for key, value in answer["headers"] if key == name]


def test_keep_alive_serves_many_requests_on_one_connection(shared: Trio) -> None:
    """One client connection carries many requests, with and without bodies."""
    gate, _, _ = shared
    client = gate.client()
    for number in range(20):
        body = os.urandom(5000) if number % 2 else None
        client.request("POST" if body else "GET", f"/item?{number}", body)
        answer = json.load(client.getresponse())
        assert answer["path"] == f"/item?{number}"
        assert answer["length"] == len(body or b"")
        assert answer["md5"] == hashlib.md5(body or b"", usedforsecurity=False).hexdigest()
    client.close()


def test_forwarded_fields_and_hop_by_hop_fields(shared: Trio) -> None:
    """X-Forwarded-* are appended or set, fields of the connection do not pass."""
    gate, _, _ = shared
    raw = gate.talk(
        b"GET / HTTP/1.1\r\nHost: chat.example\r\nConnection: close, X-Mine\r\nX-Mine: 1\r\n"
        b"Keep-Alive: 5\r\nTE: trailers\r\nProxy-Connection: x\r\nX-Forwarded-For: 9.9.9.9\r\n"
        b"X-Forwarded-Proto: https\r\nX-Kept: yes\r\n\r\n"
    )
    answer = json.loads(raw.split(b"\r\n\r\n", 1)[1])
    assert headers(answer, "x-forwarded-for") == ["9.9.9.9, 127.0.0.1"]
    assert headers(answer, "x-forwarded-proto") == ["https"]
    assert headers(answer, "x-forwarded-host") == ["chat.example"]
    assert headers(answer, "host") == ["chat.example"]
    assert headers(answer, "x-kept") == ["yes"]
    for gone in ("x-mine", "keep-alive", "te", "proxy-connection", "connection"):
        assert headers(answer, gone) == []
    assert headers(gate.get("/"), "x-forwarded-proto") == ["http"]


def test_connection_cannot_strip_what_frames_the_message(shared: Trio) -> None:
    """Naming Content-Length or Host in Connection does not remove it."""
    gate, _, _ = shared
    raw = gate.talk(
        b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close, content-length, host\r\n"
        b"Content-Length: 3\r\n\r\nabc"
    )
    answer = json.loads(raw.split(b"\r\n\r\n", 1)[1])
    assert answer["length"] == 3
    assert headers(answer, "host") == ["a"]


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_answers_without_body_keep_the_connection(shared: Trio, status: int, method: str) -> None:
    """After 204 and 304 the next answer is read at the right place."""
    gate, _, _ = shared
    client = gate.client()
    for _ in range(3):
        client.request(method, f"/status?code={status}")
        answer = client.getresponse()
        assert (answer.status, answer.read()) == (status, b"")
    client.request("GET", "/after")
    assert json.load(client.getresponse())["path"] == "/after"
    client.close()


def test_head_has_the_length_and_no_body(shared: Trio) -> None:
    """HEAD keeps Content-Length, and the next request on the connection works."""
    gate, _, _ = shared
    client = gate.client()
    client.request("HEAD", "/x")
    answer = client.getresponse()
    assert int(answer.headers["Content-Length"]) > 50
    assert answer.read() == b""
    client.request("GET", "/y")
    assert json.load(client.getresponse())["path"] == "/y"
    client.close()


def test_chunked_answer_is_chunked_anew(shared: Trio) -> None:
    """Chunks arrive whole, without extensions, trailers or fields of the connection."""
    gate, _, _ = shared
    client = gate.client()
    client.request("GET", "/chunks?n=300")
    answer = client.getresponse()
    assert answer.headers["Transfer-Encoding"] == "chunked"
    assert answer.headers["X-Private"] is None
    assert answer.read() == b"".join(b"%1000d" % number for number in range(300))
    client.request("GET", "/next")
    assert json.load(client.getresponse())["path"] == "/next"
    client.close()


def test_http_1_0_client(shared: Trio) -> None:
    """An HTTP/1.0 client needs no Host, gets no chunks, and sees the end by the close."""
    gate, _, _ = shared
    raw = gate.talk(b"GET /chunks?n=3 HTTP/1.0\r\n\r\n")
    head, _, body = raw.partition(b"\r\n\r\n")
    assert b"chunked" not in head.lower()
    assert b"Connection: close" in head
    assert body == b"".join(b"%1000d" % number for number in range(3))
    answer = json.loads(gate.talk(b"GET /x HTTP/1.0\r\n\r\n").partition(b"\r\n\r\n")[2])
    assert len(headers(answer, "host")) == 1


def test_body_that_ends_with_the_connection(shared: Trio) -> None:
    """A body without a length ends with the close, and a reset stays a reset."""
    gate, _, _ = shared
    request = b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n"
    raw = gate.talk(request)
    assert raw.endswith(b"\r\n\r\nuntil the end")
    assert b"Connection: close" in raw
    with gate.connect() as client:
        client.sendall(request.replace(b"/endless", b"/endless?reset=1"))
        receive_until(client, b"until the end")
        with pytest.raises(ConnectionResetError):
            client.recv(65536)


def test_interim_answers(shared: Trio) -> None:
    """103 is passed on, a 100 that nobody asked for is not."""
    gate, _, _ = shared
    with gate.connect() as raw:
        raw.sendall(b"GET /hints HTTP/1.1\r\nHost: a\r\n\r\n")
        data = receive_until(raw, b'"path": "/hints"')
    assert data.startswith(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n")
    assert b" 100 " not in data


def test_expect_100_continue(shared: Trio) -> None:
    """The gate asks for the body itself; the application never hears of Expect."""
    gate, old, _ = shared
    with gate.connect() as raw:
        raw.sendall(
            b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
        )
        assert receive_until(raw, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        raw.sendall(b"hello")
        assert b'"length": 5' in receive_until(raw, b"}")
    assert old.expects == 0


def test_pipelined_requests_are_answered_in_order(shared: Trio) -> None:
    """Fifty requests in one packet, the slow one first: the answers come in their order."""
    gate, _, _ = shared
    stream = b"GET /first?sleep=0.3 HTTP/1.1\r\nHost: a\r\n\r\n"
    for number in range(50):
        stream += b"POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc" % number
    stream += b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    raw = gate.talk(stream)
    paths = [part.split(b'"')[0] for part in raw.split(b'"path": "')[1:]]
    assert paths == [b"/first?sleep=0.3", *(b"/%d" % number for number in range(50)), b"/last"]


def test_half_closed_client_gets_its_answer(shared: Trio) -> None:
    """A client that closes its half after the request is answered all the same."""
    gate, _, _ = shared
    raw = gate.talk(b"GET /half?sleep=0.2 HTTP/1.1\r\nHost: a\r\n\r\n", close=True)
    assert b'"path": "/half?sleep=0.2"' in raw
    two = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n"
    assert gate.talk(two, close=True).count(b'"path"') == 2
    cut = two + b"POST /c HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc"
    assert gate.talk(cut, close=True).count(b'"path"') == 2


def test_absolute_form_becomes_origin_form(shared: Trio) -> None:
    """An absolute target that agrees with Host loses its authority on the way."""
    gate, _, _ = shared
    raw = gate.talk(
        b"GET http://a.example/p?q HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n"
    )
    assert b'"path": "/p?q"' in raw


def test_tunnel_passes_bytes_both_ways(trio: Trio) -> None:
    """After 101 bytes go both ways, the count is without the tunnel, and a close ends both."""
    gate, _, _ = trio
    with gate.connect() as raw:
        raw.sendall(
            b"GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\n"
            b"Upgrade: websocket\r\n\r\nearly"
        )
        data = receive_until(raw, b"early")
        assert data.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
        assert data.endswith(b"\r\n\r\nhello early")
        block = os.urandom(3_000_000)
        thread, _ = in_background(lambda: raw.sendall(block))
        got = b""
        while len(got) < len(block):
            got += raw.recv(65536)
        thread.join()
        assert got == block
        status = gate.status()
        assert (status["tunnels"], status["in_flight"]) == (1, 0)
        raw.shutdown(socket.SHUT_WR)
        assert receive_all(raw) == b""
    until(lambda: gate.status()["tunnels"] == 0, "the tunnel is gone")


def test_no_tunnel_for_http_2(shared: Trio) -> None:
    """An h2c upgrade would carry requests past the hold, so it is not passed on."""
    gate, _, _ = shared
    raw = gate.talk(
        b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close, Upgrade, HTTP2-Settings\r\n"
        b"Upgrade: h2c\r\nHTTP2-Settings: AAA\r\n\r\n"
    )
    assert headers(json.loads(raw.partition(b"\r\n\r\n")[2]), "upgrade") == []


def test_stale_pooled_connection_is_never_used_for_a_write(trio: Trio) -> None:
    """After the application restarted, reads are sent again and writes take a new connection."""
    gate, old, _ = trio
    for _ in range(3):
        gate.get("/warm")
    assert gate.status()["pool"] == 1
    port = old.address.port
    old.close()
    with App("old again", port):
        assert gate.get("/read")["app"] == "old again"
        assert gate.get("/write", "POST", b"x")["app"] == "old again"
    assert gate.status()["failed"] == 0


def test_writes_leave_no_idle_connections(trio: Trio) -> None:
    """Each has a connection of its own; an application with a thread for each would run out."""
    gate, _, _ = trio
    gate.get("/read")
    for number in range(20):
        gate.get(f"/write-{number}", "POST", b"x")
    assert gate.status()["pool"] == 1


def test_application_that_refuses_is_waited_for(trio: Trio) -> None:
    """While nobody listens, requests of every method wait, then they are served."""
    gate, old, _ = trio
    port = old.address.port
    old.close()
    waiting = [
        in_background(lambda: gate.get("/up", "POST", b"body")),
        in_background(lambda: gate.get("/up")),
    ]
    until(lambda: gate.status()["in_flight"] == 2, "both are dispatched")
    with App("old again", port):
        for thread, results in waiting:
            thread.join()
            assert results[0]["app"] == "old again"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"nonsense\r\n\r\n", "no status line"),
        (b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", "bare LF"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc", "two lengths"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", "both"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "unknown coding"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "no number"),
        (b"HTTP/1.1 200 OK\r\nBad Name: 1\r\n\r\n", "a space in a name"),
        (b"HTTP/1.1 200 OK\r\nX: 1\r\n 2\r\n\r\n", "obs-fold"),
        (b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "uninvited 101"),
        (b"HTTP/1.1 100 x\r\n\r\n" * 40, "no final answer"),
        (b"HTTP/1.1 200 OK\r\nX: %b\r\n\r\n" % (b"y" * 70000), "a huge head"),
        (b"", "nothing"),
    ],
)
def test_malformed_answer_is_a_502(shared: Trio, answer: bytes, why: str) -> None:
    """What the application garbles never reaches the client."""
    gate, old, _ = shared
    old.says = answer
    raw = gate.talk(b"POST /says HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
    assert raw.startswith(b"HTTP/1.1 502 "), why
    assert raw.count(b"HTTP/1.1 ") == 1


def test_bad_chunk_in_an_answer_cuts_it(shared: Trio) -> None:
    """Once the answer has begun, a broken chunk ends it without the last chunk."""
    gate, old, _ = shared
    old.says = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n"
    raw = gate.talk(b"GET /says HTTP/1.1\r\nHost: a\r\n\r\n")
    assert b"0\r\n\r\n" not in raw


def test_application_that_dies(shared: Trio) -> None:
    """502 when no byte of the answer had come, a cut connection when some had; it says how."""
    gate, _, _ = shared
    before = gate.status()
    raw = gate.talk(b"POST /broken HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
    assert raw.startswith(b"HTTP/1.1 502 ")
    assert b"the application closed the connection before it had answered, after 0." in raw
    raw = gate.talk(b"POST /broken?reset=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
    assert raw.startswith(b"HTTP/1.1 502 ")
    assert b"broke off ([Errno 104] Connection reset by peer) before it had answered" in raw
    raw = gate.talk(b"GET /broken?start=1 HTTP/1.1\r\nHost: a\r\n\r\n")
    assert raw.endswith(b"\r\n\r\nonly this")
    after = gate.status()
    assert (after["failed"] - before["failed"], after["cut"] - before["cut"]) == (2, 1)


def test_early_answer_reaches_the_client(shared: Trio) -> None:
    """A 413 before the body is read arrives, every time, though the body is still coming."""
    gate, _, _ = shared
    body = bytes(2_000_000)
    for _ in range(15):
        with gate.connect() as raw:
            raw.sendall(
                b"POST /early HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
                b"Content-Length: 2000000\r\n\r\n"
            )
            thread, _ = in_background(lambda raw=raw: raw.sendall(body))  # type: ignore[misc]
            data = receive_all(raw)
            thread.join()
        assert data.startswith(b"HTTP/1.1 413 "), data[:80]
        assert data.endswith(b"too much")


def test_client_that_leaves_does_not_hide_its_write(trio: Trio) -> None:
    """A write that was sent completely stays in flight until the application has finished it."""
    gate, old, _ = trio
    raw = gate.connect()
    raw.sendall(b"POST /w?sleep=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
    until(lambda: old.active == 1, "the application works on it")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    raw.close()
    until(lambda: gate.status()["clients"] == 0, "the client is gone")
    gate.hold()
    gate.driver.drain(30.0)
    assert old.active == 0
    assert len(old.finished) == 1


def test_who_does_not_read_keeps_nobody_waiting(trio: Trio) -> None:
    """The connection to the application that served a client which does not keep up is read again
    for the next request, also when it was the answer's last piece that was too much for the client.
    How much is too much depends on the kernel, so many sizes are tried."""
    gate, old, _ = trio
    for size in range(3_500_000, 9_000_000, 100_000):
        served = len(old.finished)
        with socket.socket() as raw:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
            raw.settimeout(PATIENCE)
            raw.connect((gate.listen.host, gate.listen.port))
            raw.sendall(b"GET /big?n=%d HTTP/1.1\r\nHost: a\r\n\r\n" % size)
            deadline = time.monotonic() + 0.3  # it never is served where even more is too much
            while len(old.finished) == served and time.monotonic() < deadline:
                time.sleep(0.002)
            left = size - len(receive_until(raw, b"\r\n\r\n").partition(b"\r\n\r\n")[2])
            while left:
                left -= len(raw.recv(65_536))
        assert gate.get("/next")["app"] == "old", size


def test_slow_reader_does_not_fill_the_memory(trio: Trio) -> None:
    """While the client does not read, the application is not read either."""
    gate, _, _ = trio
    with gate.connect() as raw:
        raw.sendall(b"GET /big?n=300000000 HTTP/1.1\r\nHost: a\r\n\r\n")
        receive_until(raw, b"\r\n\r\n")
        before = gate.rss()
        assert not silent(raw, 0.5)
        assert gate.rss() - before < 16_000_000
