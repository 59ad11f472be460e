"""The local host: its contract, secrets that stay secret, full disks, and other users."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from crossfade.drivers.hosts.local import LocalHost
from crossfade.errors import Failed
from crossfade.ports import Host
from crossfade.testing.hosts import HostContract, bind

CHILD = Path(__file__).with_name("child.py")


class TestLocal(HostContract):
    """The contract."""

    def host(self) -> Host:
        """This machine."""
        return LocalHost()


def child(*words: str | Path, before: tuple[str, ...] = ()) -> dict[str, object]:
    """Run a scenario of ``child.py``; what it printed."""
    argv = (*before, sys.executable, str(CHILD), *map(str, words))
    done = subprocess.run(argv, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()
    told: dict[str, object] = json.loads(done.stdout)
    return told


def test_secrets_are_masked(tmp_path: Path) -> None:
    """Secrets that are current when an error arises never stand in it, cut or whole."""
    values = ["hunter2-long", "hunter2", "abc"]
    host = LocalHost(lambda: values)
    script = 'echo "token hunter2-long, hunter2, abc, late-one" >&2; exit 1'
    with pytest.raises(Failed) as failed:
        host.run(("sh", "-c", script, "--password=hunter2", "x" * 195 + "hunter2"))
    told = json.dumps(failed.value.as_json(), ensure_ascii=False)
    assert "hunter2" not in told
    assert "hunte" not in told
    assert "token ••••, ••••, abc, late-one" in failed.value.where
    values.append("late-one")
    with pytest.raises(Failed) as failed:
        host.run(("sh", "-c", script))
    assert "late-one" not in failed.value.where
    with pytest.raises(Failed) as failed:
        host.read(tmp_path / "hunter2")
    assert "hunter2" not in json.dumps(failed.value.as_json())


def test_full_disk(tmp_path: Path) -> None:
    """A file that does not fit is an explained error; the old one stays, nothing is left."""
    told = child("small-disk", tmp_path, before=("unshare", "--mount"))
    assert told == {
        "code": "disk-full",
        "content": "as it was",
        "names": ["file"],
        "free": True,
        "another": True,
    }


def test_ordinary_user() -> None:
    """Who may not look, run or write is told so, and somebody else's listener is somebody's."""
    with tempfile.TemporaryDirectory(prefix="crossfade-") as name:
        path = Path(name)
        path.chmod(0o755)
        (path / "private").write_text("x")
        (path / "private").chmod(0)
        (path / "shut").mkdir(mode=0o700)
        (path / "own").mkdir()
        (path / "own").chmod(0o777)
        with socket.socket() as listening:
            port = bind(listening, "127.0.0.1")
            listening.listen()
            told = child("ordinary", path, str(port))
    codes = {
        "read": "file-unreadable",
        "exists": "file-unreadable",
        "write": "file-unwritable",
        "make_directory": "file-unwritable",
        "remove": "file-unwritable",
        "run": "command-not-allowed",
    }
    if os.geteuid() == 0:
        assert told == {**codes, "listener": "somebody", "gone": True}
    else:
        assert told["gone"] is True
