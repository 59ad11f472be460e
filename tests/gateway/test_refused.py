"""Requests that two readers could read differently are refused, and the connection is closed."""

from __future__ import annotations

import pytest
from tests.gateway.conftest import Trio

H = b"Host: a\r\n"
BAD = {
    "length and chunked": b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 5\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked and length": b"POST / HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked\r\n"
    b"Content-Length: 5\r\n\r\n0\r\n\r\n",
    "two lengths that differ": b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 5\r\n"
    b"Content-Length: 6\r\n\r\nhello",
    "two lengths that agree": b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 5\r\n"
    b"Content-Length: 5\r\n\r\nhello",
    "a list of lengths": b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 5, 5\r\n\r\nhello",
    "a signed length": b"POST / HTTP/1.1\r\n" + H + b"Content-Length: +5\r\n\r\nhello",
    "a negative length": b"POST / HTTP/1.1\r\n" + H + b"Content-Length: -5\r\n\r\nhello",
    "a hex length": b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 0x5\r\n\r\nhello",
    "an empty length": b"POST / HTTP/1.1\r\n" + H + b"Content-Length: \r\n\r\nhello",
    "a huge length": b"POST / HTTP/1.1\r\n" + H + b"Content-Length: %b\r\n\r\n" % (b"9" * 40),
    "another coding": b"POST / HTTP/1.1\r\n" + H + b"Transfer-Encoding: gzip\r\n\r\n",
    "two codings": b"POST / HTTP/1.1\r\n"
    + H
    + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": b"POST / HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a disguised coding": b"POST / HTTP/1.1\r\n" + H + b"Transfer-Encoding: xchunked\r\n\r\n",
    "a quoted coding": b"POST / HTTP/1.1\r\n" + H + b'Transfer-Encoding: "chunked"\r\n\r\n',
    "a vertical tab before chunked": b"POST / HTTP/1.1\r\n"
    + H
    + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "chunked in HTTP/1.0": b"POST / HTTP/1.0\r\n"
    + H
    + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a space before the colon": b"POST / HTTP/1.1\r\n" + H + b"Content-Length : 5\r\n\r\nhello",
    "a tab before the colon": b"POST / HTTP/1.1\r\n" + H + b"Transfer-Encoding\t: chunked\r\n\r\n",
    "obs-fold": b"POST / HTTP/1.1\r\n" + H + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "obs-fold at the start": b"GET / HTTP/1.1\r\n " + H + b"\r\n",
    "bare LF": b"GET / HTTP/1.1\nHost: a\n\n",
    "bare LF in a field": b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
    "bare LF before the end": b"GET / HTTP/1.1\r\nHost: a\n\r\n",
    "bare CR in a field": b"GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
    "CR CR LF": b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n",
    "a null byte": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n",
    "a control character": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x01b\r\n\r\n",
    "a delete character": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x7fb\r\n\r\n",
    "an empty name": b"GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n",
    "no colon": b"GET / HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n",
    "no Host": b"GET / HTTP/1.1\r\n\r\n",
    "an empty Host": b"GET / HTTP/1.1\r\nHost:\r\n\r\n",
    "two Hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "two Hosts that agree": b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    "a Host with a path": b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "a Host with a user": b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n",
    "another host in the target": b"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "a user in the target": b"GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "another scheme": b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "a fragment": b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
    "a relative target": b"GET a HTTP/1.1\r\nHost: a\r\n\r\n",
    "a star for GET": b"GET * HTTP/1.1\r\nHost: a\r\n\r\n",
    "two spaces": b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
    "a tab for a space": b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "a space in the target": b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    "no version": b"GET /\r\nHost: a\r\n\r\n",
    "another version": b"GET / HTTP/1.2\r\nHost: a\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "lower case protocol": b"GET / http/1.1\r\nHost: a\r\n\r\n",
    "a made-up method": b"G@T / HTTP/1.1\r\nHost: a\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
}
CHUNKS = {
    "hex prefix": b"0x5\r\nhello\r\n0\r\n\r\n",
    "a sign": b"+5\r\nhello\r\n0\r\n\r\n",
    "a negative size": b"-5\r\nhello\r\n0\r\n\r\n",
    "a leading space": b" 5\r\nhello\r\n0\r\n\r\n",
    "no size": b"\r\nhello\r\n0\r\n\r\n",
    "no number": b"zz\r\nhello\r\n0\r\n\r\n",
    "an underscore": b"1_0\r\n0123456789abcdef\r\n0\r\n\r\n",
    "a huge size": b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "too little data": b"3\r\nhello\r\n0\r\n\r\n",
    "LF after the size": b"5\nhello\r\n0\r\n\r\n",
    "LF after the data": b"5\r\nhello\n0\r\n\r\n",
    "CR after the size": b"5\rhello\r\n0\r\n\r\n",
    "LF in an extension": b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    "a null in an extension": b"5;a\x00b\r\nhello\r\n0\r\n\r\n",
    "an endless extension": b"5;" + b"a" * 5000 + b"\r\nhello\r\n0\r\n\r\n",
    "a folded trailer": b"5\r\nhello\r\n0\r\nA: b\r\n c\r\n\r\n",
    "LF in the trailers": b"5\r\nhello\r\n0\r\nA: b\n\r\n\r\n",
    "a trailer without colon": b"5\r\nhello\r\n0\r\nnonsense\r\n\r\n",
    "endless trailers": b"5\r\nhello\r\n0\r\n" + b"A: b\r\n" * 3000 + b"\r\n",
}
AFTER = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.mark.parametrize("what", BAD)
def test_ambiguous_head_is_refused(shared: Trio, what: str) -> None:
    """400, the connection closes, and nothing of it or after it reaches the application."""
    gate, old, new = shared
    before = len(old.seen) + len(new.seen)
    raw = gate.talk(BAD[what] + AFTER)
    assert raw.startswith(b"HTTP/1.1 400 "), (what, raw[:200])
    assert raw.count(b"HTTP/1.1 ") == 1
    assert b"Connection: close\r\n" in raw
    assert len(old.seen) + len(new.seen) == before


