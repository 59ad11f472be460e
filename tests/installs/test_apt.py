"""The ``apt`` install, with small packages of Debian and with packages made here.

What these tests install is removed again; one at a time installs.
"""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.installs.conftest import WithEnvironment

from crossfade.drivers.hosts.local import LocalHost
from crossfade.drivers.hosts.ssh import SshHost
from crossfade.drivers.installs import NOTE
from crossfade.drivers.installs.apt import AptInstall
from crossfade.errors import Failed, UsageError
from crossfade.ports import Host, Install
from crossfade.testing.installs import InstallContract

pytestmark = pytest.mark.skipif(shutil.which("apt-get") is None, reason="no Debian")

_HELLO = "hello"


def _status(name: str) -> str:
    argv = ("dpkg-query", "-W", "-f", "${db:Status-Status} ${Version}", name)
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout


def _packages() -> list[str]:
    """Those of these tests; somebody else may install others meanwhile."""
    told = subprocess.run(
        ("dpkg-query", "-W", "-f", "${Package} ${Version} ${db:Status-Status}\n"),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return [line for line in told.splitlines() if line.startswith(("cf-", _HELLO))]


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    """One test installs at a time, and every package is in the end as it was."""
    with Path(tempfile.gettempdir(), "crossfade-tests-apt.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = _packages()
        yield
        assert _packages() == before


@pytest.fixture(scope="session")
def hello() -> str:
    """A package of Debian that is not there, with its version."""
    told = subprocess.run(
        ("apt-cache", "policy", _HELLO), capture_output=True, text=True, check=True
    ).stdout
    if "Candidate" not in told:
        subprocess.run(("apt-get", "update", "-qq"), check=True)
        told = subprocess.run(
            ("apt-cache", "policy", _HELLO), capture_output=True, text=True, check=True
        ).stdout
    assert "Installed: (none)" in told, "the test needs a package that it may install and remove"
    return told.partition("Candidate:")[2].split()[0]


Make = Callable[..., str]


@pytest.fixture
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Make]]:
    """A source of packages of a test's own: a configuration that apt takes, and what adds one."""
    place = tmp_path_factory.mktemp("source")
    place.chmod(0o755)
    names: set[str] = set()
    (place / "lists" / "partial").mkdir(parents=True)
    (place / "empty").mkdir()
    (place / "list").write_text(f"deb [trusted=yes] file:{place} ./\n")
    (place / "apt.conf").write_text(
        f'Dir::Etc::SourceList "{place}/list";\n'
        f'Dir::Etc::SourceParts "{place}/empty";\n'
        f'Dir::State::Lists "{place}/lists";\n'
        'APT::Sandbox::User "root";\n'
    )

    def add(name: str, version: str, *fields: str) -> str:
        names.add(name)
        tree = place / "tree" / f"{name}-{version}"
        (tree / "DEBIAN").mkdir(parents=True)
        (tree / "DEBIAN" / "control").write_text(
            f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: nobody\n"
            + "".join(f"{field}\n" for field in fields)
            + "Description: a test of crossfade\n"
        )
        file = place / f"{name}_{version}_all.deb"
        argv = ("dpkg-deb", "--build", "--root-owner-group", str(tree), str(file))
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
        _index(place)
        return f"{name}={version}"

    yield place, add
    subprocess.run(("dpkg", "--purge", *names), check=True, capture_output=True)


def _index(place: Path) -> None:
    """What dpkg-scanpackages would write, without the tools for it."""
    told = ""
    for file in sorted(place.glob("*.deb")):
        control = subprocess.run(
            ("dpkg-deb", "--field", file), capture_output=True, text=True, check=True
        ).stdout
        sums = subprocess.run(("sha256sum", file), capture_output=True, text=True, check=True)
        told += f"{control.strip()}\nFilename: ./{file.name}\nSize: {file.stat().st_size}\n"
        told += f"SHA256: {sums.stdout.split()[0]}\n\n"
    (place / "Packages").write_text(told)


def _with(host: Host, place: Path) -> Host:
    return WithEnvironment(host, {"APT_CONFIG": str(place / "apt.conf")})


class TestApt(InstallContract):
    """The contract, with a package made here: Debian's own take long to be configured."""

    exclusive = False

    @pytest.fixture(autouse=True)
    def _source(self, made: tuple[Path, Make]) -> None:
        self.source, add = made
        add("cf-app", "1", "Depends: cf-shared")
        add("cf-shared", "1")

    def make(self, host: Host, root: Path) -> Install:
        """Something small."""
        return AptInstall(_with(host, self.source), root, ["cf-app=1"])

    def make_other(self, host: Host, root: Path) -> Install:
        """Another version."""
        return AptInstall(_with(host, self.source), root, ["cf-app=1.1"])

    def break_it(self, root: Path) -> None:
        """Only begun."""
        (root / NOTE).rename(root / ".crossfade-began")
        argv = ("dpkg", "--purge", "cf-app")
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)


def test_a_package_of_debian(far: SshHost, tmp_path: Path, hello: str) -> None:
    """A real one, over ssh."""
    install = AptInstall(far, tmp_path / "root", [f"{_HELLO}={hello}"])
    install.install()
    assert far.run((_HELLO,)).out == b"Hello, world!\n"
    install.remove()
    assert _status(_HELLO) == ""
    assert not (tmp_path / "root").exists()


