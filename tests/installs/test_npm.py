"""The ``npm`` install, with small packages of the registry."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.installs.conftest import WithEnvironment

from crossfade.drivers.hosts.local import LocalHost
from crossfade.drivers.installs.npm import NpmInstall, suits
from crossfade.errors import Failed, UsageError
from crossfade.ports import Host, Install
from crossfade.testing.installs import InstallContract


class TestNpm(InstallContract):
    """The contract."""

    def make(self, host: Host, root: Path) -> Install:
        """Something small, that needs something else."""
        return NpmInstall(host, root, ["is-odd@3.0.1"], node=">=16")

    def make_other(self, host: Host, root: Path) -> Install:
        """Another version."""
        return NpmInstall(host, root, ["is-odd@3.0.0"], node=">=16")

    def break_it(self, root: Path) -> None:
        """The last note was not yet written."""
        (root / ".crossfade-installed").rename(root / ".crossfade-began")
        (root / "node_modules" / "is-odd" / "index.js").unlink()


def test_it_works(host: Host, tmp_path: Path) -> None:
    """The package can be used, and the lock and nothing of a cache is there."""
    root = tmp_path / "root"
    NpmInstall(host, root, ["is-odd@3.0.1"]).install()
    asked = host.run(("node", "-p", "require('is-odd')(3)"), cwd=root)
    assert asked.out == b"true\n"
    assert sorted(path.name for path in root.iterdir()) == [
        ".crossfade-installed",
        "node_modules",
        "package-lock.json",
        "package.json",
    ]


@pytest.mark.parametrize("package", ["is-odd@0.0.99", "crossfade-no-such-package-1@1.0.0"])
def test_no_such_version(host: Host, tmp_path: Path, package: str) -> None:
    """npm's words are shown, it is not done, and the next try replaces it."""
    install = NpmInstall(host, tmp_path / "root", [package])
    with pytest.raises(Failed) as caught:
        install.install()
    assert caught.value.code == "command-failed"
    assert package in caught.value.where
    assert not install.done()
    install.remove()
    assert not (tmp_path / "root").exists()


def test_no_network(tmp_path: Path) -> None:
    """A registry that does not answer is an error with npm's words."""
    env = {"npm_config_registry": "http://127.0.0.1:9/", "npm_config_fetch_retries": "0"}
    install = NpmInstall(WithEnvironment(LocalHost(), env), tmp_path / "root", ["is-odd@3.0.1"])
    with pytest.raises(Failed) as caught:
        install.install()
    assert caught.value.code == "command-failed"
    assert "config is set properly" in caught.value.where, "npm on networks"


def test_full_disk(host: Host, tmp_path: Path) -> None:
    """A disk that becomes full is told as that."""
    disk = tmp_path / "disk"
    disk.mkdir()
    LocalHost().run(("mount", "-t", "tmpfs", "-o", "size=48k", "none", str(disk)))
    try:
        install = NpmInstall(host, disk / "root", ["is-odd@3.0.1"])
        with pytest.raises(Failed) as caught:
            install.install()
        assert caught.value.code == "disk-full"
        assert not install.done()
        install.remove()
        assert list(disk.iterdir()) == []
    finally:
        LocalHost().run(("umount", str(disk)))


def test_wrong_node(host: Host, tmp_path: Path) -> None:
    """A Node.js that will not do, or none, is told before anything is made."""
    old = NpmInstall(host, tmp_path / "root", ["is-odd@3.0.1"], node="<4")
    empty = WithEnvironment(host, {"PATH": str(tmp_path)})
    (tmp_path / "sh").symlink_to("/bin/sh")
    (tmp_path / "cat").symlink_to("/bin/cat")
    none = NpmInstall(empty, tmp_path / "root", ["is-odd@3.0.1"])
    for install, code in ((old, "node-unsuitable"), (none, "node-missing")):
        with pytest.raises(Failed) as caught:
            install.install()
        assert caught.value.code == code
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize(
    ("version", "rules", "expected"),
    [
        ("20.20.2", "", True),
        ("20.20.2", ">=18", True),
        ("20.20.2", ">=18 <21", True),
        ("20.20.2", ">=18 <20", False),
        ("20.20.2", "20", True),
        ("20.20.2", "=20.20", True),
        ("20.20.2", "20.2", False),
        ("20.20.2", ">20", False),
        ("20.20.2", ">20.19", True),
        ("20.20.2", "<=20", True),
        ("18.0.0", ">=18.0.1", False),
        ("9.1.0", ">=18", False),
        ("20.20.2", "x", False),
    ],
)
def test_versions(version: str, rules: str, expected: bool) -> None:
    """Numbers are compared as numbers, and only as far as they are told."""
    assert suits(version, rules) is expected


@pytest.mark.parametrize(
    "package",
    ["--prefix=/", "-g", "", "is-odd 3", "is-odd@3\n", "../x", "/x", "git+ssh://a/b", "a@http://x"],
)
def test_refused_words(tmp_path: Path, package: str) -> None:
    """Options, paths and addresses are no packages."""
    with pytest.raises(UsageError) as caught:
        NpmInstall(LocalHost(), tmp_path, [package])
    assert caught.value.code == "package-refused"
