"""Every trouble ends with four sentences, the right exit code, and the old side serving."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.testbed.client import Client
from tests.testbed.site import Result, Site, eventually, tree_bytes

from crossfade.drivers.listeners import listening_pids
from crossfade.model import Side

Make = Callable[..., Site]


def explained(result: Result, code: str, exit_code: int) -> None:
    """The error names its code, and has its four sentences."""
    assert (result.code, f"error: {code}" in result.err) == (exit_code, True), result.err
    for sentence in ("  × ", "  now:  ", "  next: crossfade "):
        assert sentence in result.err, result.err


def old_serves(site: Site) -> None:
    """Users get the old version, and requests are not held."""
    assert site.version() == "1.0"
    assert site.run("status", "--json").json["gate"]["held"] is False


@pytest.mark.parametrize(
    ("broken", "code"),
    [
        ("start", "service-died"),
        ("die", "service-died"),
        ("500", "not-healthy"),
        ("version", "evidence-failed"),
        ("check", "evidence-failed"),
    ],
)
def test_new_version_fails_in_the_rehearsal(make_site: Make, broken: str, code: str) -> None:
    """A new version that does not start, dies, answers 500 or wrongly is found by rehearsing."""
    site = make_site(recipe=recipe(start_timeout=8, check=True))
    before = tree_bytes(site.data / "uploads")
    site.write_manifest(broken=broken)
    with Client(site.gate) as client:
        explained(site.run("rehearse", ok=False), code, 5)
        old_serves(site)
    assert client.failures == []
    assert not (site.directory / "try").exists()
    assert before == tree_bytes(site.data / "uploads")
    refused = site.run("cutover", "--yes", ok=False)
    explained(refused, "not-rehearsed", 4)


def recipe(*, start_timeout: float = 20, check: bool = False) -> str:
    """The Notes recipe with another patience, and a check that reads a known note."""
    text = (Path(__file__).parents[1] / "testbed" / "notes.yaml").read_text(encoding="utf-8")
    text = text.replace("start_timeout: 20", f"start_timeout: {start_timeout}")
    if check:
        text += "checks: [{name: a note is read, path: /notes/n1, json: text, equals: text 1}]\n"
    return text


def test_new_version_does_not_install(make_site: Make) -> None:
    """Without the package the install step fails and says what the installer said."""
    site = make_site()
    for wheel in (site.directory / "app2-wheel").iterdir():
        wheel.unlink()
    result = site.run("rehearse", ok=False)
    explained(result, "command-failed", 5)
    assert "notes_app-2.0" in result.err
    old_serves(site)


def test_check_fails_in_the_cutover(make_site: Make) -> None:
    """A check that fails inside the pause: the old side serves again, nothing is lost."""
    site = make_site()
    site.write_manifest(extra=site.check('[ "$1" = rehearsal ]'))
    site.run("rehearse")
    with Client(site.gate) as client:
        explained(site.run("cutover", "--yes", ok=False), "evidence-failed", 5)
        old_serves(site)
    assert client.failures == []
    assert client.lost(site.gate) == set()
    assert site.run("status", "--json").json["outcome"] == "went-back"


def test_old_side_not_running(make_site: Make) -> None:
    """A cutover from a side that does not run is refused."""
    site = make_site()
    site.run("rehearse")
    wired = site.wired()
    wired.side(wired.manifest.old, Side.OLD).service.stop(3)
    result = site.run("cutover", "--yes", ok=False)
    assert (result.code, "old-not-running" in result.err) == (4, True), result.err


def test_port_taken(make_site: Make) -> None:
    """A port that somebody listens at is found before anything is done, and whose it is."""
    site = make_site()
    with socket.socket() as taken:
        taken.bind((site.rehearsal.host, site.rehearsal.port))
        taken.listen()
        result = site.run("rehearse", ok=False)
        explained_elsewhere(result, "port-taken", 4)
        assert f"pid {os.getpid()}" in result.err
        assert not (site.directory / "app2").exists(), "nothing was installed"
    site.run("rehearse")


def explained_elsewhere(result: Result, code: str, exit_code: int) -> None:
    """As ``explained``; the next command is not one of ours."""
    assert (result.code, f"error: {code}" in result.err) == (exit_code, True), result.err
    for sentence in ("  × ", "  now:  ", "  next: "):
        assert sentence in result.err, result.err


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[Path, str], None]]:
    """Mounts small file systems; they are unmounted in the end (ask for this before a site, so
    that the site is closed first)."""
    mounted: list[Path] = []

    def mount(at: Path, size: str) -> None:
        at.mkdir(parents=True, exist_ok=True)
        argv = ("mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", str(at))
        subprocess.run(argv, check=True)
        mounted.append(at)

    yield mount
    for at in mounted:
        subprocess.run(("umount", "--lazy", str(at)), check=True)


def test_disk_too_small(small_disk: Callable[[Path, str], None], make_site: Make) -> None:
    """A disk that the copy does not fit on is refused before anything is written to it."""
    site = make_site()
    (site.data / "uploads" / "big").write_bytes(os.urandom(3_000_000))
    small_disk(site.directory / "small", "1m")
    text = site.manifest.read_text(encoding="utf-8")
    small = f"{site.directory}/small/try"
    site.manifest.write_text(text.replace(f"{site.directory}/try", small), encoding="utf-8")
    explained_elsewhere(site.run("rehearse", ok=False), "disk-too-small", 4)
    assert list((site.directory / "small").iterdir()) == []
    old_serves(site)


def test_database_locked(make_site: Make) -> None:
    """A database that another process keeps locked: said after a bounded wait, with who it is."""
    site = make_site(journal="delete")
    locker = subprocess.Popen(
        (
            *(sys.executable, "-c"),
            "import sqlite3, sys\n"
            f"db = sqlite3.connect({str(site.data / 'notes.db')!r}, isolation_level=None)\n"
            "db.execute('begin exclusive'); print('locked', flush=True); sys.stdin.read()",
        ),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with locker:
        assert locker.stdout is not None
        assert locker.stdout.readline() == "locked\n"
        result = site.run("rehearse", ok=False)
        locker.communicate()
    explained(result, "database-locked", 5)
    assert str(locker.pid) in result.err
    old_serves(site)


def test_corrupt_database(make_site: Make) -> None:
    """A corrupt database is found when it is copied, in the rehearsal."""
    site = make_site(journal="delete", notes=5000)
    with (site.data / "notes.db").open("r+b") as file:
        file.seek(3 * 4096)
        file.write(os.urandom(4096))
    explained(site.run("rehearse", ok=False), "database-corrupt", 5)
    old_serves(site)


def test_unreadable_upload(make_site: Make) -> None:
    """An upload that may not be read is named; nothing is carried without it."""
    site = make_site()
    (site.data / "uploads" / "file-2").chmod(0)
    # root reads everything, so the command runs without that right
    rights = "-dac_override,-dac_read_search"
    without = ("setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}")
    result = site.run("rehearse", ok=False, before=without if os.getuid() == 0 else ())
    explained(result, "file-unreadable", 5)
    assert "file-2" in result.err
    old_serves(site)


@pytest.mark.parametrize(
    ("what", "script"),
    [
        ("database main", "'{python}' {leak} '{data}/notes.db'"),
        ("tree uploads", "echo late > '{data}/uploads/late'"),
    ],
)
def test_leak_after_the_fence(make_site: Make, what: str, script: str) -> None:
    """Something writes to the old side past the fence: the cutover goes back, that write lives."""
    site = make_site(journal="delete")
    leak = site.directory / "leak.py"
    leak.write_text(
        "import sqlite3, sys\n"  # nolock: a writer that keeps to no rules
        "db = sqlite3.connect(f'file:{sys.argv[1]}?nolock=1', uri=True)\n"
        "db.execute(\"insert into note values ('leaked', 'late')\")\n"
        "db.commit()\n",
        encoding="utf-8",
    )
    words = script.format(python=sys.executable, leak=leak, data=site.data)
    site.write_manifest(extra=site.check(f'[ "$1" = rehearsal ] || {words}'))
    site.run("rehearse")
    with Client(site.gate) as client:
        result = site.run("cutover", "--yes", ok=False)
        old_serves(site)
    explained(result, "evidence-failed", 5)
    assert f"old side's {what} is as at the fence" in result.err
    assert client.failures == []
    assert client.lost(site.gate) == set()
    if what.startswith("database"):
        assert site.ask("/notes/leaked") == (200, {"text": "late"})


def test_gate_killed_while_holding(make_site: Make) -> None:
    """The gate dies in the pause: it is started again as it was, and the old side serves."""
    site = make_site()
    (gate,) = listening_pids(site.gate)
    site.write_manifest(extra=site.check(f'[ "$1" = rehearsal ] || kill -9 {gate}'))
    site.run("rehearse")
    with Client(site.gate) as client:
        explained(site.run("cutover", "--yes", ok=False), "gate-unreachable", 5)
        old_serves(site)
    assert client.lost(site.gate) == set()


@pytest.mark.parametrize(
    ("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGHUP, 130)]
)
def test_interrupted_in_the_pause(make_site: Make, number: int, exit_code: int) -> None:
    """Ctrl-C inside the pause goes back; the same command again does the cutover."""
    site = make_site()
    once = site.directory / "once"
    script = (
        f'[ "$1" = rehearsal ] || [ -e {once} ] || {{ touch {once}; kill -{int(number)} $PPID; }}'
    )
    site.write_manifest(extra=site.check(script))
    site.run("rehearse")
    with Client(site.gate) as client:
        explained(site.run("cutover", "--yes", ok=False), "interrupted", exit_code)
        old_serves(site)
        site.run("cutover", "--yes")
    assert client.failures == []
    assert client.lost(site.gate) == set()
    assert site.version() == "2.0"


def test_frozen_in_the_pause(make_site: Make) -> None:
    """A runner that freezes loses its lease: it is killed, and the old side serves again."""
    site = make_site()
    site.write_manifest(extra=site.check('[ "$1" = rehearsal ] || kill -STOP $PPID'))
    site.run("rehearse")
    with Client(site.gate) as client:
        assert site.run("cutover", "--yes", ok=False).code == -signal.SIGKILL
        old_serves(site)
    assert client.failures == []
    assert client.lost(site.gate) == set()


def test_second_runner(make_site: Make) -> None:
    """Two commands at once: the second one says who holds the lease, since when."""
    site = make_site()
    site.write_manifest(
        extra=site.check(f"while [ ! -e {site.directory}/go ]; do sleep 0.05; done")
    )
    first = site.popen("rehearse")
    eventually(lambda: "rehearse" in site.run("status", "--json").json["running"])
    second = site.run("rehearse", ok=False)
    explained(second, "lease-held", 7)
    assert f"process {first.pid}" in second.err
    (site.directory / "go").touch()
    assert (first.communicate()[1], first.returncode)[1] == 0


def test_journal_from_a_newer_version(make_site: Make) -> None:
    """A journal that a newer Crossfade wrote is left alone."""
    site = make_site()
    journal = site.directory / "state" / "journal.db"
    with closing(sqlite3.connect(journal)) as db:
        db.execute("pragma user_version = 99")
    result = site.run("rehearse", ok=False)
    assert (result.code, "error: journal-newer" in result.err) == (4, True)
    assert "next: crossfade --version" in result.err
    with closing(sqlite3.connect(journal)) as db:
        db.execute("pragma user_version = 1")
    old_serves(site)


def test_journals_disk_full_in_the_pause(
    small_disk: Callable[[Path, str], None], make_site: Make
) -> None:
    """The state's disk fills up inside the pause: the old side serves again all the same."""
    site = make_site()
    state = site.directory / "small"
    small_disk(state, "16m")  # room for the backup as well
    text = site.manifest.read_text(encoding="utf-8")
    site.run("gate", "stop", "--yes")
    site.manifest.write_text(text.replace(f"{site.directory}/state", str(state)), encoding="utf-8")
    with_check = site.manifest.read_text(encoding="utf-8")
    fill = f'[ "$1" = rehearsal ] || dd if=/dev/zero of={state}/full bs=1k 2>/dev/null; true'
    site.manifest.write_text(with_check + site.check(fill), encoding="utf-8")
    site.run("gate", "start", "--yes")
    site.run("rehearse")
    with Client(site.gate) as client:
        explained_elsewhere(site.run("cutover", "--yes", ok=False), "journal-full", 5)
        assert site.version() == "1.0"
        (state / "full").unlink()
    old_serves(site)
    assert client.lost(site.gate) == set()


