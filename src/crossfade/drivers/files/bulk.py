"""The first copy of a big tree by rsync, where it is installed.

rsync only does the bulk.  What it did is never trusted by size and time alone: our own pass always
follows, and with it comes everything that rsync leaves out (FIFOs, paths longer than it takes,
files that changed meanwhile).
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Final

from crossfade.errors import Failed
from crossfade.ports import CopyReport, Progress

__all__ = ["argv", "copy", "parse_statistics"]

_TOLD: Final = re.compile(rb"\s*(\d+)\s+\d+%")
_COUNTS: Final = re.compile(
    r"^(Number of [a-z ]+|Literal data): (\d+)(?:[^(\n]*\(reg: (\d+))?", re.M
)

_LEFT_TO_US: Final = (0, 23, 24)
"""Done; some entries could not be copied; some vanished.  Our own pass copies or explains them."""


def argv(rsync: str, source: Path, target: Path) -> tuple[str, ...]:
    """The command that makes ``target`` like ``source``; devices, sockets and FIFOs left out."""
    options = "-rlptgoHAXS"  # -a without -D, and hard links, access lists, attributes, holes
    return (
        rsync,
        options,
        "--numeric-ids",
        "--delete",
        "--no-human-readable",
        "--info=progress2,stats2,nonreg0",
        f"{source}/",
        f"{target}/",
    )


def parse_statistics(text: str) -> CopyReport:
    """Read what rsync prints at its end.  Numbers that are missing count as 0."""
    numbers = {name: int(number) for name, number, _ in _COUNTS.findall(text)}
    made_files = {name: int(files or 0) for name, _, files in _COUNTS.findall(text)}
    made = numbers.get("Number of created files", 0)
    again = numbers.get("Number of regular files transferred", 0)
    return CopyReport(
        copied=made + max(0, again - made_files.get("Number of created files", 0)),
        removed=numbers.get("Number of deleted files", 0),
        bytes=numbers.get("Literal data", 0),
    )


def copy(
    rsync: str, source: Path, target: Path, total: int, progress: Progress | None
) -> CopyReport:
    """Run rsync to its end.  Raises Failed (disk-full, rsync-missing, rsync-failed)."""
    command = argv(rsync, source, target)
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | {"LC_ALL": "C"},
        )
    except OSError as error:
        raise Failed("rsync-missing", f"rsync does not start: {error}", where=rsync) from error
    try:
        out, err = _listen(process, total, progress)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    if process.returncode not in _LEFT_TO_US:
        lines = "\n".join(err.decode(errors="replace").splitlines()[-5:])
        where = f"{' '.join(command)}\n{lines}"
        if b"No space left on device" in err or b"Disk quota exceeded" in err:
            raise Failed("disk-full", f"The disk of {target} is full.", where=where)
        raise Failed("rsync-failed", f"rsync ended with status {process.returncode}.", where=where)
    return parse_statistics(out.decode(errors="replace"))


def _listen(
    process: subprocess.Popen[bytes], total: int, progress: Progress | None
) -> tuple[bytes, bytes]:
    """What rsync prints, telling its progress meanwhile: the last part of both streams."""
    import threading

    errors = bytearray()

    def gather() -> None:
        assert process.stderr is not None  # noqa: S101 (we asked for the pipe)
        for line in process.stderr:
            errors.extend(line)
            del errors[:-65536]

    reader = threading.Thread(target=gather, daemon=True)
    reader.start()
    out = b""
    assert process.stdout is not None  # noqa: S101 (we asked for the pipe)
    while portion := os.read(process.stdout.fileno(), 65536):
        out = (out + portion)[-65536:]
        told = _TOLD.match(out.rpartition(b"\r")[2])
        if progress and told:
            progress(min(int(told[1]), total), total)
    process.wait()
    reader.join()
    process.stdout.close()
    if process.stderr is not None:
        process.stderr.close()
    return out, bytes(errors)
