"""Heads of responses: as strictly checked as those of requests, and written anew."""

from __future__ import annotations

import re

from httptools import HttpResponseParser

from crossfade.gateway.fields import FIELDS, HOP, BadHead, Fields, Headers, feed, length_of, without
from crossfade.gateway.limits import Limits

__all__ = ["ResponseHead", "parse_response"]

_RESPONSE = re.compile(rb"HTTP/1\.[01] [1-5][0-9][0-9](?: [\t\x20-\x7e\x80-\xff]*+)?\r\n" + FIELDS)
_NO_BODY = frozenset({204, 304})


class ResponseHead:
    """A checked response head.

    length is the number of body bytes, None for a chunked body and -1 for one that ends with the
    connection.  close says that the connection is not to be used again.  plain is the head for a
    client that keeps its connection, when the body needs no other framing.
    """

    __slots__ = ("close", "fields", "length", "plain", "reason", "status", "upgrade")

    def __init__(self, status: int, reason: bytes) -> None:
        self.status = status
        self.reason = reason
        self.fields: Headers = []
        self.length: int | None = 0
        self.close = False
        self.upgrade = b""
        self.plain = b""

    def forwarded(self, *, chunked: bool, close: bool) -> bytes:
        """The head for the client, with the framing that we chose for the body."""
        out = [b"HTTP/1.1 %d %b\r\n" % (self.status, self.reason)]
        out += [b"%b: %b\r\n" % field for field in self.fields]
        if self.status == 101:
            out.append(b"Connection: Upgrade\r\nUpgrade: %b\r\n" % self.upgrade)
        elif chunked:
            out.append(b"Transfer-Encoding: chunked\r\n")
        out.append(b"Connection: close\r\n\r\n" if close else b"\r\n")
        wire = b"".join(out)
        if not chunked and not close:
            self.plain = wire
        return wire


def parse_response(head: bytes, method: bytes, limits: Limits) -> ResponseHead:
    """Read a whole response head to a request with ``method``.  Raises BadHead with 502."""
    match = _RESPONSE.fullmatch(head)
    if len(head) > limits.head_bytes or match is None:
        raise BadHead(502, "the application's response head is malformed")
    seen = Fields()
    parser = HttpResponseParser(seen)
    feed(parser, head, seen, 502)
    if len(seen.headers) > limits.header_count:
        raise BadHead(502, "the application's response has too many header fields")
    response = ResponseHead(parser.get_status_code(), head[13 : head.index(b"\r\n")])
    response.close = head[7] == 0x30
    _read_response_fields(response, seen.headers, method)
    return response


def _read_response_fields(response: ResponseHead, headers: Headers, method: bytes) -> None:
    """Sort the fields, and find out how the body ends."""
    lengths = codings = 0
    length: int | None = -1
    wishes: list[bytes] = []
    hop = False
    for name, value in headers:
        low = name.lower()
        if low == b"content-length":
            lengths += 1
            length = length_of(value, 502)
        elif low in HOP:
            hop = True
            if low == b"connection":
                wishes += [wish.strip().lower() for wish in value.split(b",")]
            elif low == b"transfer-encoding":
                codings += 1
                if value.lower() != b"chunked":
                    raise BadHead(502, "the application's Transfer-Encoding is not chunked")
            elif low == b"upgrade":
                response.upgrade = value
    if lengths > 1 or codings > 1 or (lengths and codings):
        raise BadHead(502, "the application gives the length of its body in conflicting ways")
    if codings:
        length = None
    if method == b"HEAD" or response.status < 200 or response.status in _NO_BODY:
        length = 0
    response.length = length
    response.close = response.close or b"close" in wishes or length == -1
    response.fields = without(headers, HOP, wishes) if hop else headers
    if lengths and (response.status < 200 or response.status == 204):
        response.fields = [f for f in response.fields if f[0].lower() != b"content-length"]
