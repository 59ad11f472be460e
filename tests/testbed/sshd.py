"""A real sshd of a test's own: its keys, its accounts' keys, and the ssh configuration for it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from crossfade.drivers import procfs
from crossfade.drivers.hosts.ssh import SshHost
from crossfade.errors import Failed
from crossfade.model import Address
from crossfade.testing.free_ports import free_ports

__all__ = ["Sshd", "code_of", "masters", "new_key", "place_of"]

RUN = Path("/run/sshd")
"""Where sshd wants to shut itself in before the login."""


def new_key(path: Path) -> None:
    """A pair of keys without a passphrase, in place of one that is there."""
    for old in (path, path.with_suffix(".pub")):
        old.unlink(missing_ok=True)
    subprocess.run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path), check=True)


def code_of(do: Callable[[], object]) -> str:
    """The code of the explained error that something raises, or nothing."""
    try:
        do()
    except Failed as failed:
        return failed.code
    return ""


def place_of(host: SshHost) -> Path:
    """The private directory of a host's connection."""
    place = host._connection._place
    assert place is not None
    return place.path


def masters(place: Path) -> list[int]:
    """The processes of ssh that hold a connection whose socket is in this directory."""
    words = {pid: " ".join(procfs.command_of(pid)) for pid in procfs.pids()}
    return [pid for pid, text in words.items() if f"ControlPath={place}/" in text]


class Sshd:
    """Runs below a directory and lets in whoever has ``directory/key``, under any account.

    The client's configuration, ``directory/config``, calls it ``far``; more options go into it
    with ``write_config``.  ``before`` is a command that ends in running another one, as env does.
    To be used in a ``with``."""

    def __init__(
        self, directory: Path, *, options: Sequence[str] = (), before: tuple[str, ...] = ()
    ) -> None:
        self.directory = directory
        self._before = before
        self.address = Address("127.0.0.1", free_ports(1)[0])
        self.config = directory / "config"
        self.known_hosts = directory / "known_hosts"
        (directory / "home").mkdir(parents=True, exist_ok=True)
        for name in ("host_key", "key"):
            new_key(directory / name)
        shutil.copy(directory / "key.pub", directory / "authorized_keys")
        (directory / "authorized_keys").chmod(0o644)
        (directory / "sshd_config").write_text(
            "\n".join(
                (
                    *options,
                    f"Port {self.address.port}",
                    f"ListenAddress {self.address.host}",
                    f"HostKey {directory}/host_key",
                    f"AuthorizedKeysFile {directory}/authorized_keys",
                    f"SetEnv HOME={directory}/home",  # start-up files of this machine's people
                    "PidFile none",
                    "StrictModes no",
                    "UsePAM no",
                    "PasswordAuthentication no",
                    "KbdInteractiveAuthentication no",
                    "PermitRootLogin yes",
                    "MaxStartups 100",
                    "",
                )
            ),
            encoding="utf-8",
        )
        self.write_config()
        self.know()
        self._process: subprocess.Popen[bytes] | None = None

    def write_config(self, *options: str, at: Address | None = None) -> None:
        """Write the client's configuration; ``at`` is another way to the same sshd."""
        at = at or self.address
        lines = (
            "Host far",
            *options,
            f"HostName {at.host}",
            f"Port {at.port}",
            "User root",
            "HostKeyAlias far-machine",
            f"IdentityFile {self.directory}/key",
            "IdentitiesOnly yes",
            "IdentityAgent none",
            f"UserKnownHostsFile {self.known_hosts}",
            "GlobalKnownHostsFile /dev/null",
            "",
        )
        self.config.write_text("\n".join(lines), encoding="utf-8")

    def know(self) -> None:
        """Let the client know the host's key."""
        key = (self.directory / "host_key.pub").read_text()
        self.known_hosts.write_text(f"far-machine {key}", encoding="utf-8")

    def fingerprint(self) -> str:
        """That of the host's key."""
        argv = ("ssh-keygen", "-l", "-f", self.directory / "host_key.pub")
        return subprocess.run(argv, capture_output=True, check=True, text=True).stdout.split()[1]

    def __enter__(self) -> Sshd:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it, and wait until it listens."""
        RUN.mkdir(mode=0o755, exist_ok=True)
        config = self.directory / "sshd_config"
        argv = (*self._before, "/usr/sbin/sshd", "-D", "-e", "-f", str(config))
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection((self.address.host, self.address.port), 5).close()
            except OSError:
                assert self._process.poll() is None, (self.directory / "log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.02)
            else:
                return

    def connections(self) -> set[int]:
        """The processes that serve logins."""
        assert self._process is not None
        pid = self._process.pid
        return {int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}

    def far_shells(self) -> list[int]:
        """The shells that were started for hosts of ours, and still are there."""
        assert self._process is not None
        return [
            pid
            for pid in procfs.descendants([self._process.pid])
            if any("crossfade-ready" in word for word in procfs.command_of(pid))
        ]

    def cut_off(self) -> None:
        """End every login."""
        for pid in self.connections():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def stop(self) -> None:
        """End it, and every login; fine when it does not run."""
        if self._process is not None and self._process.poll() is None:
            self.cut_off()
            self._process.kill()
            self._process.wait()
