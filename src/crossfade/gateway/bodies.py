"""Bodies as they stand on a connection: where they end, and what is data in them.

Each reader is fed the bytes as they come.  ``feed`` returns the pieces of data, and the bytes that
come after the body; ``done`` is true once the last byte of the body was seen.
"""

from __future__ import annotations

import re

from crossfade.gateway.limits import Limits

__all__ = ["BadBody", "Body", "ChunkedBody", "CloseBody", "LengthBody", "body_of", "chunk"]

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?")
_TRAILERS = re.compile(rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]++:[\t\x20-\x7e\x80-\xff]*+\r\n)*+\r\n")
_LOOSE = re.compile(rb"(?<!\r)\n|\r(?=[^\n])")


class BadBody(Exception):
    """A body whose framing is broken: one sentence."""


class LengthBody:
    """A body of a known number of bytes."""

    __slots__ = ("done", "left")

    def __init__(self, length: int) -> None:
        self.left = length
        self.done = length == 0

    def feed(self, data: bytes) -> tuple[list[bytes], bytes]:
        """The data in ``data``, and what comes after the body."""
        if len(data) < self.left:
            self.left -= len(data)
            return [data], b""
        piece, rest = (data, b"") if len(data) == self.left else _split(data, self.left)
        self.left = 0
        self.done = True
        return [piece], rest


class CloseBody:
    """A body that ends when the connection does; ``done`` is never set here."""

    __slots__ = ("done",)

    def __init__(self) -> None:
        self.done = False

    def feed(self, data: bytes) -> tuple[list[bytes], bytes]:
        """All of it is data."""
        return [data], b""


class ChunkedBody:
    """A chunked body.  Extensions are ignored; trailers are checked and dropped."""

    __slots__ = ("_held", "_left", "_limits", "_part", "done")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._held = b""
        self._left = 0
        self._part = "size"
        self.done = False

    def feed(self, data: bytes) -> tuple[list[bytes], bytes]:
        """The data of the chunks in ``data``, and what comes after the last one."""
        pieces: list[bytes] = []
        if self._held:
            data = self._held + data
            self._held = b""
        at = 0
        while at < len(data) and not self.done:
            if self._part == "data":
                piece = data[at : at + self._left]
                pieces.append(piece)
                at += len(piece)
                self._left -= len(piece)
                if not self._left:
                    self._part = "end"
                continue
            used = self._line(data, at)
            if not used:
                self._held = data[at:]
                return pieces, b""
            at += used
        return pieces, data[at:]

    def _line(self, data: bytes, at: int) -> int:
        """Read what stands between the data of two chunks; how many bytes, 0 if too few."""
        if self._part == "end":
            return self._end_of_data(data, at)
        if self._part == "trailers":
            return self._end_of_body(data, at)
        end = data.find(b"\r\n", at, at + self._limits.chunk_line_bytes)
        if end < 0:
            self._check_unfinished(data[at:], self._limits.chunk_line_bytes, "a chunk size")
            return 0
        match = _SIZE.fullmatch(data, at, end)
        if match is None:
            raise BadBody("a chunk size is malformed")
        self._left = int(match.group(1), 16)
        self._part = "data" if self._left else "trailers"
        return end + 2 - at

    def _end_of_data(self, data: bytes, at: int) -> int:
        """The CR LF after the data of a chunk."""
        if not b"\r\n".startswith(data[at : at + 2]):
            raise BadBody("the data of a chunk does not end in CR LF")
        if len(data) - at < 2:
            return 0
        self._part = "size"
        return 2

    def _end_of_body(self, data: bytes, at: int) -> int:
        """The trailers with the empty line that ends the body."""
        if data.startswith(b"\r\n", at):
            end = at + 2
        else:
            found = data.find(b"\r\n\r\n", at, at + self._limits.trailer_bytes)
            if found < 0:
                self._check_unfinished(data[at:], self._limits.trailer_bytes, "the trailer section")
                return 0
            end = found + 4
        if not _TRAILERS.fullmatch(data, at, end):
            raise BadBody("the trailer section is malformed")
        self.done = True
        return end - at

    @staticmethod
    def _check_unfinished(held: bytes, limit: int, what: str) -> None:
        """Refuse what can never become well-formed, so that it need not be kept."""
        if len(held) >= limit:
            raise BadBody(f"{what} is too long")
        if _LOOSE.search(held):
            raise BadBody(f"{what} has a line that does not end in CR LF")


Body = LengthBody | ChunkedBody | CloseBody


def body_of(length: int | None, limits: Limits) -> Body:
    """The reader for a head's length: a number, None for chunked, -1 for until the end."""
    if length is None:
        return ChunkedBody(limits)
    return CloseBody() if length < 0 else LengthBody(length)


def chunk(piece: bytes) -> bytes:
    """One chunk with this data."""
    return b"%x\r\n%b\r\n" % (len(piece), piece)


def _split(data: bytes, at: int) -> tuple[bytes, bytes]:
    return data[:at], data[at:]
