"""Heads of requests: strictly checked, parsed by llhttp, written anew.

Two readers have to agree before a head counts: our own expression over the raw bytes, which lets
through only lines that every reader ends and splits in the same place, and llhttp.  Nothing of the
raw head is passed on; what goes out is written from the parsed fields.
"""

from __future__ import annotations

import re

from httptools import HttpRequestParser

from crossfade.gateway.fields import (
    FIELDS,
    HOP,
    TOKEN,
    BadHead,
    Fields,
    Headers,
    feed,
    length_of,
    without,
)
from crossfade.gateway.limits import Limits

__all__ = ["RequestHead", "parse_request", "refuse_early"]

_REQUEST = re.compile(TOKEN + rb" [\x21-\x7e\x80-\xff]++ HTTP/1\.[01]\r\n" + FIELDS)
_HOST = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=%\-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")
_ABSOLUTE = re.compile(rb"https?://([^/?#@]*)([/?].*)?", re.IGNORECASE)

# What we write ourselves in a request, or answer ourselves.
_NOT_PASSED = HOP | {b"expect", b"x-forwarded-for"}
_PASSED = frozenset({b"content-length", b"x-forwarded-proto", b"x-forwarded-host"})
_MEANT = _NOT_PASSED | _PASSED | {b"host"}


class RequestHead:
    """A checked request head.

    length is the Content-Length (0 without a body) or None for a chunked body.  upgrade says that
    the client asks for a tunnel.  wants_continue says that it waits for "100 Continue".  wire is
    the head as it was last forwarded; a head belongs to one connection, so it stays the same.
    """

    # Defaults that most requests keep.
    host = b""
    length: int | None = 0
    upgrade = b""
    wants_continue = False
    via: tuple[bytes, ...] = ()  # the values of X-Forwarded-For
    named: frozenset[bytes] = frozenset()  # fields with a meaning here, other than Host
    wire = b""

    def __init__(self, method: bytes, target: bytes, http10: bool, fields: Headers) -> None:
        self.method = method
        self.target = target
        self.http10 = self.close = http10
        self.fields = fields

    @property
    def has_body(self) -> bool:
        """Whether any byte of a body follows the head."""
        return self.length != 0

    def forwarded(self, peer: bytes, target_host: bytes, scheme: bytes = b"http") -> bytes:
        """The head for the application.  ``peer`` is the client's address; ``target_host`` stands
        in for the Host that an HTTP/1.0 client need not send; ``scheme`` is how it came to us."""
        out = [b"%b %b HTTP/1.1\r\n" % (self.method, self.target)]
        out += [b"%b: %b\r\n" % field for field in self.fields]
        if self.host and not self.named:
            out.append(
                b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\nX-Forwarded-Host: %b\r\n\r\n"
                % (peer, scheme, self.host)
            )
            self.wire = b"".join(out)
            return self.wire
        if not self.host:
            out.append(b"Host: %b\r\n" % target_host)
        out.append(b"X-Forwarded-For: %b\r\n" % b", ".join((*self.via, peer)))
        if b"x-forwarded-proto" not in self.named:
            out.append(b"X-Forwarded-Proto: %b\r\n" % scheme)
        if b"x-forwarded-host" not in self.named and self.host:
            out.append(b"X-Forwarded-Host: %b\r\n" % self.host)
        if self.length is None:
            out.append(b"Transfer-Encoding: chunked\r\n")
        if self.upgrade:
            out.append(b"Connection: Upgrade\r\nUpgrade: %b\r\n" % self.upgrade)
        out.append(b"\r\n")
        wire = b"".join(out)
        if self.host:
            self.wire = wire
        return wire


