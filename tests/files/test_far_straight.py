"""Trees straight from one machine to another, on two real machines of the testbed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.testbed.engine import GATEWAY
from tests.testbed.machines import Machine, added, leavings
from tests.testbed.site import eventually
from tests.testbed.sshd import Sshd, code_of

from crossfade.drivers.files import _far_pump
from crossfade.drivers.files._far_straight import Straights
from crossfade.drivers.files.far import FarTree
from crossfade.drivers.hosts.local import LocalHost
from crossfade.drivers.hosts.ssh import SshHost
from crossfade.ports import CopyReport, Files
from crossfade.testing.files import FilesContract
from crossfade.testing.trees import BIG

MB = 1 << 20
PLACE = Path("/var/tmp/straight")
FILL = (
    'mkdir -p "$1/sub" && cd "$1" && head -c 90000000 /dev/urandom >big && '
    "for n in $(seq 200); do head -c 100000 /dev/urandom >sub/$n; done; ln -s big link"
)
SIZE = 110_000_000
LOOK = (
    "for d in /run /run/user/* /dev/shm /tmp; do ls -d $d/crossfade-way-*; done 2>/dev/null; "
    "for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline | grep '[c]rossfade-way-[a-z]'; done "
    "2>/dev/null; :"
)
LISTENERS = "cat /proc/net/tcp /proc/net/tcp6 | awk '$4 == \"0A\" {print $2}' | sort"
Pair = tuple[Machine, Machine]
Hosts = tuple[SshHost, SshHost]


@pytest.mark.whole
class TestStraight(FilesContract):
    """The contract, with whatever is not small going straight; both machines are this one."""

    attributes_seen = False
    any_depth = False

    @pytest.fixture(autouse=True)
    def ways(
        self, sshd: Sshd, make_host: Callable[..., SshHost], monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[None]:
        """Two connections, and ways for a few bytes too."""
        monkeypatch.setattr(_far_pump, "WORTH_A_TRIAL", BIG)
        self._hosts = make_host(sshd), make_host(sshd)
        self._hosts[1].name = "far too"
        self._straights = Straights(f"contract{os.getpid()}")
        yield
        assert not self._straights._refused

    def files(self, path: Path) -> Files:
        """A tree that is sent straight."""
        return FarTree("t", path, self._hosts[0], local=LocalHost(), straights=self._straights)

    def target(self, path: Path) -> Files:
        """Its copy."""
        return FarTree("t", path, self._hosts[1], local=LocalHost())


@pytest.fixture
def hosts(machines: Pair) -> Iterator[Hosts]:
    """Both machines, as they are logged in to; the first one has a tree."""
    one, two = (
        SshHost(m.name, config=m.config, connect_timeout=3, alive_interval=1) for m in machines
    )
    one.run(("sh", "-c", FILL, "sh", str(PLACE)))
    try:
        yield one, two
    finally:
        for host in (one, two):
            host.remove(PLACE)
            host.close()


def trees(hosts: Hosts, straights: Straights | None) -> tuple[FarTree, FarTree]:
    """The tree and what will be its copy."""
    old = FarTree("t", PLACE, hosts[0], straights=straights, patience=30)
    return old, FarTree("t", PLACE, hosts[1])


def copied(
    hosts: Hosts, straights: Straights, *, at: int = 0, do: Callable[[], object] = bool
) -> CopyReport:
    """Copy and compare; something may be done once so many bytes have gone."""
    source, target = trees(hosts, straights)
    waiting = [do]

    def told(done: int, _: int | None) -> None:
        if done > at and waiting:
            waiting.pop()()

    report = source.copy_to(target, told)
    assert source.digest().differences(target.digest()) == ()
    return report


def left(machines: Pair) -> list[str]:
    """What is still there of any way."""
    return [line for one in machines for line in one.run("sh", "-c", LOOK).splitlines()]


def test_nothing_passes_through_us(machines: Pair, hosts: Hosts) -> None:
    """The bytes do not come to this machine; while they go nobody listens, no key is to be seen,
    and afterwards nothing is left."""
    before = [leavings(one) for one in machines]
    listeners = [one.run("sh", "-c", LISTENERS) for one in machines]
    seen: list[str] = []

    def look() -> None:
        assert [one.run("sh", "-c", LISTENERS) for one in machines] == listeners
        for one in machines:
            seen.append(one.run("sh", "-c", "cat /run/crossfade-way-*/key; ls -la /run/cross*/"))
            secret = seen[-1].splitlines()[1]
            assert secret not in one.run("sh", "-c", "cat /proc/[0-9]*/cmdline")
            assert secret not in one.run("sh", "-c", "cat /proc/[0-9]*/environ")

    with machines[0].counting(GATEWAY) as sent, machines[0].counting(machines[1].address) as went:
        report = copied(hosts, Straights("test"), at=1, do=look)
        assert went() > SIZE
        assert sent() < SIZE // 20
    assert report.way == f"straight from {machines[0].name} to {machines[1].name}"
    assert len(seen) == 2
    assert all("drwx------" in one and "-rw-------" in one for one in seen)
    assert left(machines) == []
    hosts[1].remove(PLACE)
    for was, one in zip(before, machines, strict=True):
        assert set(added(was, leavings(one))) <= {"units"}  # sessions come and go


def test_only_the_new_one_reaches_the_old_one(machines: Pair, hosts: Hosts) -> None:
    """A firewall on the new machine: it fetches the bytes from the old one."""
    with machines[1].deaf(machines[0]), machines[0].counting(GATEWAY) as sent:
        assert copied(hosts, Straights("test")).way.startswith("straight")
        assert sent() < SIZE // 20
    assert left(machines) == []


def test_neither_reaches_the_other(machines: Pair, hosts: Hosts) -> None:
    """Firewalls on both: through this machine, and that is told; it is tried once."""
    straights = Straights("test")
    with machines[1].deaf(machines[0]), machines[0].deaf(machines[1]):
        way = copied(hosts, straights).way
        assert way.startswith("through this machine, not straight: ")
        assert "timed out" in way
        assert left(machines) == []
    hosts[1].remove(PLACE)
    assert copied(hosts, straights).way == way


def test_no_program(machines: Pair, hosts: Hosts) -> None:
    """Without ssh-keygen there is no way, and the copy goes through this machine."""
    hosts[1].run(("mv", "/usr/bin/ssh-keygen", "/usr/bin/ssh-keygen.away"))
    try:
        assert copied(hosts, Straights("test")).way.startswith("through this machine")
    finally:
        hosts[1].run(("mv", "/usr/bin/ssh-keygen.away", "/usr/bin/ssh-keygen"))
    assert left(machines) == []


@pytest.mark.parametrize("ends", [0, 1])
def test_a_way_that_is_cut(machines: Pair, hosts: Hosts, ends: int) -> None:
    """Somebody ends the connection in the middle: another is opened, and what had arrived is not
    sent again."""
    find = (
        "ps -e -o pid=,args= | grep '[/]way' | head -n 1 | cut -c-8",
        "cat /run/crossfade-way-*/sessions",
    )[ends]

    def cut() -> None:
        machines[ends].run("sh", "-c", f"kill -KILL $({find})")

    with machines[1].slow(150), machines[0].counting(machines[1].address) as went:
        report = copied(hosts, Straights("test"), at=10 * MB, do=cut)
        assert 0.9 * SIZE < went() < 1.4 * SIZE
    assert report.way.startswith("straight")
    assert left(machines) == []


@pytest.mark.whole
def test_the_machines_lose_sight_of_each_other(machines: Pair, hosts: Hosts) -> None:
    """In the middle nothing passes any more between them: the rest comes through this machine."""
    with contextlib.ExitStack() as stack, machines[0].counting(GATEWAY) as sent:

        def part() -> None:
            for one, other in (machines, machines[::-1]):
                stack.enter_context(one.deaf(other, altogether=True))

        with machines[1].slow(150):
            report = copied(hosts, Straights("test"), at=10 * MB, do=part)
        assert report.way.startswith("through this machine")
        assert MB < sent() < SIZE - 20 * MB
        eventually(lambda: left(machines) == [])


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_crossfade_dies(machines: Pair, hosts: Hosts, how: signal.Signals) -> None:
    """Killed, or out of the world: everything ends by itself on both machines.  The next copy goes
    on as ever."""
    words = [word for m in machines for word in (m.name, str(m.config))]
    child = Path(__file__).with_name("straight_child.py")
    with machines[1].slow(20):  # what cannot be compressed takes longer than we need
        argv = (sys.executable, str(child), *words, str(PLACE), "12")
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        with process.stdout as said:
            try:
                assert said.readline() == "\n"
                assert left(machines)
                process.send_signal(how)
                eventually(lambda: left(machines) == [], 30)
            finally:
                process.kill()
                process.wait()
    hosts[0].remove(PLACE / "big")
    assert copied(hosts, Straights("test")).way.startswith("straight")


def test_a_keeper_that_was_killed(machines: Pair, hosts: Hosts) -> None:
    """What nobody keeps is found, and removed; what is kept is not."""
    straights = Straights("test")

    def kill() -> None:
        assert straights.leavings(hosts[0]) == []
        machines[0].run("sh", "-c", "kill -KILL $(cat /run/crossfade-way-*/keeper)")
        assert len(straights.leavings(hosts[0])) == 1
        assert straights.leavings(hosts[1]) == []

    copied(hosts, straights, at=1, do=kill)
    assert len(straights.leavings(hosts[0])) == 1
    straights.clear(hosts[0])
    assert left(machines) == []


def test_ordinary_accounts(machines: Pair, hosts: Hosts, tmp_path: Path) -> None:
    """As one that may use sudo, the way belongs to that account, and root works on the tree; as one
    that may not, all is its own."""

    def look() -> None:
        assert machines[1].run("sh", "-c", "stat -c %U /dev/shm/crossfade-way-*") == "op\n"

    for sudo in (True, False):
        ends = []
        for machine in machines:
            config = tmp_path / f"{machine.name}.ssh"
            config.write_text(machine.config.read_text().replace("User root", "User op"))
            ends.append(SshHost(machine.name, config=config, sudo=sudo))
        hosts[0].run(("chown", "-R", "root:" if sudo else "op:", str(PLACE)))
        hosts[1].remove(PLACE)
        report = copied((ends[0], ends[1]), Straights("test"), at=1, do=look)
        assert report.way.startswith("straight")
        assert left(machines) == []
        for end in ends:
            end.close()


def test_trouble_is_told_as_ever(machines: Pair, hosts: Hosts) -> None:
    """A full disk at the target, and a file that cannot be read."""
    hosts[1].make_directory(PLACE)
    hosts[1].run(("mount", "-t", "tmpfs", "-o", "size=60m", "none", str(PLACE)))
    source, target = trees(hosts, Straights("test"))
    try:
        assert code_of(lambda: source.copy_to(target)) == "disk-full"
        hosts[0].remove(PLACE / "big")
        hosts[0].run(("sh", "-c", f"head -c 60000000 /dev/urandom >{PLACE}/smaller"))
        assert code_of(lambda: source.copy_to(target)) == "disk-full"
    finally:
        hosts[1].run(("umount", str(PLACE)))
    assert left(machines) == []
