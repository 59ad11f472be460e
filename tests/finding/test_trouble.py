"""What makes looking hard: files that cannot be read, strange names, loops, large files, time."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from tests.finding.apart import Apart
from tests.finding.plain import Hooked, installed, kinds, one

from crossfade.drivers.hosts.local import LocalHost
from crossfade.errors import Failed, Refused
from crossfade.finding import (
    ArchiveStock,
    DirectoryStock,
    Inventory,
    Kind,
    Running,
    Scope,
    look,
    text,
)

NOBODY = 5997


def looked(place: Path) -> Inventory:
    """A look at a directory, with what stands beside it as its pristine tree."""
    pristine = place.with_name("pristine")
    pristine.mkdir(exist_ok=True)
    stocks = {str(place): DirectoryStock(pristine)}
    return look(LocalHost(), installed(place), scope=Scope(stocks))


def test_names_of_every_kind(tmp_path: Path) -> None:
    """Spaces, quotes, line ends, leading dashes and bytes that are no UTF-8: each is found under
    its own name, can be written down and read again, and cannot upset a terminal."""
    place = tmp_path / "app"
    place.mkdir()
    names = [
        b"with space.conf",
        b'it\'s "quoted".conf',
        b"two\nlines.conf",
        b"-rf.conf",
        b"$(touch x).conf",
        "größe.conf".encode(),
        b"latin-\xe4.conf",
        b"\x1b[31mred.conf",
        b"back\\slash.conf",
        b"end",
    ]
    for name in names:
        Path(os.fsdecode(os.fsencode(place) + b"/" + name)).write_bytes(name)
    inventory = looked(place)
    wanted = {f"{place}/{name.decode('utf-8', 'surrogateescape')}" for name in names}
    assert set(kinds(inventory, str(place))) == wanted
    assert all(one(inventory, name).sha256 for name in wanted)
    again = json.loads(json.dumps(inventory.as_json()))
    assert {found["name"] for found in again["found"]} >= wanted
    shown = text(inventory)
    shown.encode("utf-8")
    assert "\x1b" not in shown
    assert "two\\nlines.conf" in shown


def test_what_the_account_may_not_read(host: Apart) -> None:
    """Another account than root: what it may not read is named, and the rest is found."""
    host.put("/opt/app/open.conf", "a = 1\n")
    host.put("/opt/app/shut.conf", "a = 1\n", 0o600)
    host.put("/opt/app/closed/inside.conf", "a = 1\n")
    host.put("/etc/shutdir/x.conf", "root = /opt/app\n")
    host.put("/etc/nginx/sites-available/shut", "root /opt/app;\n", 0o600)
    host.sh("chmod 700 /opt/app/closed /etc/shutdir")
    stock = {"/opt/app": DirectoryStock(Path("/nowhere-at-all"))}
    inventory = look(host.other(NOBODY), installed("/opt/app"), scope=Scope(stock))
    found = kinds(inventory, "/opt/app")
    assert found == {"/opt/app/open.conf": "added", "/opt/app/shut.conf": "added"}
    assert one(inventory, "/opt/app/shut.conf").sha256 is None
    assert {
        *("/opt/app/shut.conf", "/opt/app/closed", "/etc/shutdir"),
        "/etc/nginx/sites-available/shut",
    } <= set(inventory.coverage.unreadable)
    assert not inventory.coverage.whole
    assert "of what could be looked at" in text(inventory)


def test_the_environment_of_somebody_else(host: Apart) -> None:
    """A process whose environment the account may not read is said to be so."""
    running = host.begin("sleep", "300")
    try:
        inventory = look(
            host.other(NOBODY), installed("/opt"), Running(pid=running.pid), Scope(patience=60)
        )
    finally:
        running.kill()
        running.wait()
    assert f"/proc/{running.pid}/environ" in inventory.coverage.unreadable
    told = inventory.coverage.detectors["runtime"]
    assert told == (
        f"the environment of pid {running.pid} cannot be read; "
        f"what pid {running.pid} has open cannot be seen"
    )


def test_links_in_circles_and_out(tmp_path: Path) -> None:
    """Loops end, and what a link leads to outside of the installation is not read."""
    place, out = tmp_path / "app", tmp_path / "secret.conf"
    place.mkdir()
    out.write_text("include /never/followed\n")
    (place / "loop").symlink_to(place)
    (place / "a.conf").symlink_to("b.conf")
    (place / "b.conf").symlink_to("a.conf")
    (place / "dead.conf").symlink_to("nowhere")
    (place / "out.conf").symlink_to(out)
    (place / "in.conf").symlink_to("real.conf")
    (place / "real.conf").write_text("x = 1\n")
    inventory = looked(place)
    assert len(kinds(inventory, str(place))) == 7
    assert one(inventory, f"{place}/out.conf").sha256 is None
    assert one(inventory, f"{place}/out.conf").link == str(out)
    assert one(inventory, f"{place}/a.conf").sha256 is None
    same = one(inventory, f"{place}/real.conf").sha256
    assert one(inventory, f"{place}/in.conf").sha256 == same
    assert str(out) not in kinds(inventory, str(out))


def test_a_large_file_is_only_compared(tmp_path: Path) -> None:
    """20 MB: its sum is taken, and it is not looked into."""
    place = tmp_path / "app"
    place.mkdir()
    line = b"include /etc/passwd.conf\n"
    (place / "large.conf").write_bytes(line * (20 * 1024 * 1024 // len(line)))
    (place / "below.conf").write_bytes(b"# filler\n" * 400_000)
    inventory = looked(place)
    assert one(inventory, f"{place}/large.conf").sha256
    assert inventory.coverage.unparsed == {
        f"{place}/large.conf": "over 5 MB: only its sum was taken"
    }


def test_texts_that_take_long_to_search(tmp_path: Path) -> None:
    """Four megabytes in one line, and a line a thousand times: searched in seconds, not hours."""
    place = tmp_path / "app"
    place.mkdir()
    (place / "line.json").write_text("db/+" * 1_000_000)
    (place / "many.conf").write_text("include /etc/x.conf a/b+c.conf\n" * 100_000)
    begun = time.monotonic()
    inventory = looked(place)
    assert time.monotonic() - begun < 40
    assert len(kinds(inventory, str(place))) == 2


def test_texts_in_other_codings(host: Apart) -> None:
    """A BOM, UTF-16 and Latin-1 are read, and what they name is found."""
    for name, coding in (("bom", "utf-8-sig"), ("wide", "utf-16"), ("old", "latin-1")):
        host.put(f"/srv/assets/{name}.pem", "x")
        words = f"größe = 1\nfile = /srv/assets/{name}.pem\n"
        host.put(f"/opt/app/{name}.conf", words.encode(coding))
    stock = {"/opt/app": DirectoryStock(Path("/nowhere-at-all"))}
    inventory = look(host, installed("/opt/app"), scope=Scope(stock))
    for name in ("bom", "wide", "old"):
        (seen,) = one(inventory, f"/srv/assets/{name}.pem").evidence
        assert seen.detail == f"/opt/app/{name}.conf names it in line 2"


def test_what_vanishes_meanwhile(tmp_path: Path) -> None:
    """Files and whole directories that go while it is looked are no trouble."""
    place = tmp_path / "app"
    (place / "going").mkdir(parents=True)
    (place / "stays.conf").write_text("x = 1\n")
    for number in range(50):
        (place / "going" / f"{number}.conf").write_text("x = 1\n")

    def hook(script: str) -> str:
        if "-z --" in script:  # sums are taken after the listing
            LocalHost().remove(place / "going")
        return script

    (tmp_path / "pristine").mkdir()
    stock = {str(place): DirectoryStock(tmp_path / "pristine")}
    inventory = look(Hooked(hook), installed(place), scope=Scope(stock))
    assert one(inventory, f"{place}/stays.conf").sha256
    assert one(inventory, f"{place}/going/3.conf").sha256 is None


def test_a_place_that_is_not_there(tmp_path: Path) -> None:
    """No root: that is said, and is not the same as nothing found."""
    inventory = look(LocalHost(), installed(tmp_path / "nowhere"))
    assert "is not there" in inventory.coverage.detectors["unowned"]
    assert not inventory.coverage.whole
    assert "nothing runs at 127.0.0.1:1" in inventory.coverage.detectors["runtime"]
    assert "of what could be looked at" in text(inventory)


def test_a_command_has_a_deadline(tmp_path: Path) -> None:
    """Sums that hang: each command is given up, that is told, and the rest is found."""
    place = tmp_path / "app"
    place.mkdir()
    (place / "a.conf").write_text("x = 1\n")

    def hook(script: str) -> str:
        return script.replace('xargs -0 -r "$1" -z --', "sleep 300; :")

    (tmp_path / "pristine").mkdir()
    stock = {str(place): DirectoryStock(tmp_path / "pristine")}
    begun = time.monotonic()
    inventory = look(Hooked(hook), installed(place), scope=Scope(stock, patience=2))
    assert time.monotonic() - begun < 60
    assert one(inventory, f"{place}/a.conf").sha256 is None
    assert any("over 2 s" in told for told in inventory.coverage.detectors.values())
    assert not inventory.coverage.whole


def test_a_machine_that_hangs_is_not_asked_forever(tmp_path: Path) -> None:
    """After three commands that did not end it is left alone, and that is told of the rest."""
    (tmp_path / "a.conf").write_text("x = 1\n")

    def hook(script: str) -> str:
        return script if "id -un" in script or "dpkg-query >" in script else "sleep 300\n"

    begun = time.monotonic()
    inventory = look(Hooked(hook), installed(tmp_path), scope=Scope(patience=2))
    assert time.monotonic() - begun < 40
    told = inventory.coverage.detectors
    assert told["stock-diff"] == "a command took over 2 s"
    assert told["periphery"] == (
        "three commands did not end in time, and it was not asked any more"
    )
    assert [detector for detector, words in told.items() if words == "ran"] == []


def test_a_machine_without_the_tools(tmp_path: Path) -> None:
    """Each tool that is missing is named; nothing else is tried."""
    bare = Hooked(lambda script: f"PATH={tmp_path}\n{script}")
    with pytest.raises(Failed) as caught:
        look(bare, installed(tmp_path))
    assert caught.value.code == "host-lacks-tool"
    assert "grep, xargs, sha256sum" in caught.value.what


def test_an_archive_that_is_none(tmp_path: Path) -> None:
    """Refused, with the file's name."""
    archive = tmp_path / "broken.tar.gz"
    archive.write_bytes(b"no archive")
    with pytest.raises(Refused) as caught:
        look(LocalHost(), installed(tmp_path), scope=Scope({str(tmp_path): ArchiveStock(archive)}))
    assert caught.value.code == "stock-unreadable"
    assert str(archive) in caught.value.where


def test_nothing_found_is_not_nothing_looked_at(tmp_path: Path) -> None:
    """A tree that is as it was shipped: no findings there, and the coverage says what was done."""
    place, pristine = tmp_path / "app", tmp_path / "pristine"
    for one_of in (place, pristine):
        one_of.mkdir()
        (one_of / "a.conf").write_text("x = 1\n")
    inventory = looked(place)
    assert kinds(inventory, str(tmp_path)) == {}
    assert inventory.of(Kind.MODIFIED, Kind.ADDED, Kind.OVERLAY) == ()
    first, second, *_ = text(inventory).splitlines()
    assert first == f"Customised: {place} on local"
    assert second.startswith("  looked at   ")
