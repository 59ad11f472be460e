"""Pristine files: archives, directories, wheels' records, engines; and the nearest known text."""

from __future__ import annotations

import hashlib
import io
import random
import shutil
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import idna
import pytest
from tests.finding.plain import installed, kinds, one

from crossfade.drivers.hosts.local import LocalHost
from crossfade.finding import (
    ArchiveStock,
    Candidate,
    Change,
    DirectoryStock,
    Scope,
    Stock,
    look,
    nearest,
)

FILES = {"conf/a.conf": b"a = 1\n", "lib/b.jar": b"PK\0", "README": b"\xff\xfe"}


def _tar(place: Path, top: str, ending: str) -> Path:
    path = place / f"x{ending}"
    mode = {".tar": "w", ".tar.gz": "w:gz", ".tar.xz": "w:xz"}[ending]
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, data in FILES.items():
            info = tarfile.TarInfo(f"{top}{name}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def _zip(place: Path, top: str, ending: str) -> Path:
    path = place / f"x{ending}"
    with zipfile.ZipFile(path, "w") as opened:
        for name, data in FILES.items():
            opened.writestr(f"{top}{name}", data)
    return path


@pytest.mark.parametrize(
    ("make", "top", "ending"),
    [
        (_tar, "app-1.0/", ".tar.gz"),
        (_tar, "./app-1.0/", ".tar"),
        (_tar, "", ".tar.xz"),
        (_tar, "./", ".tar.gz"),
        (_zip, "app-1.0/", ".zip"),
        (_zip, "", ".whl"),
        (_zip, "", ".war"),
    ],
)
def test_archives(tmp_path: Path, make: object, top: str, ending: str) -> None:
    """Whatever the form, and with or without a directory that everything is in."""
    stock: Stock = ArchiveStock(make(tmp_path, top, ending))  # type: ignore[operator]
    wanted = {name: hashlib.sha256(data).hexdigest() for name, data in FILES.items()}
    assert stock.files() == wanted
    assert stock.text("conf/a.conf") == b"a = 1\n"
    assert stock.text("conf/none") is None


def test_a_directory(tmp_path: Path) -> None:
    """The same from a directory; its links are not followed."""
    for name, data in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    (tmp_path / "loop").symlink_to(tmp_path)
    stock: Stock = DirectoryStock(tmp_path)
    assert set(stock.files()) == set(FILES)
    assert stock.text("README") == b"\xff\xfe"


def test_modified_added_deleted(tmp_path: Path) -> None:
    """Each with its kind; a directory of which nothing is left is one finding, and many files that
    are no configuration are one as well."""
    place, pristine = tmp_path / "app", tmp_path / "pristine"
    for root in (place, pristine):
        for name in ("same.conf", "edited.conf", "deep/er/kept.conf"):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text("x = 1\n")
    for name in ("gone.conf", "docs/a.html", "docs/b/c.html"):
        (pristine / name).parent.mkdir(parents=True, exist_ok=True)
        (pristine / name).write_text("x")
    (place / "edited.conf").write_text("x = 2\n")
    (place / "deep/er/mine.dat").write_text("x")
    (place / "uploads").mkdir()
    (place / "logs").mkdir()
    (place / "logs/app.conf").write_text("not looked at")
    for number in range(20):
        (place / f"uploads/{number}.jpg").write_text("x")
    (place / "uploads/own.conf").write_text("x = 1\n")
    scope = Scope({str(place): DirectoryStock(pristine, "1.0")})
    inventory = look(LocalHost(), installed(place), scope=scope)
    assert {
        name.removeprefix(str(place)): kind for name, kind in kinds(inventory, str(place)).items()
    } == {
        "/edited.conf": "modified",
        "/gone.conf": "deleted",
        "/docs/": "deleted",
        "/deep/er/mine.dat": "added",
        "/uploads/": "asset",
        "/uploads/own.conf": "added",
    }
    base = one(inventory, f"{place}/edited.conf").base
    assert base is not None
    assert (base.how, base.version) == ("directory", "1.0")
    assert base.sha256 == hashlib.sha256(b"x = 1\n").hexdigest()
    assert inventory.coverage.left_out == {"caches, logs and the like": 1}


def test_directories_that_the_stock_has_are_not_left_out(tmp_path: Path) -> None:
    """A directory named like a cache is looked into where the version ships files in one."""
    place, pristine = tmp_path / "app", tmp_path / "pristine"
    for root in (place, pristine):
        (root / "cache").mkdir(parents=True)
        (root / "cache/tuned.conf").write_text(root.name)
    scope = Scope({str(place): DirectoryStock(pristine)})
    inventory = look(LocalHost(), installed(place), scope=scope)
    assert kinds(inventory, str(place)) == {f"{place}/cache/tuned.conf": "modified"}


def test_what_pip_has_recorded(tmp_path: Path) -> None:
    """A Python environment is its own pristine tree: RECORD has the sums."""
    place = tmp_path / "venv"
    packages = place / "lib/python3.11/site-packages"
    packages.mkdir(parents=True)
    source = Path(idna.__file__).parent
    (info,) = source.parent.glob("idna-*.dist-info")
    shutil.copytree(source, packages / "idna", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(info, packages / info.name)
    (place / "bin").mkdir()
    for line in (info / "RECORD").read_text().splitlines():
        if line.startswith("../../../bin/"):  # scripts, where this release has some
            shutil.copy(source.parents[2] / ".." / line.split(",")[0][9:], place / "bin")
    (place / "bin/activate").write_text("made by venv")
    (place / "pyvenv.cfg").write_text("home = /usr/bin\n")
    assert kinds(look(LocalHost(), installed(place)), str(packages)) == {}
    with (packages / "idna/core.py").open("a") as file:
        file.write("# patched here\n")
    (packages / "sitecustomize.py").write_text("import idna\n")
    (packages / "idna/codec.py").unlink()
    inventory = look(LocalHost(), installed(place))
    assert kinds(inventory, str(packages)) == {
        f"{packages}/idna/core.py": "modified",
        f"{packages}/idna/codec.py": "deleted",
        f"{packages}/sitecustomize.py": "added",
    }
    assert kinds(inventory, f"{place}/bin") | kinds(inventory, f"{place}/pyv") == {}


def test_what_an_engine_reports(tmp_path: Path) -> None:
    """Changes of a container since its image are taken as they are told."""

    class Engine:
        """As a container's engine would tell it."""

        how = "image"
        version: str | None = "sha256:abc"

        def changes(self) -> Mapping[str, Change]:
            """Two that count, and one in a place for scratch."""
            return {
                "etc/app.conf": "modified",
                "opt/x": "added",
                "opt/y": "deleted",
                "var/log/app.txt": "added",
            }

    inventory = look(LocalHost(), installed(tmp_path), scope=Scope({str(tmp_path): Engine()}))
    assert kinds(inventory, str(tmp_path)) == {
        f"{tmp_path}/etc/app.conf": "modified",
        f"{tmp_path}/opt/x": "added",
        f"{tmp_path}/opt/y": "deleted",
    }


@pytest.mark.parametrize("seed", range(40))
def test_the_nearest_base_is_the_right_one(seed: int, tomcat: Path) -> None:
    """Of six releases of a file, the one that was edited, after two to twelve edits."""
    rng = random.Random(seed)
    start = (tomcat / "conf/server.xml").read_text().splitlines()
    releases = [start]
    for _ in range(5):
        lines = list(releases[-1])
        lines[rng.randrange(10, len(lines) - 10)] += f" <!-- release {rng.random()} -->"
        lines.insert(rng.randrange(10, len(lines)), f"    <Valve className='v{rng.random()}' />")
        releases.append(lines)
    known = [Candidate(f"9.0.{n}", "\n".join(r).encode()) for n, r in enumerate(releases)]
    true = rng.randrange(6)
    edited = list(releases[true])
    shared = [n for n, line in enumerate(edited) if "release" not in line and "'v0" not in line]
    for at in rng.sample(shared, rng.randint(2, 12)):
        edited[at] = edited[at].replace("0", "1") + " "
    best = nearest("\r\n".join(edited).encode(), rng.sample(known, 6))
    assert best is not None
    assert best.versions == (f"9.0.{true}",)
    assert best.margin is not None
    assert best.margin > 0


def test_no_base_where_nothing_is_near() -> None:
    """A text that shares no line with any, and one without candidates, has none."""
    assert nearest(b"a\nb\n", [Candidate("1", b"c\nd\n")]) is None
    assert nearest(b"a\nb\n", []) is None
