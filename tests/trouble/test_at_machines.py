"""Trouble with machines at the command line: four sentences, and the old side serves.

One rehearsed site between two machines is shared; each test leaves it with the old side serving."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.testbed import WHOLE
from tests.testbed.client import Client
from tests.testbed.far import HOME, FarSite, far_site_at
from tests.testbed.machines import Machine, added, leavings
from tests.testbed.moments import Moments
from tests.testbed.site import Result, eventually
from tests.testbed.sshd import new_key
from tests.testbed.wire import Wire

from crossfade.model import Address, Side
from crossfade.testing.free_ports import free_ports

Pair = tuple[Machine, Machine]

SECRET = "planted-secret-4711"
IN_PAUSE = "cutover.sync.copy-main.before-act"
"""What is done at it is done before the new version is started: what comes then takes a while."""
LATE = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")

pytestmark = pytest.mark.timeout(1800 if WHOLE else 900)


@pytest.fixture(scope="module")
def whole_site(machines: Pair, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FarSite]:
    """A site from one machine to the other; its new version has few seconds to become healthy."""
    place = tmp_path_factory.mktemp("trouble") / "site"
    with far_site_at(place, *machines, notes=20, uploads=2) as made:
        text = made.recipe.read_text(encoding="utf-8")
        quick = text.replace("start_timeout: 20", "start_timeout: 10")
        assert quick != text
        made.recipe.write_text(quick, encoding="utf-8")
        made.run("rehearse")
        yield made


@pytest.fixture
def site(whole_site: FarSite) -> Iterator[FarSite]:
    """That site, as it was said in the beginning, with the old side serving before and after."""
    whole_site.write_manifest()
    assert whole_site.version() == "1.0"
    yield whole_site
    assert whole_site.version() == "1.0"


def told(result: Result, code: str, exit_code: int, *, next: str = "crossfade ") -> None:
    """The error has its code and four sentences, says that the old side serves, and no secret."""
    assert (result.code, f"error: {code}\n" in result.err) == (exit_code, True), result.err
    assert "  × " in result.err
    (now,) = (line for line in result.err.splitlines() if line.startswith("  now:  "))
    (then,) = (line for line in result.err.splitlines() if line.startswith("  next: "))
    assert then.startswith(f"  next: {next}"), result.err
    assert "he old side (1.0) serves" in now, now
    assert ("Nothing was changed" in now) == (exit_code == 4), now
    assert SECRET not in result.out + result.err


def refused(site: FarSite, code: str, *, next: str = "crossfade ", verbs: str = "plan") -> None:
    """These verbs say so before anything is done."""
    for verb in verbs.split():
        told(site.run(verb, "--no-input", *_yes(verb), ok=False), code, 4, next=next)


def _yes(verb: str) -> tuple[str, ...]:
    return ("--yes",) if verb == "cutover" else ()


def rehearsed(site: FarSite) -> None:
    """The last rehearsal is a green one."""
    runs = site.run("status", "--json").json["runs"]
    rehearsals = [run["outcome"] for run in runs if run["label"].startswith("rehearsal")]
    if rehearsals[-1] != "done":
        site.run("rehearse")


@contextlib.contextmanager
def instead(path: Path, old: str, new: str) -> Iterator[None]:
    """A file with other words in it meanwhile."""
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(text, encoding="utf-8")


_CLIENTS = itertools.count()


@contextlib.contextmanager
def loaded(site: FarSite) -> Iterator[Client]:
    """A client no request of which fails, and that loses nothing."""
    with Client(site.gate, name=f"client-{next(_CLIENTS)}") as client:
        yield client
        have = len(client.acknowledged)
        eventually(lambda: len(client.acknowledged) > have + 3, 60)
    assert client.failures == []
    assert client.lost(site.gate) == set()


def nothing_half_done(site: FarSite, before: dict[str, set[str]]) -> None:
    """On the new side's machine stands only the installation, which the next try needs."""
    new = site.machines[Side.NEW]
    assert new
    left = added(before, leavings(new))
    assert set(left) <= {"files"}, left
    assert all(str(HOME / "app2") in line for line in left.get("files", ())), left
    assert site.run("doctor", "--json").json["left"] == []


