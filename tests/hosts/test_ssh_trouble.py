"""Hosts that cannot be reached, keys that do not fit, and links that are cut."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.testbed.site import eventually
from tests.testbed.sshd import Sshd, masters, new_key, place_of
from tests.testbed.wire import Wire

from crossfade.drivers import procfs
from crossfade.drivers.hosts.ssh import SshHost
from crossfade.errors import Failed
from crossfade.model import Address
from crossfade.testing.free_ports import free_ports

MakeSshd = Callable[..., Sshd]
MakeHost = Callable[..., SshHost]
BIG = 6 << 20


def failure(host: SshHost) -> Failed:
    """The error of a command."""
    with pytest.raises(Failed) as failed:
        host.run(("true",))
    return failed.value


def test_unknown_host(make_sshd: MakeSshd, make_host: MakeHost) -> None:
    """A name that leads nowhere is told with the name."""
    for name in ("no-such-host.invalid", "bad host"):
        error = failure(make_host(make_sshd(), name))
        assert error.code == "host-unknown"
        assert name in error.what
        assert shlex.split(error.next.partition("   (")[0])[-2:] == [name, "exit"]


def test_refused_and_silent_hosts(make_sshd: MakeSshd, make_host: MakeHost) -> None:
    """A host that refuses and one that does not answer are told apart."""
    sshd = make_sshd()
    sshd.write_config(at=Address("127.0.0.1", free_ports(1)[0]))
    refused = failure(make_host(sshd))
    with Wire(sshd.address) as wire:
        wire.cut()
        sshd.write_config(at=wire.address)
        silent = failure(make_host(sshd, connect_timeout=1))
    assert (refused.code, silent.code) == ("host-unreachable", "host-unreachable")
    assert "refuses" in refused.what
    assert "does not answer" in silent.what
    assert "far" in refused.what


def test_silence_after_the_beginning(make_sshd: MakeSshd, make_host: MakeHost) -> None:
    """A host that falls silent while we log in does not keep us for ever."""
    sshd = make_sshd()
    with Wire(sshd.address) as wire, ThreadPoolExecutor(1) as pool:
        sshd.write_config(at=wire.address)
        failing = pool.submit(failure, make_host(sshd, connect_timeout=1))
        eventually(lambda: wire.bytes > 50)
        wire.cut()
        assert failing.result(60).code == "host-unreachable"


def test_host_that_greets_late(make_sshd: MakeSshd, make_host: MakeHost) -> None:
    """A host that is too busy to greet in time is asked once more."""
    sshd = make_sshd()
    with Wire(sshd.address) as wire:
        sshd.write_config(at=wire.address)
        wire.cut()
        late = threading.Timer(3, wire.mend)
        late.start()
        assert make_host(sshd, connect_timeout=2).run(("echo", "in")).out == b"in\n"
        late.join()


def test_host_that_hangs_up(make_sshd: MakeSshd, make_host: MakeHost) -> None:
    """A host that ends the connection at once is told as such."""
    sshd = make_sshd()
    with Wire(Address("127.0.0.1", free_ports(1)[0])) as wire:
        sshd.write_config(at=wire.address)
        error = failure(make_host(sshd))
    assert error.code == "host-unreachable"
    assert "before the login" in error.what


def test_unknown_key(make_sshd: MakeSshd, make_host: MakeHost, tmp_path: Path) -> None:
    """An unknown key is told with its fingerprint and never accepted by us; the command that is
    named lets the operator do so."""
    sshd = make_sshd()
    sshd.known_hosts.write_text("")
    host = make_host(sshd)
    error = failure(host)
    assert error.code == "host-key-unknown"
    assert sshd.fingerprint() in error.what
    assert sshd.known_hosts.read_text() == ""
    yes = tmp_path / "yes"
    yes.write_text("#!/bin/sh\necho yes\n")
    yes.chmod(0o755)
    answering = {"SSH_ASKPASS": str(yes), "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": ":0"}
    subprocess.run(
        shlex.split(error.next),
        env=os.environ | answering,
        check=True,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
    )
    assert host.run(("echo", "in")).out == b"in\n"


def test_changed_key(make_sshd: MakeSshd, make_host: MakeHost) -> None:
    """A key that changed is told with the new fingerprint; the command that is named forgets the
    old one, and the new one is still not accepted by us."""
    sshd = make_sshd()
    sshd.stop()
    new_key(sshd.directory / "host_key")
    sshd.start()
    host = make_host(sshd)
    error = failure(host)
    assert error.code == "host-key-changed"
    assert sshd.fingerprint() in error.what
    before = sshd.known_hosts.read_text()
    assert before
    argv = shlex.split(error.next)
    subprocess.run(argv, check=True, capture_output=True, timeout=60)
    assert sshd.known_hosts.read_text() == ""
    assert failure(host).code == "host-key-unknown"


def test_changed_key_between_two_commands(make_sshd: MakeSshd, make_host: MakeHost) -> None:
    """A key that changes while we work is noticed with the next connection."""
    sshd = make_sshd()
    host = make_host(sshd)
    host.run(("true",))
    sshd.stop()
    new_key(sshd.directory / "host_key")
    sshd.start()
    assert failure(host).code == "host-key-changed"


def test_refused_login(make_sshd: MakeSshd, make_host: MakeHost) -> None:
    """A key that the host does not take is a refused login; nobody is asked for a password."""
    sshd = make_sshd()
    new_key(sshd.directory / "key")
    error = failure(make_host(sshd))
    assert error.code == "host-login-refused"
    assert "Permission denied" in error.where


def test_bad_configuration(make_sshd: MakeSshd, make_host: MakeHost) -> None:
    """A configuration that ssh does not take is not blamed on the host."""
    sshd = make_sshd()
    host = make_host(sshd)
    sshd.write_config("NoSuchOption yes")
    error = failure(host)
    assert error.code == "ssh-config-invalid"
    assert "nosuchoption" in error.where.lower()


def test_no_ssh(monkeypatch: pytest.MonkeyPatch, make_sshd: MakeSshd, make_host: MakeHost) -> None:
    """A machine without ssh is told so."""
    host = make_host(make_sshd())
    monkeypatch.setenv("PATH", "/nowhere")
    assert failure(host).code == "ssh-missing"


def test_connection_that_died(make_sshd: MakeSshd, make_host: MakeHost) -> None:
    """A connection that was cut off between two commands, or whose process was killed and left a
    stale socket, is replaced; the command runs once."""
    sshd = make_sshd()
    host = make_host(sshd)
    log = sshd.directory / "ran"
    for kind in ("alive", "cut off", "stale"):
        if kind == "cut off":
            sshd.cut_off()
        if kind == "stale":
            os.kill(master_of(host), signal.SIGKILL)
        host.run(("sh", "-c", f"echo once >>{log}"))
    assert log.read_text() == "once\n" * 3


def master_of(host: SshHost) -> int:
    """The process that holds the host's connection."""
    (master,) = masters(place_of(host))
    return master


