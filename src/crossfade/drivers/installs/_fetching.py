"""Fetch one file to this machine, bounded in size."""

from __future__ import annotations

import http.client
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from crossfade.errors import Failed
from crossfade.ports import Progress

__all__ = ["MOST", "fetched"]

MOST: Final = 8 * 1024**3
"""Bytes that an archive may have."""
_SILENCE: Final = 60.0
_PORTION: Final = 1 << 20


@contextmanager
def fetched(source: str, most: int, progress: Progress | None) -> Iterator[IO[bytes]]:
    """The file behind an address (http, https, file) or a path, in a file without a name.

    Raises Failed: download-failed, with the reason."""
    with tempfile.TemporaryFile() as copy:
        try:
            _copy(source, copy, most, progress)
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
            reason = getattr(reason, "strerror", None) or reason
            raise _failed(source, f"it cannot be fetched: {str(reason).lower()}") from error
        copy.seek(0)
        yield copy


def _copy(source: str, copy: IO[bytes], most: int, progress: Progress | None) -> None:
    address = Path(source).as_uri() if source.startswith("/") else source
    with urllib.request.urlopen(address, timeout=_SILENCE) as answer:  # noqa: S310 (checked form)
        length = answer.headers.get("Content-Length")
        whole = int(length) if length is not None else None
        if (whole or 0) > most:
            raise _failed(source, f"it has {whole:,} bytes; at most {most:,} are taken")
        got = 0
        while portion := answer.read(_PORTION):
            got += len(portion)
            if got > most:
                raise _failed(source, f"it has more than {most:,} bytes")
            copy.write(portion)
            if progress:
                progress(got, whole)
        if whole is not None and got < whole:
            raise _failed(source, f"it ended after {got:,} of {whole:,} bytes")


def _failed(source: str, why: str) -> Failed:
    return Failed("download-failed", f"The archive was not taken: {why}.", where=source)
