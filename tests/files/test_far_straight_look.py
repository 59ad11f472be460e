"""Whether two machines see each other, found out beforehand; both are this one."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.testbed.sshd import Sshd

from crossfade.drivers.files import _far_straight_look
from crossfade.drivers.files._far_straight_look import look
from crossfade.drivers.hosts.local import LocalHost
from crossfade.drivers.hosts.ssh import SshHost
from crossfade.testing.free_ports import free_ports


def test_look(
    sshd: Sshd,
    make_host: Callable[..., SshHost],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A refusal is as good as an answer; a port that somebody has is of no use, and neither is a
    machine without the programs.  Only machines that are reached by ssh are looked at."""
    old, new = make_host(sshd), make_host(sshd)
    old.name, new.name = "one", "two"
    seen = look(old, new, 0)
    assert seen
    assert seen.reached.startswith("one reaches two at ")
    (port,) = free_ports(1)
    seen = look(old, new, port)
    assert seen
    assert seen.reached
    with socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True):
        taken = look(old, new, port)
    assert taken
    assert (taken.reached, taken.port) == ("", port)
    assert f"somebody listens at port {port} of two" in taken.why
    assert look(old, LocalHost(), 0) is None
    assert look(old, old, 0) is None
    (tmp_path / "bin").mkdir()
    for program in ("hostname", "sh", "tail"):
        (tmp_path / "bin" / program).symlink_to(f"/usr/bin/{program}")
    bare = f"LC_ALL=C; export LC_ALL; PATH={tmp_path}/bin\n"
    full = _far_straight_look._BEGIN
    asked = _far_straight_look._ASK.replace(full, bare)
    monkeypatch.setattr(_far_straight_look, "_ASK", asked)
    lacks = look(old, new, 0)
    assert lacks
    assert (lacks.reached, lacks.to) == ("", "")
    assert lacks.why == "one has no ssh and no ssh-keygen"