def test_restarted_machine(make_sshd: MakeSshd, make_host: MakeHost) -> None:
    """A host that goes away and comes back in time is waited for."""
    sshd = make_sshd()
    host = make_host(sshd, patience=60.0)
    host.run(("true",))
    sshd.stop()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(host.run, ("echo", "back"))
        time.sleep(1.5)  # long enough for some attempts
        assert not running.done()
        sshd.start()
        assert running.result(60).out == b"back\n"


def test_patience_that_is_cut_short(make_sshd: MakeSshd, make_host: MakeHost) -> None:
    """Nobody waits beyond the moment that was said, whichever account is acted as; then as long as
    usual again."""
    sshd = make_sshd()
    host = make_host(sshd, patience=60.0)
    host.run(("true",))
    sshd.stop()
    host.acting_as(False).give_up_at(time.monotonic() + 3)
    began = time.monotonic()
    assert failure(host).code == "host-unreachable"
    assert 1 < time.monotonic() - began < 20
    host.give_up_at(None)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(host.run, ("echo", "back"))
        time.sleep(1)
        sshd.start()
        assert running.result(60).out == b"back\n"


def test_machine_that_stays_away(make_sshd: MakeSshd, make_host: MakeHost) -> None:
    """Our patience ends."""
    sshd = make_sshd()
    host = make_host(sshd, patience=1.0)
    host.run(("true",))
    sshd.stop()
    assert failure(host).code == "host-unreachable"
    with pytest.raises(Failed) as failed:
        host.read(Path("/etc/hostname"))
    assert failed.value.code == "host-unreachable"


@pytest.fixture
def wired(make_sshd: MakeSshd) -> Iterator[tuple[Sshd, Wire]]:
    """An sshd behind a wire."""
    sshd = make_sshd()
    with Wire(sshd.address) as wire:
        sshd.write_config(at=wire.address)
        yield sshd, wire


Wired = tuple[Sshd, Wire]


def noticed(running: Future[Any], host: SshHost) -> None:
    """Wait until the connection's process gave up, or the work ended."""
    place = place_of(host)
    eventually(lambda: running.done() or not masters(place))


