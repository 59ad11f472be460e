"""From the bytes of files to texts that can be merged, and what stands in the way."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LARGEST", "Text", "Unmergeable", "decoded"]

LARGEST = 5 * 1024 * 1024
"""Bytes of the largest file that is read."""

_BOM = b"\xef\xbb\xbf"
_WIDE = (b"\xff\xfe", b"\xfe\xff")


class Unmergeable(Exception):
    """A file that is no text for us; the reason quotes nothing of it."""


@dataclass(frozen=True, slots=True)
class Text:
    """A decoded file, without its byte order mark."""

    text: str
    encoding: str
    bom: bool

    def encoded(self, text: str) -> bytes:
        """Another text as bytes of the same kind.  Raises UnicodeEncodeError."""
        return (_BOM if self.bom else b"") + text.encode(self.encoding)


def decoded(name: str, files: dict[str, bytes]) -> dict[str, Text]:
    """The files' texts by whose they are (``yours``, ...), all in one encoding.

    That is UTF-8, or Latin-1 for ``.properties`` where one of them is not UTF-8; with that each
    byte is one character and comes out as it was.  Raises Unmergeable."""
    for whose, content in files.items():
        if len(content) > LARGEST:
            raise Unmergeable(f"{whose} is larger than {LARGEST // 1024 // 1024} MB")
        if content.startswith(_WIDE):
            raise Unmergeable(f"{whose} is UTF-16; only UTF-8 is read")
        if b"\0" in content:
            raise Unmergeable(f"{whose} is not text")
    wrong = {whose: line for whose, content in files.items() if (line := _not_utf8(content))}
    if wrong and not name.endswith(".properties"):
        whose, line = next(iter(wrong.items()))
        raise Unmergeable(f"{whose} is not UTF-8 (line {line})")
    mixed = [w for w, content in files.items() if w not in wrong and not content.isascii()]
    if wrong and mixed:
        raise Unmergeable(f"{next(iter(wrong))} is Latin-1 and {mixed[0]} is UTF-8")
    return {whose: _text(content, bool(wrong)) for whose, content in files.items()}


def _text(content: bytes, latin: bool) -> Text:
    if latin:
        return Text(content.decode("latin-1"), "latin-1", bom=False)
    bom = content.startswith(_BOM)
    return Text(content[len(_BOM) * bom :].decode(), "utf-8", bom)


def _not_utf8(content: bytes) -> int:
    """The first line that is not UTF-8; 0 where all are."""
    try:
        content.decode()
    except UnicodeDecodeError as error:
        return content.count(b"\n", 0, error.start) + 1
    return 0
