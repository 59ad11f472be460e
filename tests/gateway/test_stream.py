"""Random request streams, cut anywhere: the application sees exactly what was sent."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.gateway.conftest import Trio
from tests.gateway.scratch import receive_all

from crossfade.gateway.answers import parse_response
from crossfade.gateway.bodies import BadBody, ChunkedBody
from crossfade.gateway.fields import BadHead
from crossfade.gateway.heads import parse_request
from crossfade.gateway.limits import Limits

LIMITS = Limits()
BOUNDED = settings(
    deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@dataclass(frozen=True)
class Sent:
    """A request: its bytes on the wire, and what the application should see."""

    method: str
    path: str
    body: bytes
    wire: bytes


def chunked(body: bytes, sizes: list[int], extension: bytes, trailer: bytes) -> bytes:
    """A body in chunks of these sizes."""
    out, at = b"", 0
    for size in sizes:
        piece = body[at : at + size]
        at += size
        if piece:
            out += b"%x%b\r\n%b\r\n" % (len(piece), extension, piece)
    if body[at:]:
        out += b"%X\r\n%b\r\n" % (len(body) - at, body[at:])
    return out + b"0\r\n" + trailer + b"\r\n"


@st.composite
def requests(draw: st.DrawFn) -> Sent:
    """A well-formed request, odd in every way that is allowed."""
    method = draw(st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]))
    letters = "abcXYZ019-._~%!$&'()*+,;=:@"
    path = "/r" + draw(st.text(letters, max_size=30)) + draw(st.sampled_from(["", "?", "?q=[1]|"]))
    name = draw(st.sampled_from(["X-A", "x-b", "COOKIE", "X_c"]))
    value = draw(st.text("ab \t\u00e9:;,\"'", max_size=20))
    space = draw(st.sampled_from(["", " ", "\t", "  "]))
    fields = [f"hOsT:{space}a.example{space}", f"{name}:{space}{value}"]
    body = draw(
        st.one_of(st.just(b""), st.binary(max_size=200), st.just(b"0\r\n\r\nGET / HTTP/1.1"))
    )
    if draw(st.integers(0, 20)) == 0:
        body = body * 3000
    wire = body
    if draw(st.booleans()):
        fields.append("Transfer-Encoding: " + draw(st.sampled_from(["chunked", "Chunked"])))
        sizes = draw(st.lists(st.integers(1, 90), max_size=5))
        extension = draw(st.sampled_from([b"", b";a", b' ; a="b"', b";x=y;z"]))
        trailer = draw(st.sampled_from([b"", b"X-T: 1\r\n", b"X-T: 1\r\nHost: evil\r\n"]))
        wire = chunked(body, sizes, extension, trailer)
    elif body or draw(st.booleans()):
        fields.append(f"Content-Length:{space}{len(body)}")
    fields = draw(st.permutations(fields))
    head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{field}\r\n" for field in fields) + "\r\n"
    return Sent(method, path, body, head.encode("latin-1") + wire)


@BOUNDED
@given(data=st.data())
def test_application_sees_what_was_sent(shared: Trio, data: st.DataObject) -> None:
    """Any number of requests in one stream, split at any places."""
    gate, _, _ = shared
    sent = data.draw(st.lists(requests(), min_size=1, max_size=6))
    last = b"GET /end HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    stream = b"".join(request.wire for request in sent) + last
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=8).map(sorted))
    with gate.connect() as raw:
        for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
            raw.sendall(stream[start:end])
        got = receive_all(raw)
    answers = [part for part in got.split(b"HTTP/1.1 200 OK\r\n")[1:] if part]
    assert len(answers) == len(sent) + 1, got[:500]
    for request, answer in zip(sent, answers, strict=False):
        seen = json.loads(answer.partition(b"\r\n\r\n")[2])
        assert seen["method"] == request.method
        assert seen["path"] == request.path
        assert seen["length"] == len(request.body)
        assert seen["md5"] == hashlib.md5(request.body, usedforsecurity=False).hexdigest()
        assert [value for name, value in seen["headers"] if name == "host"] == ["a.example"]


@BOUNDED
@given(data=st.data())
def test_damaged_streams_never_break_the_gate(shared: Trio, data: st.DataObject) -> None:
    """One byte changed, added or lost anywhere: every answer is well-formed, and the gate lives."""
    gate, _, _ = shared
    stream = b"".join(r.wire for r in data.draw(st.lists(requests(), min_size=1, max_size=3)))
    at = data.draw(st.integers(0, len(stream) - 1))
    byte = bytes([data.draw(st.integers(0, 255))])
    change = data.draw(st.sampled_from(["change", "add", "lose"]))
    rest = stream[at + (change != "add") :]
    got = gate.talk(stream[:at] + (b"" if change == "lose" else byte) + rest, close=True)
    assert got == b"" or got.startswith(b"HTTP/1.1 ")
    status = gate.status()
    assert "bug" not in gate.log()
    assert status["in_flight"] <= 1


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400) | st.binary(max_size=300).map(lambda b: b"GET / HTTP/1.1\r\n" + b))
def test_any_bytes_are_a_head_or_refused(data: bytes) -> None:
    """The readers of heads raise nothing but their own refusal."""
    with suppress(BadHead):
        parse_request(data + b"\r\n\r\n", LIMITS)
    with suppress(BadHead):
        parse_response(data.replace(b"GET / ", b"") + b"\r\n\r\n", b"GET", LIMITS)


@settings(max_examples=300, deadline=None)
@given(
    body=st.binary(max_size=300),
    sizes=st.lists(st.integers(1, 60), max_size=8),
    cuts=st.lists(st.integers(0, 600), max_size=30),
    rest=st.binary(max_size=20),
)
def test_chunks_are_read_the_same_however_they_are_split(
    body: bytes, sizes: list[int], cuts: list[int], rest: bytes
) -> None:
    """The reader of chunks gives the body and leaves exactly what comes after it."""
    wire = chunked(body, sizes, b";e", b"A: b\r\n") + rest
    reader, got, left = ChunkedBody(LIMITS), b"", b""
    marks = sorted({min(cut, len(wire)) for cut in cuts})
    for start, end in zip([0, *marks], [*marks, len(wire)], strict=True):
        if reader.done:
            left += wire[start:end]
        else:
            pieces, left = reader.feed(wire[start:end])
            got += b"".join(pieces)
    assert reader.done
    assert (got, left) == (body, rest)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=100), st.lists(st.integers(0, 100), max_size=10))
def test_bad_chunks_are_bad_however_they_are_split(data: bytes, cuts: list[int]) -> None:
    """Splitting the bytes changes neither the data nor the verdict."""

    def read(pieces: list[bytes]) -> tuple[bytes, bool, bool]:
        reader, got = ChunkedBody(LIMITS), b""
        try:
            for piece in pieces:
                if reader.done:
                    break
                got += b"".join(reader.feed(piece)[0])
        except BadBody:
            return b"", True, False
        return got, False, reader.done

    marks = sorted({min(cut, len(data)) for cut in cuts})
    split = [data[a:b] for a, b in zip([0, *marks], [*marks, len(data)], strict=True)]
    assert read([data]) == read(split)
