"""How rsync is called, and how what it prints is read."""

from __future__ import annotations

from pathlib import Path

from crossfade.drivers.files.bulk import argv, parse_statistics
from crossfade.ports import CopyReport

PRINTED = """\
              3  50%    0.00kB/s    0:00:00 (xfr#1, to-chk=0/4)

Number of files: 40 (reg: 20, dir: 18, link: 1, special: 1)
Number of created files: 14 (reg: 7, dir: 6, link: 1)
Number of deleted files: 2 (reg: 2)
Number of regular files transferred: 9
Total file size: 1000 bytes
Total transferred file size: 900 bytes
Literal data: 890 bytes
Matched data: 0 bytes
"""


def test_argv() -> None:
    """The trees' insides are copied, numerically, with everything that belongs to an entry."""
    words = argv("/usr/bin/rsync", Path("/a b"), Path("/c:d"))
    assert words[0] == "/usr/bin/rsync"
    assert words[1] == "-rlptgoHAXS"
    assert {"--numeric-ids", "--delete"} < set(words)
    assert words[-2:] == ("/a b/", "/c:d/")


def test_statistics() -> None:
    """Created entries and files written again count as copied."""
    assert parse_statistics(PRINTED) == CopyReport(copied=16, removed=2, bytes=890)
    assert parse_statistics("") == CopyReport(0, 0, 0)