@pytest.mark.parametrize("side", list(Side) if WHOLE else [Side.OLD])
def test_machine_out_of_reach(site: FarSite, side: Side, tmp_path: Path) -> None:
    """Unknown, refusing, silent, another key, no key, no login: each is named before anything is
    done, with the command to look into it."""
    machine = site.machines[side]
    assert machine
    before = leavings(machine)
    config, known = machine.config, machine.config.parent / f"{machine.name}.known_hosts"
    try_it = f"ssh -F {config} -o StrictHostKeyChecking=ask {machine.name} exit"
    address = f"HostName {machine.address}"
    verbs = "plan rehearse cutover"
    with instead(config, address, "HostName no-such-host.invalid"):
        refused(site, "host-unknown", next=try_it, verbs=verbs)
        if side is Side.OLD:
            told(site.run("config", "show", ok=False), "host-unknown", 4, next=try_it)
            shown = site.run("doctor", ok=False)
            assert (shown.code, f"fix: {try_it}" in shown.out) == (3, True), shown.out
    with instead(config, address, f"HostName 127.0.0.1\n  Port {free_ports(1)[0]}"):
        refused(site, "host-unreachable", next=try_it, verbs=verbs)
    new_key(tmp_path / "key")
    with instead(config, "IdentityFile ", f"IdentityFile {tmp_path}/key\n  # "):
        refused(site, "host-login-refused", next=try_it)
    other = (tmp_path / "key.pub").read_text(encoding="utf-8")
    with instead(known, known.read_text(encoding="utf-8"), f"{machine.address} {other}"):
        forget = f"ssh-keygen -f {known} -R {machine.address}"
        refused(site, "host-key-changed", next=forget, verbs=verbs)
        subprocess.run(shlex.split(forget), check=True, capture_output=True)
        refused(site, "host-key-unknown", next=try_it)
    if WHOLE:  # it takes its time
        with Wire(Address("127.0.0.1", free_ports(1)[0])) as wire:
            wire.cut()
            with instead(config, address, f"HostName 127.0.0.1\n  Port {wire.address.port}"):
                began = time.monotonic()
                refused(site, "host-unreachable", next=try_it, verbs=verbs)
                assert time.monotonic() - began < 60
    assert added(before, leavings(machine)) == {}


def test_rights(site: FarSite, machines: Pair) -> None:
    """sudo that wants a password, and an account that is not root, are told before anything is
    done; with sudo that needs none the rehearsal is done."""
    old, new = machines
    before = leavings(new)
    sudo = f'"ssh": "{new.name}"', f'"ssh": "{new.name}", "sudo": true'
    edit = f"ssh -F {new.config} -t {new.name} sudo visudo -f /etc/sudoers.d/crossfade"
    with instead(new.config, "User root", "User guarded"):
        refused(site, "root-needed", next="edit crossfade.yaml", verbs="plan rehearse cutover")
        with instead(site.manifest, *sudo):
            refused(site, "sudo-needs-password", next=edit, verbs="plan rehearse cutover")
    with instead(old.config, "User root", "User guarded"):
        refused(site, "root-needed", next="edit crossfade.yaml", verbs="cutover")
    with instead(new.config, "User root", "User op"), instead(site.manifest, *sudo):
        site.run("rehearse")
    nothing_half_done(site, before)


@pytest.mark.whole
def test_programs_that_a_machine_lacks(site: FarSite, machines: Pair) -> None:
    """Without tar nothing is begun, on whichever machine; without rsync all is well."""
    for machine in machines:
        with _without(machine, "tar"):
            refused(site, "host-lacks-tool", verbs="rehearse")
    with _without(machines[0], "rsync"), _without(machines[1], "rsync"):
        site.run("rehearse")


@contextlib.contextmanager
def _without(machine: Machine, program: str) -> Iterator[None]:
    path = machine.run("sh", "-c", f"command -v {program}").strip()
    machine.run("mv", path, f"{path}.away")
    try:
        yield
    finally:
        machine.run("mv", f"{path}.away", path)


@contextlib.contextmanager
def _small_disk(site: FarSite, machine: Machine, size: str) -> Iterator[str]:
    """A file system there, and the rehearsal's copy on it."""
    at = str(HOME / "small")
    machine.run("mkdir", at)
    machine.run("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", at)
    try:
        with instead(site.manifest, str(HOME / "try"), f"{at}/try"):
            yield at
    finally:
        machine.run("umount", "--lazy", at)
        machine.run("rmdir", at)


