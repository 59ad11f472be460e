"""Backups that are kept on another machine, which is this one by an sshd of the test's own."""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from tests.testbed.site import Site
from tests.testbed.sshd import Sshd

from crossfade import steps
from crossfade.drivers.backups import ABOUT
from crossfade.drivers.backups_far import FarBackups
from crossfade.drivers.files.far import FarTree
from crossfade.drivers.hosts.local import LocalHost
from crossfade.drivers.hosts.ssh import SshHost
from crossfade.errors import Failed
from crossfade.model import Run

Make = Callable[..., Site]


def kept_far(site: Site, sshd: Sshd, vault: Path) -> None:
    """Let backups go to a directory of the other machine."""
    host = json.dumps({"ssh": "far", "config": str(sshd.config)})
    site.write_manifest(extra=f"backup: {{host: {host}, place: {vault}, keep: 1}}\n")


def open_to_others(place: Path) -> list[Path]:
    """Directories that lead into a place and that somebody else may enter or list."""
    return [path for path in place.iterdir() if path.stat().st_mode & 0o077]


def test_kept_and_fetched(make_site: Make, sshd: Sshd, tmp_path: Path) -> None:
    """It is private there, listed, whole when it is fetched, and told when it is not; nothing of it
    stays here; half of one is named and removed."""
    site = make_site(notes=20, uploads=2)
    vault = tmp_path / "vault ümläut"
    kept_far(site, sshd, vault)
    site.run("rehearse")
    assert not vault.exists(), "a rehearsal keeps nothing"
    assert f"below {vault} on far" in site.run("plan").out
    assert site.run("backups").out == f"no backup is kept in {vault} on far\n"
    half = vault / f"x.{site.wired().backups.site}.cutover-9.partial"
    half.mkdir(parents=True)
    assert f"unfinished backup {half} on far" in site.run("doctor", ok=False).out
    site.run("cutover", "--yes")
    assert not half.exists()
    assert not list((site.directory / "state").glob("backup*")), "nothing stays on this machine"

    (kept,) = site.run("backups", "--json").json
    place = Path(kept["path"])
    assert (place.parent, kept["machine"]) == (vault, "far")
    assert open_to_others(vault) == []
    assert (place / ABOUT).stat().st_mode & 0o077 == 0
    assert sorted(path.name for path in (place / "files").iterdir()) == ["uploads"]
    claims = [finding["claim"] for finding in kept["verified"]]
    assert "on far the backup's files are those that were restored here" in claims
    assert all(finding["holds"] for finding in kept["verified"])
    listed = site.run("backups").out
    assert f"{place} on far" in listed

    fetched = tmp_path / "fetched"
    said = site.run("backups", "--fetch", place.name, "--to", str(fetched)).out
    assert "BAD" not in said
    assert "cp main.sqlite RESTORED/" in said
    assert fetched.stat().st_mode & 0o077 == 0
    with closing(sqlite3.connect(fetched / "main.sqlite")) as db:
        assert db.execute("select count(*) from note").fetchone() == (20,)
    assert len(list((fetched / "files/uploads").iterdir())) == 2
    again = site.run("backups", "--fetch", "newest", "--to", str(fetched), ok=False)
    assert (again.code, "backup-target-taken" in again.err) == (2, True)
    shutil.rmtree(fetched)
    with (place / "main.sqlite").open("r+b") as file:
        file.seek(5000)
        file.write(b"\xff")
    bad = site.run("backups", "--fetch", "newest", "--to", str(fetched), "--json", ok=False)
    assert (bad.code, [one["holds"] for one in bad.json["findings"]]) == (5, [True, False])


def test_what_goes(make_host: Callable[..., SshHost], sshd: Sshd, tmp_path: Path) -> None:
    """Beyond keep, the oldest; never what is not ours, and what nobody describes is not listed."""
    host, vault = make_host(sshd), tmp_path / "vault"

    def backups(upgrade: str, site: str = "s1") -> FarBackups:
        return FarBackups(
            *(vault, upgrade, site, lambda *_: True, 2),
            far=host,
            here=LocalHost(),
            staged=tmp_path / "stage",
            tree=FarTree,
        )

    for days, (name, site) in enumerate([("u3", "s1"), ("u2", "s1"), ("u1", "s1"), ("o", "s2")]):
        with backups(name, site).begin("cutover-1"):
            path = backups(name, site).finish("cutover-1", {})
        about = json.loads((path / ABOUT).read_text())
        (path / ABOUT).write_text(json.dumps({**about, "made": time.time() - days * 86400}))
    (vault / "u9.s1.cutover-1").mkdir()
    (vault / "u8.s1.cutover-1").mkdir()
    (vault / "u8.s1.cutover-1" / ABOUT).write_text("{")
    assert [one.upgrade for one in backups("u4").listed()] == ["u3", "u2", "u1"]
    assert [one.upgrade for one in backups("u4").surplus("cutover-1")] == ["u2", "u1"]
    assert backups("u3").thin_out() == ["u1.s1.cutover-1"]
    names = ["o.s2", "u2.s1", "u3.s1", "u8.s1", "u9.s1"]
    assert sorted(path.name.removesuffix(".cutover-1") for path in vault.iterdir()) == names
    assert not (tmp_path / "stage").exists()
    assert vault.stat().st_mode & 0o777 == 0o700


def test_what_is_in_the_way(make_site: Make, sshd: Sshd, tmp_path: Path) -> None:
    """A machine that is away, and a place that cannot be made, are told before anything is done; a
    file that arrives otherwise than it was sent does not count."""
    site = make_site(notes=5, uploads=2)
    kept_far(site, sshd, tmp_path / "vault")
    work = site.wired().begin(Run.CUTOVER)
    bent = "#!/bin/sh\necho 'main.sqlite: FAILED'; exit 1\n"
    path = sshd.directory / "bin"
    path.mkdir()
    (path / "sha256sum").write_text(bent)
    (path / "sha256sum").chmod(0o755)
    with pytest.MonkeyPatch.context() as patched:
        order = f'PATH={path}:$PATH; cd -- "$1" && exec sha256sum --quiet --strict --check -'
        patched.setattr("crossfade.drivers.backups_far._SUMS", order)
        with pytest.raises(Failed) as raised:
            steps.backup.run(work)
    assert raised.value.code == "backup-unproven"
    assert "main.sqlite: FAILED" in raised.value.where
    steps.backup.undo(work)
    assert list((tmp_path / "vault").iterdir()) == []

    (tmp_path / "file").touch()
    kept_far(site, sshd, tmp_path / "file/vault")
    said = site.run("plan", "--json", ok=False).json
    assert [one["code"] for one in said["cutover"]["problems"]] == ["place-unwritable"]
    assert said["rehearsal"]["problems"] == []
    sshd.stop()
    try:
        refused = site.run("cutover", "--yes", ok=False)
    finally:
        sshd.start()  # it is shared
    assert refused.code == 4
    assert "host-unreachable" in refused.err
    assert "Nothing was changed.  The old side (1.0) serves" in refused.err
