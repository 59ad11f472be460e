"""Run as a program: one scenario in a process that may be killed or is not root.

    python child.py copy SOURCE TARGET           copy, as whoever runs it
    python child.py ordinary SOURCE TARGET       copy and compare, as an ordinary user
    python child.py write SOURCE                 change files without end
    python child.py small-disk SOURCE TARGET     copy onto a disk of a megabyte (own namespace)

Prints what happened as JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
from pathlib import Path

from crossfade.drivers.files.tree import TreeFiles
from crossfade.errors import Failed

NOBODY = 65534


def copy(source: Path, target: Path, rsync: str) -> None:
    """Copy once; tell the error if there is one."""
    try:
        report = TreeFiles("uploads", source, rsync=rsync).copy_to(TreeFiles("uploads", target))
    except Failed as failed:
        print(json.dumps(failed.as_json()))  # noqa: T201 (the result)
    else:
        print(json.dumps({"copied": report.copied}))  # noqa: T201 (the result)


def ordinary(source: Path, target: Path, rsync: str) -> None:
    """As an ordinary user: copy twice, compare both digests, remove the copy again."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    os.umask(0o077)
    files, there = TreeFiles("uploads", source, rsync=rsync), TreeFiles("uploads", target)
    try:
        files.copy_to(TreeFiles("uploads", target))
        second = files.copy_to(TreeFiles("uploads", target))
        differences = there.digest().differences(files.digest())
        owners = {path.lstat().st_uid for path in target.rglob("*")}
        there.remove()
    except Failed as failed:
        print(json.dumps(failed.as_json()))  # noqa: T201 (the result)
        return
    told = {
        "copied": second.copied,
        "differences": differences,
        "own": owners == {os.getuid()},
        "gone": not target.exists(),
    }
    print(json.dumps(told))  # noqa: T201 (the result)


def write(source: Path) -> None:
    """Create, append, rewrite, rename, link and delete without end, in a few directories."""
    chance = random.Random(7)
    for number in range(sys.maxsize):
        path = source / f"d{chance.randrange(4)}" / f"f{chance.randrange(60)}"
        other = source / f"d{chance.randrange(4)}" / f"f{chance.randrange(60)}"
        with contextlib.suppress(OSError):
            path.parent.mkdir(exist_ok=True)
            match chance.randrange(9):
                case 0 | 1:
                    path.write_bytes(chance.randbytes(chance.randrange(30_000)))
                case 2 | 3:
                    with path.open("ab") as file:
                        file.write(b"line %d\n" % number)
                case 4:
                    path.rename(other)
                case 5:
                    path.unlink()
                case 6:
                    path.symlink_to(other)
                case 7:
                    path.hardlink_to(other)
                case _:
                    path.parent.rename(source / f"away{chance.randrange(3)}")


def small_disk(source: Path, target: Path, rsync: str) -> None:
    """Copy onto a disk of a megabyte, then, when that failed, what fits."""
    target.mkdir()
    mount = ("mount", "-t", "tmpfs", "-o", "size=1m", "none", str(target))
    subprocess.run(mount, check=True)
    copy(source, target / "copy", rsync)
    (source / "too big").unlink()
    copy(source, target / "copy", rsync)


if __name__ == "__main__":
    scenario, *rest = sys.argv[1:]
    if scenario == "write":
        write(Path(rest[0]))
    else:
        run = {"copy": copy, "ordinary": ordinary, "small-disk": small_disk}[scenario]
        run(Path(rest[0]), Path(rest[1]), rest[2])