def test_disk_there(site: FarSite, machines: Pair) -> None:
    """A disk that is too small is told before the copy begins; one that fills up meanwhile ends
    the rehearsal, and half of the copy does not stay."""
    old, new = machines
    big = str(site.data / "uploads" / "big")
    old.run("dd", "if=/dev/urandom", f"of={big}", "bs=1M", "count=3")
    try:
        with _small_disk(site, new, "1m") as at:
            refused(site, "disk-too-small", next=f"df -h {at}/try", verbs="rehearse")
            assert new.run("ls", at) == ""
            err = site.run("rehearse", ok=False).err
        needed = int(err.split(": expected ")[1].split()[0])
        with _small_disk(site, new, str(needed + 2**20)) as at:
            fill = lambda: new.run("sh", "-c", f"head -c {needed - 2**20} /dev/zero >{at}/ballast")  # noqa: E731
            with Moments(site.directory, {"rehearsal.restore.before-act": fill}) as moments:
                result = site.run("rehearse", env=moments.environment, ok=False)
                told(result, "disk-full", 5)
            assert new.run("ls", at).split() == ["ballast"]
    finally:
        old.run("rm", big)


_STEPS = {
    "rehearsal": ("install", "configure", "backup", "restore", "check", "stop"),
    "cutover": ("install", "configure", "backup", "restore", "stop", "sync", "switch"),
}
_CUTS = [(f"{run}.{step}.before-act", side) for run, steps in _STEPS.items() for step in steps
         for side in Side]  # fmt: skip
_CUTS += [
    ("cutover.sync.start.before-act", Side.NEW),
    ("cutover.switch.commit.after-act", Side.NEW),
]
_FEW = [("cutover.sync.start.before-act", Side.NEW)]


def cut(machine: Machine, seconds: float, cuts: list[threading.Thread]) -> None:
    """From now on for so many seconds nothing gets through to the machine."""
    begun = threading.Event()

    def work() -> None:
        with machine.cut():
            begun.set()
            time.sleep(seconds)

    cuts.append(threading.Thread(target=work))
    cuts[-1].start()
    assert begun.wait(10)


def cut_at(
    site: FarSite,
    point: str,
    side: Side,
    seconds: float,
    *words: str,
    then: Callable[[], object] = lambda: None,
) -> Result:
    """A run, with the link to a side's machine cut at a moment of it."""
    machine = site.machines[side]
    assert machine
    cuts: list[threading.Thread] = []

    def deed() -> None:
        cut(machine, seconds, cuts)
        then()

    try:
        with Moments(site.directory, {point: deed}) as moments:
            return site.run(*words, env=moments.environment, ok=False, timeout=900)
    finally:
        for one in cuts:
            one.join()


@pytest.mark.parametrize(("point", "side"), _CUTS if WHOLE else _FEW)
def test_link_cut_for_5_seconds(site: FarSite, point: str, side: Side) -> None:
    """Whenever the link is cut and back after 5 s, the run goes on; nobody's request fails."""
    rehearses = point.startswith("rehearsal")
    words = ("rehearse",) if rehearses else ("cutover", "--yes")
    rehearsed(site)
    with loaded(site):
        result = cut_at(site, point, side, 5, *words)
        assert result.code == 0, result.err
        assert site.version() == ("1.0" if rehearses else "2.0")
    if not rehearses:
        site.run("rollback", "--yes", "--accept-loss")


@pytest.mark.whole
@pytest.mark.parametrize(
    ("point", "side", "seconds"),
    [
        ("cutover.restore.before-act", Side.NEW, 600),
        ("cutover.sync.start.before-act", Side.OLD, 600),
        ("cutover.sync.start.before-act", Side.NEW, 600),
    ],
)
def test_link_cut_for_long(site: FarSite, point: str, side: Side, seconds: float) -> None:
    """A cut of 10 minutes ends the run; in the pause nobody waits for its end, the old side serves
    if its machine is not the one that is cut off.  When the link is back, so is the old side, and
    the same commands end well."""
    rehearsed(site)
    served: list[float] = []
    with Client(site.gate, name=f"client-{next(_CLIENTS)}") as client:

        def look() -> None:
            while not served and time.monotonic() < began + seconds:
                if serves(site):
                    served.append(time.monotonic())

        looking = threading.Thread(target=look)
        began = time.monotonic()
        result = cut_at(site, point, side, seconds, "cutover", "--yes", then=looking.start)
        looking.join()
        eventually(lambda: serves(site), 60)
    assert client.lost(site.gate) == set()
    in_time = result.code != -signal.SIGKILL  # else the switch ended it after the longest pause
    assert not in_time or (result.code, "error: recovery-failed\n" in result.err) == (6, True)
    assert SECRET not in result.out + result.err
    if side is Side.NEW:
        if in_time:
            told(result, "recovery-failed", 6)
        assert client.failures == []
        assert client.longest < 90
        assert served, "while the link was cut"
    site.run("doctor", "--fix")
    rehearsed(site)
    with loaded(site):
        site.run("cutover", "--yes")
        assert site.version() == "2.0"
    site.run("rollback", "--yes", "--accept-loss")