@pytest.mark.parametrize("what", CHUNKS)
def test_bad_chunks_are_refused(shared: Trio, what: str) -> None:
    """400 and close; the application never sees the request end, or what came after it."""
    gate, old, _ = shared
    raw = gate.talk(
        b"POST /bad HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        + CHUNKS[what]
        + AFTER
    )
    assert raw.startswith(b"HTTP/1.1 400 "), (what, raw[:200])
    assert raw.count(b"HTTP/1.1 ") == 1
    assert not any("bad" in path or "smuggled" in path for _, _, path in old.finished)


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"GET /" + b"a" * 200_000, 414),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 200_000, 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 200 + b"\r\n", 431),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 405),
        (b"CONNECT /x HTTP/1.1\r\nHost: a\r\n\r\n", None),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: magic\r\n\r\n", 417),
    ],
    ids=[
        "target",
        "endless target",
        "head",
        "endless head",
        "many fields",
        "CONNECT",
        "CONNECT /",
        "Expect",
    ],
)
def test_limits_of_the_head(shared: Trio, head: bytes, status: int | None) -> None:
    """What is too large has a status of its own."""
    gate, _, _ = shared
    assert gate.talk(head).startswith(b"HTTP/1.1 %d " % status if status else b"HTTP/1.1 40")


def test_good_requests_just_inside_the_limits(shared: Trio) -> None:
    """Long targets, many fields, empty lines before a request and odd characters are fine."""
    gate, _, _ = shared
    raw = gate.talk(
        b"\r\nGET /" + b"a" * 16_000 + b"?q=%20&%C3%BC=[x] HTTP/1.1\r\nhOST: [::1]:80\r\n"
        b"X-Latin: \xe9\t tab\r\n" + b"X: y\r\n" * 80 + b"Connection: close\r\n\r\n"
    )
    assert raw.startswith(b"HTTP/1.1 200 ")
