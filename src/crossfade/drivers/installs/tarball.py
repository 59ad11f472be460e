"""The ``tarball`` install: one archive, checked against its checksum, unpacked into ``root``.

It is fetched to this machine and looked through as a whole.  What the host gets is written anew
from what was seen, so that no other reading of the archive can lead out of ``root``.  It is
unpacked beside ``root`` and renamed when it is whole.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import IO, Final

from crossfade.drivers.installs import _archive
from crossfade.drivers.installs._deeds import (
    NOTE,
    check_packages,
    in_the_way,
    is_here,
    note_of,
    run,
    where,
)
from crossfade.drivers.installs._fetching import MOST, fetched
from crossfade.errors import Failed, UsageError
from crossfade.ports import Host, Progress

__all__ = ["TarballInstall"]

_FORM: Final = re.compile(
    r"(?:(?:https?|file)://[!-~]+#sha256=[0-9a-fA-F]{64})|(?:/[^\0\r\n]*)", re.ASCII
)
_SUM: Final = re.compile(r"(.*)#sha256=([0-9a-fA-F]{64})", re.ASCII)
_PART: Final = 8 * 1024 * 1024


class TarballInstall:
    """One tar archive (plain, gzip, bzip2 or xz) at ``root``.

    packages is ``("URL#sha256=HEX",)`` or a path of this machine, whose checksum is optional.
    strip takes the one directory away that everything in the archive stands in.
    """

    def __init__(
        self,
        host: Host,
        root: Path,
        packages: Sequence[str],
        *,
        strip: bool = False,
        most: int = MOST,
    ) -> None:
        example = "https://…/name.tar.gz#sha256=… or a path of this machine"
        check_packages(packages, _FORM, example)
        if len(packages) != 1:
            raise UsageError(
                "package-refused",
                f"A tarball is one archive; {len(packages)} are asked for.",
                where="install.packages of the recipe",
                next="edit the recipe, then: crossfade plan",
            )
        self.host = host
        self.root = root
        found = _SUM.fullmatch(packages[0])
        self.source = found[1] if found else packages[0]
        self.checksum = found[2].lower() if found else ""
        self.strip = strip
        self.most = most
        self._fresh = root.with_name(f".{root.name}.crossfade-new")

    def describe(self) -> tuple[str, ...]:
        """What will be done."""
        place = where(self.host, str(self.root))
        if self.done():
            return (f"{self.source} is unpacked at {place}",)
        proof = f"the checksum {self.checksum[:16]}…" if self.checksum else "no checksum given"
        return (f"fetch {self.source} ({proof})", f"unpack it at {place}")

    def _wanted(self, checksum: str) -> str:
        return f"{self.source}\nsha256 {checksum}\nstrip {'yes' if self.strip else 'no'}\n"

    def _installed(self) -> str:
        """The checksum of what stands there, if it is what is asked for."""
        note = note_of(self.host, self.root / NOTE)
        found = re.search(r"^sha256 ([0-9a-f]{64})$", note, re.MULTILINE)
        if not found or note != self._wanted(found[1]):
            return ""
        return found[1] if found[1] == (self.checksum or self._sum_of_file()) else ""

    def _sum_of_file(self) -> str:
        """The sum of a file of this machine now, when none was given; empty when it is gone."""
        try:
            with Path(self.source).open("rb") as file:
                return _sum(file)
        except OSError:
            return ""

    def done(self) -> bool:
        """Whether the archive that is asked for stands there, whole."""
        return bool(self._installed())

    def fingerprint(self) -> str:
        """16 hex digits of the archive's checksum and how it was unpacked; empty when not done."""
        checksum = self._installed()
        return sha256(self._wanted(checksum).encode()).hexdigest()[:16] if checksum else ""

    def install(self, progress: Progress | None = None) -> None:
        """Fetch, check, unpack beside, rename.  Raises Failed: download-failed, download-differs,
        archive-refused, disk-too-small, install-in-the-way."""
        if self.done():
            return
        if self.host.exists(self.root) and not self.host.exists(self.root / NOTE):
            raise in_the_way(self.host, self.root, "an installation of ours")
        with fetched(self.source, self.most, progress) as archive:
            checksum = _sum(archive)
            if self.checksum and checksum != self.checksum:
                raise Failed(
                    "download-differs",
                    "The archive is not the one that was asked for: its checksum differs.",
                    where=f"{self.source}\nasked for {self.checksum}\ngot       {checksum}",
                )
            plan = _archive.look_through(archive, self.source, strip=self.strip)
            self._check_room(plan.size)
            self._unpack(archive, plan, progress)
        self.host.write(self._fresh / "new" / NOTE, self._wanted(checksum).encode(), mode=0o644)
        self.host.remove(self.root)
        run(self.host, ("mv", "-T", "--", str(self._fresh / "new"), str(self.root)))
        self.host.remove(self._fresh)

    def _check_room(self, size: int) -> None:
        free = self.host.free_bytes(self.root)
        if free < 2 * size:
            raise Failed(
                "disk-too-small",
                f"The archive needs {2 * size:,} bytes while it is unpacked; {free:,} are free.",
                where=where(self.host, str(self.root)),
            )

    def _unpack(self, archive: IO[bytes], plan: _archive.Plan, progress: Progress | None) -> None:
        """Send it in parts, each of which survives a link that is cut; then unpack them."""
        self.host.remove(self._fresh)
        self.host.make_directory(self.root.parent, mode=0o755)
        self.host.make_directory(self._fresh)
        parts: list[str] = []
        sent = 0

        def send(data: bytes) -> None:
            nonlocal sent
            parts.append(str(self._fresh / f"part-{len(parts):05}"))
            self.host.write(Path(parts[-1]), data)
            sent += len(data)
            if progress:
                progress(sent, None)

        packed = not is_here(self.host)
        try:
            _archive.rewrite(archive, plan, send, part=_PART, packed=packed)
            text = (
                'cd -- "$1" && mkdir -m 755 new && cat part-* | '
                'tar -x -f - ${2:+"$2"} -C new --no-same-owner && rm -f part-*'
            )
            words = (str(self._fresh), "--gzip" if packed else "")
            run(self.host, ("sh", "-c", text, "sh", *words))
        except BaseException:
            self.host.remove(self._fresh)
            raise

    def remove(self) -> None:
        """Remove the installation, and what a broken try left."""
        self.host.remove(self._fresh)
        if self.host.exists(self.root / NOTE):
            self.host.remove(self.root)


def _sum(file: IO[bytes]) -> str:
    """The checksum of a whole file, which is then at its begin again."""
    file.seek(0, os.SEEK_SET)
    whole = sha256()
    while portion := file.read(1 << 20):
        whole.update(portion)
    file.seek(0, os.SEEK_SET)
    return whole.hexdigest()