def test_only_what_was_new_is_removed(host: Host, tmp_path: Path, made: tuple[Path, Make]) -> None:
    """What was there before stays; what came with ours goes; what others need is told."""
    place, add = made
    host = _with(host, place)
    add("cf-before", "1")
    add("cf-shared", "1")
    asked = add("cf-app", "1", "Depends: cf-before, cf-shared")
    AptInstall(host, tmp_path / "theirs", ["cf-before=1"]).install()
    install = AptInstall(host, tmp_path / "root", [asked, "cf-before=1"])
    install.install()
    assert _status("cf-shared") == "installed 1"
    first = install.fingerprint()

    add("cf-other", "1", "Depends: cf-shared")
    other = AptInstall(host, tmp_path / "other", ["cf-other=1"])
    other.install()
    with pytest.raises(Failed, match="cf-other") as caught:
        install.remove()
    assert caught.value.code == "packages-conflict"
    assert (install.done(), install.fingerprint()) == (True, first)
    other.remove()
    install.remove()
    assert (_status("cf-app"), _status("cf-shared")) == ("", "")
    assert _status("cf-before") == "installed 1"
    assert not (tmp_path / "root").exists()


def test_refused_changes(host: Host, tmp_path: Path, made: tuple[Path, Make]) -> None:
    """Nothing is removed, downgraded or upgraded that was there and was not asked for."""
    place, add = made
    host = _with(host, place)
    AptInstall(host, tmp_path / "a", [add("cf-there", "2")]).install()
    before = _packages()
    for words, *package in (
        ("remove cf-there", "cf-one", "1", "Conflicts: cf-there"),
        ("change cf-there from 2 to 3", "cf-two", "1", "Depends: cf-there (>= 3)"),
        ("older version", "cf-there", "1"),
        ("no way", "cf-three", "1", "Depends: cf-missing"),
    ):
        asked = add(*package)
        if "change" in words:
            add("cf-there", "3")
        install = AptInstall(host, tmp_path / "b", [asked])
        with pytest.raises(Failed, match=words) as caught:
            install.install()
        assert caught.value.code == "packages-conflict"
        assert not install.done()
        assert _packages() == before
    assert not (tmp_path / "b").exists()


def test_upgrade_that_is_asked_for(host: Host, tmp_path: Path, made: tuple[Path, Make]) -> None:
    """It is said in the plan; neither this one's removal nor that of the earlier one takes it."""
    place, add = made
    host = _with(host, place)
    earlier = AptInstall(host, tmp_path / "a", [add("cf-there", "1")])
    earlier.install()
    install = AptInstall(host, tmp_path / "b", [add("cf-there", "2")])
    assert any("cf-there of that machine from 1 to 2" in line for line in install.describe())
    install.install()
    assert _status("cf-there") == "installed 2"
    assert not earlier.done()
    earlier.remove()
    assert install.done()
    install.remove()
    assert _status("cf-there") == "installed 2"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("package", ["hello=0.0.1", "cf-no-such-package", "cf-no.such"])
def test_no_such_version(host: Host, tmp_path: Path, package: str) -> None:
    """A version or package that apt does not know is told; nothing is noted."""
    install = AptInstall(host, tmp_path / "root", [package])
    with pytest.raises(Failed, match=package.partition("=")[0]) as caught:
        install.install()
    assert caught.value.code == "package-missing"
    assert not (tmp_path / "root").exists()


def test_no_service_starts(tmp_path: Path, made: tuple[Path, Make]) -> None:
    """While packages are installed the machine's policy says no, and afterwards it is as before."""
    place, add = made
    policy = Path("/usr/sbin/policy-rc.d")
    before = policy.read_bytes() if policy.exists() else None
    aside = policy.with_name("policy-rc.d.crossfade-test")
    asked = add("cf-service", "1")
    tree = place / "tree" / "cf-service-2"
    (tree / "DEBIAN").mkdir(parents=True)
    control = (place / "tree" / "cf-service-1" / "DEBIAN" / "control").read_text()
    (tree / "DEBIAN" / "control").write_text(control.replace("Version: 1", "Version: 2"))
    script = tree / "DEBIAN" / "postinst"
    script.write_text(f"#!/bin/sh\n{policy}; echo $? >{tmp_path}/said\n")
    script.chmod(0o755)
    file = place / "cf-service_2_all.deb"
    subprocess.run(("dpkg-deb", "--build", str(tree), str(file)), check=True, capture_output=True)
    _index(place)
    if before is not None:
        policy.rename(aside)
    try:
        host = _with(LocalHost(), place)
        AptInstall(host, tmp_path / "root", [asked.replace("=1", "=2")]).install()
        assert (tmp_path / "said").read_text() == "101\n"
        assert not policy.exists()
    finally:
        if before is not None:
            aside.rename(policy)


@pytest.mark.parametrize(
    "package",
    ["hello-", "-y", "", "hello 1", "hello=1 2", "/tmp/x.deb", "hello/stable", "a*", "x^"],
)
def test_refused_words(tmp_path: Path, package: str) -> None:
    """Options, files, patterns and removals are no packages."""
    with pytest.raises(UsageError) as caught:
        AptInstall(LocalHost(), tmp_path, [package])
    assert caught.value.code == "package-refused"
