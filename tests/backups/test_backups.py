"""The backup that a cutover keeps: proven by restoring it, listed, thinned out; half ones go."""

from __future__ import annotations

import gzip
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.crash.test_matrix import killed
from tests.testbed.site import Site

from crossfade import steps
from crossfade.drivers.backups import ABOUT, LocalBackups
from crossfade.engine.work import Silent
from crossfade.errors import Failed
from crossfade.model import Run
from crossfade.ports import Progress
from crossfade.wiring import open_site

Make = Callable[..., Site]


def partials(site: Site) -> list[Path]:
    """Backups that were begun and never proven."""
    return list((site.directory / "state" / "backups").glob("*.partial"))


def test_kept_listed_and_replaced(make_site: Make) -> None:
    """A killed cutover leaves half a backup, doctor names it, the next cutover replaces it; its own
    is private, whole and listed, and it goes when the next upgrade has one."""
    site = make_site(notes=20, uploads=2)
    site.write_manifest(extra="backup: {keep: 1}\n")
    site.run("rehearse")
    assert site.run("backups").out.startswith("no backup is kept in ")
    killed(site, "cutover.backup.keep.after-act", "cutover", "--yes")
    assert len(list((site.directory / "state" / "backups").iterdir())) == 1
    killed(site, "cutover.backup.keep.before-act", "cutover", "--yes")
    half = site.directory / "state/backups" / f"x.{site.wired().backups.site}.cutover-9.partial"
    half.mkdir()
    assert f"unfinished backup {half}" in site.run("doctor", ok=False).out
    done = site.run("cutover", "--yes", "--json").json
    assert done["outcome"] == "done"
    assert not half.exists()

    (kept,) = site.run("backups", "--json").json
    place = Path(kept["path"])
    assert (kept["upgrade"], kept["attempt"]) == ("notes-1.0-to-2.0", "cutover-3")
    assert {path.stat().st_mode & 0o077 for path in (place, place / ABOUT)} == {0}
    secret = (place / "configuration" / str(site.data / "notes.yaml").lstrip("/")).read_text()
    assert "planted-secret-4711" in secret
    assert "planted-secret-4711" not in (place / ABOUT).read_text()
    assert "main.sqlite" in kept["files"]
    for name, said in kept["files"].items():
        data = (place / name).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (said["bytes"], said["sha256"])
    tables = kept["databases"]["main"]["tables"]
    assert next(rows for name, (rows, _) in tables.items() if "note" in name) == 20, tables
    assert sorted(path.name for path in (place / "files").iterdir()) == ["uploads"]
    assert all(finding["holds"] for finding in kept["verified"])
    assert str(place) in site.run("backups").out

    site.run("retire", "--yes")
    site.next_upgrade()
    site.run("rehearse")
    assert f"remove the older backup {place}" in site.run("plan").out
    after = site.run("cutover", "--yes", "--json").json
    assert not place.exists()
    (now,) = site.run("backups", "--json").json
    assert now["upgrade"] == "notes-2.0-to-3.0"
    (switch,) = (s for s in after["runs"][-1]["steps"] if s["name"] == "switch")
    (removed,) = (f for f in switch["findings"] if "older" in f["claim"])
    assert removed["observed"] == place.name


class Vandal(Silent):
    """Changes a letter in a backup before it is restored, as a bad disk might."""

    def __init__(self, site: Site) -> None:
        self.site = site

    @contextmanager
    def bar(self, what: str) -> Iterator[Progress]:
        """Progress that nobody sees."""
        yield lambda done, total: None
        if what != "backing up database main":
            return
        (place,) = partials(self.site)
        (file,) = place.glob("main.*")
        packed = file.suffix == ".gz"
        data = gzip.decompress(file.read_bytes()) if packed else file.read_bytes()
        wrong = data.replace(b"text 7", b"text X")
        assert data != wrong
        file.write_bytes(gzip.compress(wrong) if packed else wrong)