def test_cut_in_a_command(wired: Wired, make_host: MakeHost, tmp_path: Path) -> None:
    """A command that was cut off is not repeated: nobody knows how far it got.  The far side ends
    it in time, and the host can be used again."""
    sshd, wire = wired
    host, note = make_host(sshd), tmp_path / "note"
    script = f"echo $$ >>{note}; exec sleep 300"
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(host.run, ("sh", "-c", script), timeout=4.0)
        eventually(lambda: note.exists() and note.read_text())
        wire.cut()
        with pytest.raises(Failed) as failed:
            running.result(60)
    assert failed.value.code == "host-lost"
    assert "not known whether the command ran" in failed.value.what
    wire.mend()
    assert host.run(("echo", "again")).out == b"again\n"
    (pid,) = map(int, note.read_text().split())
    eventually(lambda: not procfs.alive(pid))


def test_short_cut_in_a_command(wired: Wired, make_host: MakeHost, tmp_path: Path) -> None:
    """A cut that ends before anybody notices does no harm."""
    sshd, wire = wired
    host, note = make_host(sshd, alive_interval=5), tmp_path / "note"
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(host.run, ("sh", "-c", f": >{note}; sleep 1; echo end"))
        eventually(note.exists)
        wire.cut()
        time.sleep(1.5)  # the command ends meanwhile
        wire.mend()
        assert running.result(60).out == b"end\n"


def test_cut_before_a_command(wired: Wired, make_host: MakeHost, tmp_path: Path) -> None:
    """A command that cannot have begun is tried again when the link is back; it runs once."""
    sshd, wire = wired
    host, log = make_host(sshd), tmp_path / "log"
    host.run(("true",))
    wire.cut()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(host.run, ("sh", "-c", f"echo once >>{log}"))
        noticed(running, host)
        wire.mend()
        assert running.result(60).status == 0
    assert log.read_text() == "once\n"


def test_cut_while_reading(wired: Wired, make_host: MakeHost, tmp_path: Path) -> None:
    """A file that was cut off is read again, whole."""
    sshd, wire = wired
    host, path = make_host(sshd), tmp_path / "file"
    path.write_bytes(os.urandom(BIG))
    host.run(("true",))
    with ThreadPoolExecutor(1) as pool:
        before = wire.bytes
        running = pool.submit(host.read, path)
        eventually(lambda: wire.bytes > before + BIG // 20)
        wire.cut()
        assert not running.done()
        noticed(running, host)
        wire.mend()
        assert running.result(60) == path.read_bytes()


def test_cut_while_writing(wired: Wired, make_host: MakeHost, tmp_path: Path) -> None:
    """A file that was cut off is written again on another way; half of it is never seen, and of
    the first attempt nothing is left, although its link stays cut."""
    sshd, wire = wired
    host, path, data = make_host(sshd), tmp_path / "place" / "file", os.urandom(BIG)
    host.write(path, b"as it was")
    with ThreadPoolExecutor(1) as pool:
        before = wire.bytes
        running = pool.submit(host.write, path, data)
        eventually(lambda: wire.bytes > before + BIG // 20)
        wire.cut()
        assert path.read_bytes() == b"as it was"
        eventually(lambda: len(list(path.parent.iterdir())) == 2)
        sshd.write_config()
        running.result(60)
    assert path.read_bytes() == data
    assert [one.name for one in path.parent.iterdir()] == ["file"]
    eventually(lambda: not sshd.far_shells())
    assert len(sshd.connections()) == 2, "the first link was not cut"


def test_half_a_file_that_is_hung_up_on(make_sshd: MakeSshd, make_host: MakeHost) -> None:
    """When the far side loses us in the middle of a file, it does not put half of it in place."""
    sshd = make_sshd()
    path, data = sshd.directory / "place" / "file", os.urandom(BIG)
    host = make_host(sshd, patience=0.0)
    host.write(path, b"as it was")
    with Wire(sshd.address) as wire, ThreadPoolExecutor(1) as pool:
        sshd.write_config(at=wire.address)
        wired = make_host(sshd, patience=0.0)
        wired.run(("true",))
        before = wire.bytes
        running = pool.submit(wired.write, path, data)
        eventually(lambda: wire.bytes > before + BIG // 20)
        wire.cut()
        sshd.cut_off()
        with pytest.raises(Failed) as failed:
            running.result(60)
        assert failed.value.code in ("host-lost", "host-unreachable")
    eventually(lambda: [one.name for one in path.parent.iterdir()] == ["file"])
    assert path.read_bytes() == b"as it was"


def test_cut_that_stays(wired: Wired, make_host: MakeHost, tmp_path: Path) -> None:
    """What may be repeated is given up after our patience."""
    sshd, wire = wired
    host = make_host(sshd, patience=1.0)
    host.write(tmp_path / "file", b"x")
    wire.cut()
    for do in (
        lambda: host.read(tmp_path / "file"),
        lambda: host.remove(tmp_path / "file"),
    ):
        with pytest.raises(Failed) as failed:
            do()
        assert failed.value.code in ("host-lost", "host-unreachable")
    assert (tmp_path / "file").exists()
