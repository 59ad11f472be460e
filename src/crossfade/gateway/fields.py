"""Fields of a head: what requests and responses have in common."""

from __future__ import annotations

import re

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser, HttpResponseParser

__all__ = ["FIELDS", "HOP", "TOKEN", "BadHead", "Fields", "Headers", "feed", "length_of", "without"]

Headers = list[tuple[bytes, bytes]]

# The raw bytes of a method or a field name, and of all fields with the empty line.
TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
FIELDS = rb"(?:" + TOKEN + rb":[\t\x20-\x7e\x80-\xff]*+\r\n)*+\r\n"

# Fields that belong to one connection, not to the message.
HOP = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding"}
    | {b"upgrade"}
)
# What a Connection field must never be able to strip: the other side would see another message.
_KEPT = frozenset({b"host", b"content-length", b"expect", b"authorization", b"cookie"})
_LENGTH = re.compile(rb"[0-9]{1,18}")


class BadHead(Exception):
    """A head that is refused: the status for the answer, and one sentence."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status
        self.why = why


class Fields:
    """What llhttp calls back with."""

    __slots__ = ("complete", "headers", "target")

    def __init__(self) -> None:
        self.target = b""
        self.headers: Headers = []
        self.complete = False

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        self.complete = True


def without(headers: Headers, drop: frozenset[bytes], wishes: list[bytes]) -> Headers:
    """The fields that go on: none of those to drop, none that Connection names."""
    drop = drop.union(wish for wish in wishes if wish not in _KEPT)
    return [field for field in headers if field[0].lower() not in drop]


def length_of(value: bytes, status: int) -> int:
    """A Content-Length: decimal digits and nothing else."""
    if not _LENGTH.fullmatch(value):
        raise BadHead(status, "the Content-Length is not a number")
    return int(value)


def feed(
    parser: HttpRequestParser | HttpResponseParser, head: bytes, seen: Fields, status: int
) -> None:
    """Let llhttp read the head; it has to end where we say that it ends."""
    try:
        parser.feed_data(head)
    except HttpParserUpgrade:
        pass
    except HttpParserError as error:
        # Its text names the rule, never the client's bytes.
        raise BadHead(status, f"the head is malformed: {error}") from None
    if not seen.complete:
        raise BadHead(status, "the head is malformed")
