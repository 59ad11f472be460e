"""Pristine files of the old version, and where they are had from."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import posixpath
import re
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import IO, Literal, Protocol, runtime_checkable

from crossfade.errors import Refused
from crossfade.finding._far import Far

__all__ = ["ArchiveStock", "Change", "Changes", "DirectoryStock", "PipStock", "Stock"]

Change = Literal["added", "modified", "deleted"]


@runtime_checkable
class Stock(Protocol):
    """The pristine tree of a version: sums of its files by their path in the tree."""

    how: str
    version: str | None

    def files(self) -> Mapping[str, str]:
        """SHA-256 of every file, in hex, by its path below the installation's root."""

    def text(self, path: str) -> bytes | None:
        """The file as it was shipped; None where only its sum is known."""


@runtime_checkable
class Changes(Protocol):
    """What an engine says has changed in a container since its image (``docker diff``)."""

    how: str
    version: str | None

    def changes(self) -> Mapping[str, Change]:
        """What became of each file, by its path below the root that it is given for."""


class DirectoryStock:
    """A directory of this machine that has the version as it was shipped."""

    how = "directory"

    def __init__(self, place: Path, version: str | None = None) -> None:
        self.version = version
        self._place = place

    def files(self) -> Mapping[str, str]:
        """Sums of the directory's files; links are not followed."""
        return {
            path.relative_to(self._place).as_posix(): _sum_of(path.open("rb"))
            for path in self._place.rglob("*")
            if path.is_file() and not path.is_symlink()
        }

    def text(self, path: str) -> bytes | None:
        """The file's bytes."""
        found = self._place / path
        return found.read_bytes() if found.is_file() else None


class ArchiveStock:
    """A tar or zip file (also a wheel or a WAR), read by the standard library, never unpacked.

    A directory that everything is in is not part of the paths; ``strip`` says it otherwise.
    Raises Refused(stock-unreadable).
    """

    how = "archive"

    def __init__(self, archive: Path, version: str | None = None, strip: int | None = None) -> None:
        self.version = version
        self._archive = archive
        self._strip = strip
        self._names: dict[str, str] = {}
        self._sums: dict[str, str] | None = None

    def files(self) -> Mapping[str, str]:
        """Sums of the archive's files, read once."""
        if self._sums is None:
            try:
                raw = self._zipped() if zipfile.is_zipfile(self._archive) else self._tarred()
            except (OSError, tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
                raise Refused(
                    "stock-unreadable",
                    "The archive of the old version cannot be read.",
                    where=f"{self._archive}: {type(error).__name__}",
                ) from error
            strip = self._common(raw) if self._strip is None else self._strip
            self._names = {"/".join(name.split("/")[strip:]): name for name in raw}
            self._names.pop("", None)
            self._sums = {short: raw[name] for short, name in self._names.items()}
        return self._sums

    def text(self, path: str) -> bytes | None:
        """The file's bytes."""
        self.files()
        name = self._names.get(path)
        if name is None:
            return None
        if zipfile.is_zipfile(self._archive):
            with zipfile.ZipFile(self._archive) as opened:
                return opened.read(name)
        with tarfile.open(self._archive) as tar:
            for member in tar:
                if member.isfile() and _plain(member.name) == name:
                    stream = tar.extractfile(member)
                    return stream.read() if stream else None
        return None

    def _zipped(self) -> dict[str, str]:
        with zipfile.ZipFile(self._archive) as opened:
            return {
                one.filename: _sum_of(opened.open(one))
                for one in opened.infolist()
                if not one.is_dir()
            }

    def _tarred(self) -> dict[str, str]:
        found = {}
        with tarfile.open(self._archive) as tar:
            for member in tar:
                stream = tar.extractfile(member) if member.isfile() else None
                if stream:
                    found[_plain(member.name)] = _sum_of(stream)
        return found

    def _common(self, names: Mapping[str, str]) -> int:
        if self._archive.suffix in (".whl", ".war", ".jar"):
            return 0
        tops = {name.split("/", 1)[0] for name in names}
        return int(len(tops) == 1 and all("/" in name for name in names))


class PipStock:
    """What pip has written down of a Python environment on the machine: RECORD of each package."""

    how = "pip"
    version: str | None = None

    def __init__(self, files: Mapping[str, str]) -> None:
        self._files = files

    @classmethod
    def there(cls, far: Far, root: str, records: Mapping[str, int]) -> PipStock:
        """Of the RECORD files (paths with their sizes) below ``root``."""
        found: dict[str, str] = {}
        for path, data in far.texts(records).items():
            place = PurePosixPath(path).parent.parent
            for row in csv.reader(io.StringIO(data.decode("utf-8", "surrogateescape"))):
                full = posixpath.normpath(place / row[0]) if row else ""
                if full.startswith(f"{root}/"):
                    value = row[1] if len(row) > 1 else ""
                    found[full.removeprefix(f"{root}/")] = _hex(value)
        return cls(found)

    def files(self) -> Mapping[str, str]:
        """Sums by path; empty for a file that pip names without one (RECORD itself)."""
        return self._files

    def text(self, path: str) -> bytes | None:
        """Never known."""
        return None


def _hex(value: str) -> str:
    """RECORD's way to write a sum, in hex."""
    kind, _, text = value.partition("=")
    if kind != "sha256" or not re.fullmatch(r"[\w-]{43}", text):
        return ""
    return base64.urlsafe_b64decode(text + "=").hex()


def _plain(name: str) -> str:
    return name.removeprefix("./")


def _sum_of(stream: IO[bytes]) -> str:
    with stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]
