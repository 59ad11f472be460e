"""The ``python`` install, on this machine and over ssh, by uv and by pip."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from tests.installs.conftest import WithEnvironment
from tests.testbed.site import make_wheel

from crossfade.drivers.hosts.local import LocalHost
from crossfade.drivers.hosts.ssh import SshHost
from crossfade.drivers.installs.python import PythonInstall, uv_program
from crossfade.errors import Failed, UsageError
from crossfade.ports import Host, Install
from crossfade.testing.installs import InstallContract


class TestPython(InstallContract):
    """The contract, with a package of the index; over ssh by venv and pip."""

    def make(self, host: Host, root: Path) -> Install:
        """Something small."""
        return PythonInstall(host, root, ["six==1.16.0"])

    def make_other(self, host: Host, root: Path) -> Install:
        """Another version."""
        return PythonInstall(host, root, ["six==1.17.0"])


def test_far_uv_and_interpreter(far: SshHost, tmp_path: Path) -> None:
    """The far machine's uv is used when it is on the PATH; the interpreter can be chosen."""
    bin = tmp_path / "bin"
    bin.mkdir()
    (bin / "uv").symlink_to(uv_program())
    host = WithEnvironment(far, {"PATH": f"{bin}:{os.environ['PATH']}"})
    wheel = make_wheel(tmp_path, "3.1")
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    install = PythonInstall(
        host, tmp_path / "root", [f"notes-app @ file://{wheel}"], python=version
    )
    assert version in install.describe()[0]
    install.install()
    assert install.done()
    assert any(command[0].endswith("uv") for command in host.commands)
    python = str(tmp_path / "root" / "bin" / "python")
    asked = host.run((python, "-c", "import notes, sys; print(notes.VERSION, sys.version)"))
    assert asked.out.decode().startswith(f"3.1 {version}.")
    host.commands.clear()
    assert install.fingerprint()
    assert len(host.commands) == 1, "one command, however many packages"


@pytest.mark.parametrize("version", ["3.2", "3.99"])
def test_interpreter_missing(host: Host, tmp_path: Path, version: str) -> None:
    """An interpreter that is not there is named, with what installs it; nothing is made."""
    install = PythonInstall(host, tmp_path / "root", ["six"], python=version)
    with pytest.raises(Failed) as caught:
        install.install()
    assert caught.value.code == "python-missing"
    assert caught.value.next == f"apt-get install python{version} python{version}-venv"
    assert not (tmp_path / "root").exists()


def test_no_such_version(host: Host, tmp_path: Path) -> None:
    """The installer's own words are shown, and it is not done."""
    install = PythonInstall(host, tmp_path / "root", ["six==0.0.99"])
    with pytest.raises(Failed) as caught:
        install.install()
    assert caught.value.code == "command-failed"
    assert "six==0.0.99" in caught.value.where
    assert (install.done(), install.fingerprint()) == (False, "")
    install.remove()
    assert not (tmp_path / "root").exists()


def test_no_network(host: Host, tmp_path: Path) -> None:
    """An index that does not answer is an error with its words, not a bug."""
    index = "http://127.0.0.1:9/simple"
    env = {"UV_INDEX_URL": index, "UV_DEFAULT_INDEX": index, "UV_HTTP_RETRIES": "0"}
    env |= {"PIP_INDEX_URL": index, "PIP_RETRIES": "0", "UV_NO_CACHE": "1", "PIP_FIND_LINKS": ""}
    install = PythonInstall(WithEnvironment(host, env), tmp_path / "root", ["six==1.16.0"])
    with pytest.raises(Failed) as caught:
        install.install()
    assert caught.value.code == "command-failed"
    assert not install.done()


@pytest.mark.parametrize("size", ["200k", "1m"])
def test_full_disk(host: Host, tmp_path: Path, size: str) -> None:
    """A disk that becomes full is told as that, by whichever program found it."""
    disk = tmp_path / "disk"
    disk.mkdir()
    LocalHost().run(("mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(disk)))
    try:
        install = PythonInstall(host, disk / "root", ["pip==25.3"])
        with pytest.raises(Failed) as caught:
            install.install()
        assert caught.value.code == "disk-full"
        assert not install.done()
        install.remove()
        assert list(disk.iterdir()) == []
    finally:
        LocalHost().run(("umount", str(disk)))


@pytest.mark.parametrize("package", ["-r/etc/passwd", "--index-url=x", "", " six", "six\nflask"])
def test_refused_words(tmp_path: Path, package: str) -> None:
    """What an installer would take for an option is no package."""
    with pytest.raises(UsageError) as caught:
        PythonInstall(LocalHost(), tmp_path, [package])
    assert caught.value.code == "package-refused"


def test_words_are_not_for_a_shell(host: Host, tmp_path: Path) -> None:
    """A shell's signs in a package are only a package that does not exist."""
    install = PythonInstall(host, tmp_path / "root", [f"six; touch {tmp_path}/harm"])
    with pytest.raises(Failed):
        install.install()
    assert not (tmp_path / "harm").exists()
