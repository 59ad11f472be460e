"""The gate's counters as text for Prometheus, and the small server that hands it out.

The format is Prometheus' text exposition format, version 0.0.4: ``# HELP`` and ``# TYPE`` once
before a metric's samples, counters that end in ``_total``, a histogram's buckets cumulative with
``le="+Inf"`` last, and a line feed at the end.  Labels are the side, the class of a status and
where a port is, of which there are few; no name, path or address of a client is told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from itertools import accumulate
from time import monotonic

from crossfade.gateway.gate import Gate
from crossfade.model import Address, Side
from crossfade.ports import BOUNDS

__all__ = ["CONTENT_TYPE", "answer_http", "serve_metrics", "text"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_CLASSES = ("cut", "1xx", "2xx", "3xx", "4xx", "5xx")
_HEAD_SECONDS = 5.0
_HEAD_LINES = 100
_LINE_BYTES = 8_192
_PREFIX = "crossfade_gate_"
_COUNTERS = {
    "taken": ("total", "Complete request heads taken in."),
    "failed": ("failed", "Requests that the gate itself answered with 5xx."),
    "refused": ("refused", "Requests that the gate itself answered with 4xx."),
    "cut": ("cut", "Answers that broke off because the application did."),
}


def text(gate: Gate) -> str:
    """All of it."""
    return "".join(f"{line}\n" for line in _lines(gate))


def _lines(gate: Gate) -> Iterator[str]:
    values = gate.counters.as_json()
    for name, (field, words) in _COUNTERS.items():
        yield from _one(f"{name}_total", "counter", words, values[field])
    hold, now = gate.state.hold, monotonic()
    waited = now - min((exchange.arrived for exchange in gate.waiting), default=now)
    gauges: dict[str, tuple[str, object]] = {
        "held": ("Whether requests are made to wait: 1 or 0.", int(hold is not None)),
        "reads_pass": (
            "Whether safe requests go on during the hold: 1 or 0.",
            int(hold is not None and hold.reads),
        ),
        "in_flight": ("Requests that were sent on and are not answered.", len(gate.in_flight)),
        "waiting": ("Requests that wait.", len(gate.waiting)),
        "oldest_waiting_seconds": ("How long the oldest of them waits.", round(waited, 3)),
        "tunnels": ("Open tunnels, such as WebSockets.", len(gate.tunnels)),
        "clients": ("Open connections of clients.", len(gate.clients)),
        "switches": ("Switches since the state was made.", gate.state.epoch),
        "served_after_drain": (
            "Requests sent to the drained side; anything but 0 is a leak.",
            values["served_after_drain"],
        ),
        "writes_since_switch": (
            "Writes that were acknowledged since the last switch.",
            values["writes_since_switch"],
        ),
    }
    for name, (words, value) in gauges.items():
        yield from _one(name, "gauge", words, value)
    yield from _head("serves", "gauge", "Whether traffic goes to this side: 1 or 0.")
    for side in Side:
        yield f'{_PREFIX}serves{{side="{side.value}"}} {int(gate.state.side is side)}'
    yield from _of_ports(gate)
    yield from _of_sides(gate)


_OF_PORTS = {
    "port_open": ("gauge", "open", "Open connections at another port."),
    "port_waiting": ("gauge", "waiting", "Connections there that wait for a side."),
    "port_connections_total": ("counter", "taken", "Connections taken in there."),
    "port_failed_total": ("counter", "failed", "Of these, those that led nowhere."),
}


def _of_ports(gate: Gate) -> Iterator[str]:
    ports = gate.relay.as_json()
    for name, (kind, field, words) in _OF_PORTS.items() if ports else ():
        yield from _head(name, kind, words)
        for port in ports:
            yield f'{_PREFIX}{name}{{listen="{port["listen"]}"}} {port[field]}'


def _of_sides(gate: Gate) -> Iterator[str]:
    sides = gate.measures.sides
    words = "Finished requests by the class of their status; cut: broken off."
    yield from _head("requests_total", "counter", words)
    for side, counts in sides.items():
        for kind, count in zip(_CLASSES, counts.by_class, strict=True):
            labels = f'side="{side.value}",status="{kind}"'
            yield f"{_PREFIX}requests_total{{{labels}}} {count}"
    name = "answer_seconds"
    words = "From sending a request on to the answer's head, without those that had waited."
    yield from _head(name, "histogram", words)
    for side, counts in sides.items():
        label = f'side="{side.value}"'
        ends = [*(repr(bound) for bound in BOUNDS), "+Inf"]
        for end, count in zip(ends, accumulate(counts.times), strict=True):
            yield f'{_PREFIX}{name}_bucket{{{label},le="{end}"}} {count}'
        yield f"{_PREFIX}{name}_sum{{{label}}} {counts.seconds:.6f}"
        yield f"{_PREFIX}{name}_count{{{label}}} {sum(counts.times)}"


def _head(name: str, kind: str, words: str) -> Iterator[str]:
    yield f"# HELP {_PREFIX}{name} {words}"
    yield f"# TYPE {_PREFIX}{name} {kind}"


def _one(name: str, kind: str, words: str, value: object) -> Iterator[str]:
    yield from _head(name, kind, words)
    yield f"{_PREFIX}{name} {value}"


async def serve_metrics(gate: Gate, at: Address) -> asyncio.Server:
    """Listen at an address, for GET /metrics alone.  Raises OSError."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = b""
        with suppress(ConnectionError, TimeoutError, ValueError):  # a line that is too long
            async with asyncio.timeout(_HEAD_SECONDS):
                first = await reader.readline()
        await answer_http(gate, first, reader, writer)

    return await asyncio.start_server(serve, at.host, at.port, limit=_LINE_BYTES)


async def answer_http(
    gate: Gate, first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Answer one HTTP request whose first line was read, and end the connection."""
    with suppress(ConnectionError, TimeoutError, ValueError, asyncio.IncompleteReadError):
        async with asyncio.timeout(_HEAD_SECONDS):
            for _ in range(_HEAD_LINES):
                if await reader.readline() in (b"\r\n", b"\n", b""):
                    break
            writer.write(_response(gate, first))
            await writer.drain()
    writer.close()


def _response(gate: Gate, first: bytes) -> bytes:
    method, _, rest = first.partition(b" ")
    path = rest.partition(b" ")[0].partition(b"?")[0]
    status, body, kind = b"200 OK", b"", CONTENT_TYPE.encode()
    if method not in (b"GET", b"HEAD"):
        status, body, kind = b"405 Method Not Allowed\r\nAllow: GET, HEAD", b"GET or HEAD\n", b""
    elif path != b"/metrics":
        status, body, kind = b"404 Not Found", b"/metrics\n", b""
    else:
        body = text(gate).encode()
    head = b"HTTP/1.1 %b\r\nContent-Type: %b\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (
        status,
        kind or b"text/plain; charset=utf-8",
        len(body),
    )
    return head if method == b"HEAD" else head + body
