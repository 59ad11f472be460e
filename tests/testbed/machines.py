"""Machines: containers that boot systemd and answer to ssh, with a network that can be troubled."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

from tests.testbed.engine import LABEL, Engine, inspected

__all__ = ["Machine", "added", "leavings", "machine"]

_AS_A_MACHINE = (
    *("--cap-add", "SYS_ADMIN", "--cap-add", "NET_ADMIN"),
    *("--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined"),
    *("--volume", "/sys/fs/cgroup:/sys/fs/cgroup:rw"),
    *("--tmpfs", "/run", "--tmpfs", "/run/lock", "--tmpfs", "/tmp:exec"),
)
_INDEXES = ("/opt/pypi", "/opt/pypi-more", "/opt/wheels", "/etc/ssl/certs")
"""Where this machine may have packages of its own, and whose certificates it trusts; a machine sees
them at the same place."""

_FILES = (
    r"find / -xdev \( -path /proc -o -path /sys -o -path /run -o -path /tmp -o -path /var/log "
    r"-o -path /var/lib/systemd -o -path /var/cache -o -path /var/tmp \) -prune -o "
    r"-type f -printf '%p %m %u %s\n' -o ! -type d -printf '%p %y\n' -o -printf '%p/ %m %u\n'"
)
_KINDS = {
    "files": _FILES,
    "accounts": "cat /etc/passwd /etc/group",
    "units": "systemctl list-unit-files --no-legend --no-pager; systemctl list-units --all "
    "--no-legend --no-pager --plain --type=service,timer | grep -o '^[^ ]*'",
    "crontabs": "grep -r . /etc/cron* /var/spool/cron 2>/dev/null",
    "processes": "ps -e -o user=,comm= | grep -v -e ' sh$' -e ' ps$' -e ' grep$' -e sshd",
}


@dataclass
class Machine:
    """A booted machine.  name is what ``ssh -F config NAME`` calls it."""

    engine: Engine
    name: str
    address: str
    config: Path

    def run(self, *words: str) -> str:
        """Run a command there, not by way of ssh; its output."""
        return self.engine.docker("exec", self.name, *words)

    def restart(self) -> None:
        """Boot it again, at once."""
        self.engine.docker("restart", "--time", "0", self.name)
        self.wait()

    def kill(self) -> None:
        """Switch it off."""
        self.engine.docker("kill", self.name)

    def wait(self) -> None:
        """Until it has booted and lets one log in."""
        until = time.monotonic() + 60
        words = ("ssh", "-F", str(self.config), "-o", "ConnectTimeout=2", self.name, "true")
        while subprocess.run(words, capture_output=True, check=False).returncode:
            assert time.monotonic() < until, f"{self.name} does not boot"
            time.sleep(0.1)

    @contextlib.contextmanager
    def cut(self) -> Iterator[None]:
        """Nothing goes to it or comes from it meanwhile, and nobody is told."""
        end = self._cable()
        subprocess.run(("ip", "link", "set", end, "nomaster"), check=True)
        try:
            yield
        finally:
            subprocess.run(("ip", "link", "set", end, "master", "crossfade0"), check=True)

    @contextlib.contextmanager
    def slow(self, megabits: float) -> Iterator[None]:
        """What goes to it is no faster meanwhile."""
        end = self._cable()
        rate = ("rate", f"{megabits}mbit", "burst", "64kb", "latency", "200ms")
        subprocess.run(("tc", "qdisc", "add", "dev", end, "root", "tbf", *rate), check=True)
        try:
            yield
        finally:
            subprocess.run(("tc", "qdisc", "del", "dev", end, "root"), check=True)

    @contextlib.contextmanager
    def deaf(self, to: Machine, *, altogether: bool = False) -> Iterator[None]:
        """A firewall there swallows connections from another machine meanwhile; or ``altogether``
        everything, also of those that stand."""
        rule = ("INPUT", "-s", to.address, *(() if altogether else ("-p", "tcp", "--syn")))
        self.iptables("-I", *rule, "-j", "DROP")
        try:
            yield
        finally:
            self.iptables("-D", *rule, "-j", "DROP")

    @contextlib.contextmanager
    def counting(self, peer: str) -> Iterator[Callable[[], int]]:
        """How many bytes it has sent to an address since."""
        rule = ("OUTPUT", "-d", peer)
        self.iptables("-I", *rule)
        try:
            yield lambda: self._sent(peer)
        finally:
            self.iptables("-D", *rule)

    def _sent(self, peer: str) -> int:
        rules = self.iptables("-L", "OUTPUT", "-v", "-x", "-n").splitlines()
        (rule,) = (one.split() for one in rules if one.split()[-1:] == [peer])
        return int(rule[1])

    def iptables(self, *words: str) -> str:
        """Run this machine's iptables on its network."""
        pid = inspected(self.engine, self.name, ".State.Pid")
        argv = ("nsenter", "--target", pid, "--net", "iptables", "--wait", *words)
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout

    def _cable(self) -> str:
        """Our end of its network cable."""
        number = self.run("cat", "/sys/class/net/eth0/iflink").strip()
        links = subprocess.run(("ip", "-o", "link"), capture_output=True, text=True, check=True)
        (line,) = (one for one in links.stdout.splitlines() if one.startswith(f"{number}: "))
        return line.split(": ")[1].partition("@")[0]


@contextlib.contextmanager
def machine(
    engine: Engine, directory: Path, user: str = "root", image: str = ""
) -> Iterator[Machine]:
    """A new machine, of an image with more on it if need be; its ssh configuration stands in
    ``directory``."""
    name = f"machine-{token_hex(4)}"
    directory.mkdir(parents=True, exist_ok=True)
    indexes = [word for p in _INDEXES if Path(p).is_dir() for word in ("--volume", f"{p}:{p}:ro")]
    own = ("--name", name, "--hostname", name, "--label", f"{LABEL}=1")
    boots = ("--entrypoint", "/sbin/init", image or engine.machine_image())
    engine.docker("run", "--detach", *own, *_AS_A_MACHINE, *indexes, *boots)
    try:
        key = engine.key.with_suffix(".pub").read_bytes()
        for home, owner in (("/root", "root"), ("/home/op", "op"), ("/home/guarded", "guarded")):
            order = f"cat >{home}/.ssh/authorized_keys; chown -R {owner}: {home}/.ssh"
            engine.docker("exec", "--interactive", name, "sh", "-c", order, stdin=key)
        address = inspected(engine, name, ".NetworkSettings.IPAddress")
        host_key = engine.docker("exec", name, "cat", "/etc/ssh/ssh_host_ed25519_key.pub")
        known = directory / f"{name}.known_hosts"
        known.write_text(f"{address} {host_key}")
        config = directory / f"{name}.ssh"
        config.write_text(
            f"Host {name}\n  HostName {address}\n  User {user}\n  IdentitiesOnly yes\n"
            f"  IdentityFile {engine.key}\n  UserKnownHostsFile {known}\n"
            "  GlobalKnownHostsFile /dev/null\n"
        )
        made = Machine(engine, name, address, config)
        made.wait()
        yield made
    finally:
        engine.docker("rm", "--force", "--volumes", name)


def leavings(one: Machine) -> dict[str, set[str]]:
    """What is on a machine: files, accounts, units, crontabs and processes."""
    return {
        kind: set(one.run("sh", "-c", f"{order} || :").splitlines())
        for kind, order in _KINDS.items()
    }


def added(before: Mapping[str, set[str]], after: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """What is there now and was not before."""
    return {kind: after[kind] - before[kind] for kind in after if after[kind] - before[kind]}