def serves(site: FarSite) -> bool:
    """Whether the old side answers at the gate."""
    try:
        return site.version() == "1.0"
    except (OSError, http.client.HTTPException, AssertionError, ValueError):
        return False


def test_clock_an_hour_off(site: FarSite, machines: Pair) -> None:
    """The old machine's clock is an hour late: the application's time would jump at the switch."""
    old, host = machines[0], site.host(Side.OLD)
    old.engine.docker("cp", str(LATE), f"{old.name}:/usr/lib/late.so")
    # file systems keep the time of the kernel, which containers share
    late = "LD_PRELOAD=/usr/lib/late.so FAKETIME=-1h NO_FAKE_STAT=1 FAKETIME_DONT_FAKE_MONOTONIC=1"
    shell = Path("/usr/local/bin/late")
    host.write(shell, f'#!/bin/sh\nexport {late}\nexec /bin/bash "$@"\n'.encode(), mode=0o755)
    try:
        old.run("usermod", "--shell", str(shell), "root")
        host.close()
        there = int(host.run(("date", "+%s")).out)
        assert 3590 < time.time() - there < 3700
        refused(site, "clocks-differ", next="ssh ", verbs="rehearse cutover")
    finally:
        old.run("sh", "-c", f"usermod --shell /bin/bash root; rm {shell}")
        host.close()


def test_unit_that_is_active_and_answers_500(site: FarSite, machines: Pair) -> None:
    """What counts is what it answers."""
    before = leavings(machines[1])
    site.write_manifest(broken="500")
    with loaded(site):
        result = site.run("rehearse", ok=False)
        told(result, "not-healthy", 5)
        assert "500" in result.err
    nothing_half_done(site, before)


@pytest.mark.whole
def test_unit_that_answers_500_in_the_pause(site: FarSite, machines: Pair) -> None:
    """The same, when it did not do so in the rehearsal."""
    before = leavings(machines[1])
    rehearsed(site)
    drop_in = Path("/etc/systemd/system/notes.service.d/99-broken.conf")

    def break_it() -> None:
        text = b"[Service]\nEnvironment=NOTES_BREAK=500\n"
        site.host(Side.NEW).write(drop_in, text, mode=0o644)
        machines[1].run("systemctl", "daemon-reload")

    with loaded(site):
        with Moments(site.directory, {IN_PAUSE: break_it}) as moments:
            result = site.run("cutover", "--yes", env=moments.environment, ok=False)
        told(result, "not-healthy", 5)
        assert "500" in result.err
        assert site.version() == "1.0"
    nothing_half_done(site, before)


def test_port_of_another_application(site: FarSite, machines: Pair) -> None:
    """Who has the port is told before anything is done; who takes it in the pause does no harm."""
    new = machines[1]
    before = leavings(new)
    rehearsed(site)
    for verb, port in (("rehearse", site.rehearsal.port), ("cutover", site.new.port)):
        with _another(new, port):
            result = site.run(verb, *_yes(verb), ok=False)
            told(result, "port-taken", 4, next="edit crossfade.yaml")
            assert "(python3)" in result.err
    with contextlib.ExitStack() as stack:
        deed = lambda: stack.enter_context(_another(new, site.new.port))  # noqa: E731
        with (
            loaded(site),
            Moments(site.directory, {IN_PAUSE: deed}) as moments,
        ):
            result = site.run("cutover", "--yes", env=moments.environment, ok=False)
            assert site.version() == "1.0"
    told(result, "service-died", 5)
    assert "Address already in use" in result.err
    nothing_half_done(site, before)


@contextlib.contextmanager
def _another(machine: Machine, port: int) -> Iterator[None]:
    """Another application there."""
    words = ("python3", "-m", "http.server", "--directory", "/srv", str(port))
    machine.run("systemd-run", "--quiet", "--collect", "--unit=another", *words)
    probe = f"import socket; socket.create_connection(('127.0.0.1', {port})).close()"
    try:
        machine.run("sh", "-c", f'until python3 -c "{probe}" 2>/dev/null; do sleep 0.1; done')
        yield
    finally:
        machine.run("systemctl", "stop", "another.service")
