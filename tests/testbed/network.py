"""A network of a test's own: rules and addresses in it are seen by nobody else."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

__all__ = ["Outside", "outside", "own_network", "ruleset"]

_NEW_NETWORK = 0x40000000  # CLONE_NEWNET
_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def own_network() -> Iterator[None]:
    """This thread, and every thread and process that it starts, in a network of its own."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.unshare(_NEW_NETWORK):
            raise OSError(ctypes.get_errno(), "unshare")
        try:
            subprocess.run(("ip", "link", "set", "lo", "up"), check=True)
            yield
        finally:
            if _libc.setns(before, _NEW_NETWORK):
                raise OSError(ctypes.get_errno(), "setns")
    finally:
        os.close(before)


class Outside:
    """Another machine's network, wired to ours: we are 10.77.0.1, it is 10.77.0.2."""

    here = "10.77.0.1"

    def __init__(self) -> None:
        self._holder = subprocess.Popen(
            ("unshare", "--net", "sh", "-c", "echo there; exec sleep 600"), stdout=subprocess.PIPE
        )
        assert self._holder.stdout
        self._holder.stdout.readline()
        wire = f"ip link add w0 type veth peer name w1 netns {self._holder.pid}"
        for command in (wire, f"ip addr add {self.here}/24 dev w0", "ip link set w0 up"):
            subprocess.run(command.split(), check=True)
        self.run(
            "sh", "-c", "ip link set lo up; ip addr add 10.77.0.2/24 dev w1; ip link set w1 up"
        )

    def run(self, *argv: str) -> str:
        """A command over there, and what it prints."""
        done = subprocess.run(self.command(argv), check=True, capture_output=True, text=True)
        return done.stdout

    def command(self, argv: Sequence[str]) -> tuple[str, ...]:
        """The words that run a command over there."""
        return ("nsenter", "-t", str(self._holder.pid), "-n", *argv)

    def close(self) -> None:
        """It goes, and the wire with it."""
        self._holder.kill()
        self._holder.communicate()


@contextmanager
def outside() -> Iterator[Outside]:
    """Another machine, for a while.  Only within ``own_network``."""
    made = Outside()
    try:
        yield made
    finally:
        made.close()


def ruleset() -> str:
    """All of nftables, as it is here."""
    done = subprocess.run(("nft", "list", "ruleset"), check=True, capture_output=True, text=True)
    return done.stdout