def refuse_early(data: bytes, limits: Limits) -> None:
    """Refuse the beginning of a request head that can never become a good one.

    Called while the empty line has not come yet.  Raises BadHead."""
    # An LF without its CR, or a CR without its LF: no use waiting for more.
    ends = data.count(b"\r\n")
    if data.count(b"\n") > ends or data.count(b"\r") - data.endswith(b"\r") > ends:
        raise BadHead(400, "a line of the head does not end in CR LF")
    end = data.find(b"\r\n")
    # The method and the version stand in the same line.
    if (len(data) if end < 0 else end) > limits.target_bytes + 64:
        raise BadHead(414, "the request target is too long")
    if len(data) > limits.head_bytes:
        raise BadHead(431, "the request head is too large")


def parse_request(head: bytes, limits: Limits) -> RequestHead:
    """Read a whole request head, its empty line included.  Raises BadHead."""
    if len(head) > limits.head_bytes or not _REQUEST.fullmatch(head):
        refuse_early(head, limits)
        raise BadHead(400, "the request head is malformed")
    seen = Fields()
    parser = HttpRequestParser(seen)
    feed(parser, head, seen, 400)
    if len(seen.target) > limits.target_bytes:
        raise BadHead(414, "the request target is too long")
    if len(seen.headers) > limits.header_count:
        raise BadHead(431, "the request has too many header fields")
    # llhttp has accepted the version, and the expression has pinned where it stands.
    end = head.index(b"\r\n")
    request = RequestHead(parser.get_method(), seen.target, head[end - 1] == 0x30, seen.headers)
    _read_request_fields(request, seen.headers)
    _check_target(request)
    return request


def _read_request_fields(request: RequestHead, headers: Headers) -> None:
    """Sort the fields into what frames the message, what stays here, and what goes on."""
    hosts = lengths = codings = 0
    wishes: list[bytes] = []
    upgrade = b""
    for name, value in headers:
        low = name.lower()
        if low not in _MEANT:
            continue
        if low == b"host":
            hosts += 1
            request.host = value
            continue
        request.named |= {low}
        if low == b"content-length":
            lengths += 1
            request.length = length_of(value, 400)
        elif low == b"connection":
            wishes += [wish.strip().lower() for wish in value.split(b",")]
        elif low == b"transfer-encoding":
            codings += 1
            if value.lower() != b"chunked":
                raise BadHead(400, "a Transfer-Encoding other than chunked")
        elif low == b"upgrade":
            upgrade = value
        elif low == b"x-forwarded-for":
            request.via += (value,)
        elif low == b"expect":
            if value.lower() != b"100-continue":
                raise BadHead(417, "an Expect other than 100-continue")
            request.wants_continue = not request.http10
    named = hosts == 1 and _HOST.fullmatch(request.host) is not None
    if not named and not (hosts == 0 and request.http10):
        raise BadHead(400, "exactly one well-formed Host field is needed")
    if lengths > 1 or codings > 1 or (lengths and codings) or (codings and request.http10):
        raise BadHead(400, "the length of the body is given in conflicting ways")
    if codings:
        request.length = None
    request.close = request.http10 or b"close" in wishes
    # An h2c tunnel would carry requests past the hold; a body before a tunnel has no clear end.
    if b"upgrade" in wishes and not request.http10 and request.length == 0:
        request.upgrade = b"" if upgrade.lower().startswith(b"h2") else upgrade
    if not request.named <= _PASSED:
        request.fields = without(headers, _NOT_PASSED, wishes)


def _check_target(request: RequestHead) -> None:
    """Accept an origin-form, an absolute-form that agrees with Host, and ``OPTIONS *``."""
    target = request.target
    if request.method == b"CONNECT":
        raise BadHead(405, "CONNECT is not served here")
    if target.startswith(b"/") and b"#" not in target:
        return
    if b"#" in target:
        raise BadHead(400, "a request target has no fragment")
    if target == b"*" and request.method == b"OPTIONS":
        return
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None:
        raise BadHead(400, "the request target is malformed")
    authority, rest = absolute.group(1), absolute.group(2) or b"/"
    if not authority or (request.host or authority).lower() != authority.lower():
        raise BadHead(400, "the request target and Host name different hosts")
    request.target = rest if rest.startswith(b"/") else b"/" + rest