def test_manifest_with_unknown_key_and_wrong_type(make_site: Make) -> None:
    """All complaints at once: file, line, key path, nearest right key."""
    site = make_site()
    text = site.manifest.read_text(encoding="utf-8")
    text = text.replace("traffic:", "trafic:").replace("version: '2.0'", "version: [2]")
    site.manifest.write_text(text, encoding="utf-8")
    result = site.run("plan", ok=False)
    assert result.code == 2
    assert "did you mean traffic?" in result.err
    assert "crossfade.yaml:" in result.err
    assert "new.version" in result.err
    assert "next: edit" in result.err
    old_serves_without_manifest(site, text)


def old_serves_without_manifest(site: Site, broken: str) -> None:
    """Nothing was touched; the manifest is mended so that the site can be closed."""
    mended = broken.replace("trafic:", "traffic:").replace("version: [2]", "version: '2.0'")
    site.manifest.write_text(mended, encoding="utf-8")
    old_serves(site)


def test_changed_plan(make_site: Make) -> None:
    """Configuration that changed since the rehearsal is named, and the cutover refuses."""
    site = make_site()
    site.run("rehearse")
    with (site.data / "notes.yaml").open("a", encoding="utf-8") as file:
        file.write("colour: green\n")
    result = site.run("cutover", "--yes", ok=False)
    explained(result, "plan-changed", 3)
    assert "notes.yaml" in result.err
    site.run("rehearse")
    site.run("cutover", "--yes")


def test_pause_longer_than_accepted(make_site: Make) -> None:
    """A predicted pause over the operator's limit is refused before anything is touched."""
    site = make_site()
    site.run("rehearse")
    explained(site.run("cutover", "--yes", "--max-pause", "10ms", ok=False), "pause-too-long", 4)
    old_serves(site)


def test_side_effects_are_not_rehearsed_unasked(make_site: Make) -> None:
    """A recipe with side effects is rehearsed only with --unmuted, and the report says so."""
    text = recipe() + "effects: [{name: mail, what: sends mail to everybody}]\n"
    site = make_site(recipe=text)
    explained(site.run("rehearse", ok=False), "effects-not-muted", 4)
    done = site.run("rehearse", "--unmuted", "--json").json
    assert done["runs"][-1]["unmuted"] is True
    assert any("UNMUTED" in warning for warning in done["plan"]["warnings"])