@pytest.mark.parametrize("kind", ["sqlite", "postgres", "mysql"])
def test_a_letter_is_wrong(make_site: Make, kind: str) -> None:
    """A backup that restores without an error, but not to what was there, does not count.

    What a kill in the middle left on a server is found and removed.

    Who wants none is told in the plan, and in the journal."""
    site = make_site(database=kind, notes=20, uploads=2, limits={"copy_rate": 1000})
    before = site.stand() if site.pair else {}
    work = open_site(site.manifest, teller=Vandal(site)).begin(Run.CUTOVER)
    with pytest.raises(Failed) as raised:
        steps.backup.run(work)
    assert raised.value.code == "backup-unproven"
    assert "note" in raised.value.where
    steps.backup.undo(work)
    assert site.run("backups", "--json").json == []
    assert partials(site) == []
    if site.pair:
        scratch = f"{site.wired()._tag(Run.CUTOVER)}_kept"
        site.pair.new.sql(f"create database {scratch}")
        if kind == "postgres":
            site.pair.new.sql(f"comment on database {scratch} is 'made by Crossfade (crossfade_x)'")
        assert f"scratch database {scratch} on the new" in site.run("doctor", ok=False).out
        site.run("doctor", "--fix")
        assert site.left(before, *site.account()) == {}
        return
    site.write_manifest(extra="backup: {when: never}\n")
    bare = site.wired().begin(Run.CUTOVER)
    assert steps.backup.run(bare).details["kept"] == "none: backup.when is never"
    assert "no backup of the old side is kept" in site.run("plan").out


def kept(
    place: Path, site: str, *backups: tuple[str, str, float], settled: bool = True, **given: float
) -> LocalBackups:
    """Backups (upgrade, attempt, days ago) in a directory."""
    for name, attempt, days in backups:
        each = LocalBackups(place, name, site, lambda *_: settled)
        with each.begin(attempt):
            path = each.finish(attempt, {})
        about = json.loads((path / ABOUT).read_text())
        (path / ABOUT).write_text(json.dumps({**about, "made": time.time() - days * 86400}))
    return LocalBackups(place, backups[0][0], site, lambda *_: settled, **given)  # type: ignore[arg-type]


def names(backups: LocalBackups) -> list[str]:
    """Upgrade and attempt of what would go."""
    return [f"{backup.upgrade} {backup.attempt}" for backup in backups.surplus()]


def test_what_goes(tmp_path: Path) -> None:
    """Beyond keep and keep_days, and what a newer attempt replaces; the newest never, nor what may
    still be rolled back to, nor anything that is not ours."""
    five = [(f"u{n}", "cutover-1", 10.0 * n) for n in range(5)]
    strange = tmp_path / "a" / "u9.s1.cutover-1"
    strange.mkdir(parents=True)
    kept(tmp_path / "a", "s2", ("other", "cutover-1", 90))
    mine = kept(tmp_path / "a", "s1", *five, ("u1", "cutover-0", 11), keep=3)
    assert names(mine) == ["u1 cutover-0", "u3 cutover-1", "u4 cutover-1"]
    assert names(kept(tmp_path / "b", "s1", *five, keep=9, keep_days=15)) == [
        *("u2 cutover-1", "u3 cutover-1", "u4 cutover-1")
    ]
    alone = kept(tmp_path / "c", "s1", ("u0", "cutover-1", 500), keep=1, keep_days=1)
    assert names(alone) == []
    assert names(kept(tmp_path / "d", "s1", *five, settled=False, keep=1)) == []
    assert mine.thin_out() == ["u1.s1.cutover-0", "u3.s1.cutover-1", "u4.s1.cutover-1"]
    left = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert left == [
        *("other.s2.cutover-1", "u0.s1.cutover-1", "u1.s1.cutover-1", "u2.s1.cutover-1"),
        "u9.s1.cutover-1",
    ]


def test_no_room(tmp_path: Path) -> None:
    """A place that cannot be made is told."""
    (tmp_path / "file").touch()
    backups = LocalBackups(tmp_path / "file", "u", "s1", lambda *_: True)
    with pytest.raises(Failed) as raised, backups.begin("cutover-1"):
        pass
    assert raised.value.code == "backup-not-kept"
