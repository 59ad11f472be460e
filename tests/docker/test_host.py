"""A container as a machine: the contract of every host, in a real one."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.docker.site import Site

import crossfade
from crossfade.drivers.hosts.docker import DockerHost
from crossfade.errors import Failed
from crossfade.model import Address
from crossfade.ports import Host
from crossfade.testing.hosts import HostContract

PIECES = st.characters(exclude_characters="\0", exclude_categories=["Cs"]) | st.sampled_from(
    ["'", '"', "\n", "$(id)", "`", "\\", " ", "-", "ü", "\udcff"]
)
WORDS = st.lists(PIECES, max_size=12).map("".join)
AWKWARD = (
    "a b",
    "it's",
    '"q"',
    "new\nline",
    "end\n",
    "-rf",
    "--",
    "$(id)",
    "ümläut ✓",
    "\udcff",
    "*",
)


@pytest.fixture(scope="module")
def like_here(site: Site) -> Iterator[tuple[DockerHost, Path]]:
    """A container with this machine's network and processes, and a directory that both have."""
    where = Path(tempfile.mkdtemp(prefix="crossfade docker '"))
    app = site.container(
        binds=[f"{where}:{where}"], NetworkMode="host", PidMode="host", CapAdd=["SYS_PTRACE"]
    )
    host = DockerHost(app, socket=site.socket, upgrade=site.upgrade)
    yield host, where
    host.close()
    shutil.rmtree(where)


class TestDockerHost(HostContract):
    """The contract, whose paths are on this machine."""

    @pytest.fixture(autouse=True)
    def reached(self, like_here: tuple[DockerHost, Path]) -> None:
        """The host that is tried."""
        self._host, self._where = like_here

    @pytest.fixture
    def place(self) -> Path:
        """A directory that the container has, too."""
        return Path(tempfile.mkdtemp(dir=self._where))

    def host(self) -> Host:
        """The container's host."""
        return self._host


@pytest.fixture
def host(site: Site) -> Iterator[DockerHost]:
    """A container with a volume at /data."""
    app = site.container(binds=[f"{site.volume()}:/data"])
    found = DockerHost(app, socket=site.socket, upgrade=site.upgrade)
    yield found
    found.close()


def test_files_of_a_container_that_is_stopped(site: Site, host: DockerHost) -> None:
    """What the application wrote is read while it is stopped, and what is written it finds."""
    site.docker("exec", host.name, "sh", "-c", "echo hello > /data/file")
    site.docker("stop", "-t", "0", host.name)
    assert host.read(Path("/data/file")) == b"hello\n"
    host.write(Path("/data/ours"), b"ours")
    site.docker("start", host.name)
    assert site.docker("exec", host.name, "cat", "/data/ours") == "ours"


def test_a_container_that_is_not_there_yet(site: Site) -> None:
    """Before it is made, its volumes and an image are enough."""
    volume = site.volume()
    host = DockerHost(
        "not-yet",
        socket=site.socket,
        helper_image=site.image,
        mounts=(f"{volume}:/data",),
        upgrade=site.upgrade,
    )
    host.write(Path("/data/file"), b"x")
    host.close()
    app = site.container(binds=[f"{volume}:/data"])
    assert site.docker("exec", app, "cat", "/data/file") == "x"


def test_awkward_names(host: DockerHost) -> None:
    """Names with spaces, quotes, newlines, leading dashes and bytes that are no text."""
    for word in AWKWARD:
        path = Path("/data") / word / word
        host.write(path, word.encode(errors="surrogateescape"))
        assert host.exists(path)
        assert host.read(path) == word.encode(errors="surrogateescape")
        done = host.run(("printf", "%s", word), env={"W": word}, cwd=path.parent)
        assert done.out == word.encode(errors="surrogateescape")
        host.remove(path.parent)
        assert not host.exists(path.parent)


@given(words=st.lists(WORDS, min_size=1, max_size=4), value=WORDS)
@settings(max_examples=40, deadline=None)
def test_any_words(shared: DockerHost, words: list[str], value: str) -> None:
    """Whatever words are given, just those arrive."""
    done = shared.run(("printf", "%s\\0", value, *words))
    wanted = b"".join(w.encode(errors="surrogateescape") + b"\0" for w in (value, *words))
    assert done.out == wanted
    assert shared.run(("printenv", "W"), env={"W": value}).out == (
        value.encode(errors="surrogateescape") + b"\n"
    )


@pytest.fixture(scope="module")
def shared(site: Site) -> Iterator[DockerHost]:
    """One host for many tries."""
    found = DockerHost(site.container(), socket=site.socket, upgrade=site.upgrade)
    yield found
    found.close()


def test_reading_is_not_ahead(host: DockerHost) -> None:
    """A stream is read as it is asked for, and its command waits."""
    with host.reading(("sh", "-c", "yes | head -c 300000000; echo end >&2")) as stream:
        assert stream.read(4) == b"y\ny\n"
        time.sleep(0.5)
        count = 4
        while data := stream.read(1 << 20):
            count += len(data)
    assert count == 300_000_000


def test_reading_that_fails(host: DockerHost) -> None:
    """The status is looked at when the stream is left, and an exception ends the command."""
    with (
        pytest.raises(Failed, match="status 4") as failed,
        host.reading(("sh", "-c", "echo out; echo why >&2; exit 4")) as stream,
    ):
        assert stream.read() == b"out\n"
    assert "why" in failed.value.where
    with pytest.raises(RuntimeError), host.reading(("sleep", "4321")):
        raise RuntimeError
    assert b"4321" not in host.run(("sh", "-c", "cat /proc/[0-9]*/cmdline; :")).out.replace(
        b"sh\0-c\0", b""
    )


def test_feeding(host: DockerHost) -> None:
    """What is written arrives whole, with back-pressure, and the status is looked at."""
    with host.feeding(("sh", "-c", "cat > /data/big")) as stream:
        for _ in range(64):
            stream.write(b"x" * (1 << 20))
    assert host.run(("wc", "-c", "/data/big")).out.split()[0] == str(64 << 20).encode()
    with pytest.raises(Failed, match="status 3"):
        _fill(host, ("sh", "-c", "head -c 10 >/dev/null; exit 3"))


def _fill(host: DockerHost, argv: tuple[str, ...], written: list[int] | None = None) -> None:
    """Write far more than fits anywhere."""
    with host.feeding(argv) as stream:
        for _ in range(1 << 16):
            stream.write(b"x" * (1 << 16))
            if written is not None:
                written.append(1 << 16)


def test_feeding_waits(host: DockerHost) -> None:
    """A command that does not read holds the writer up; nothing piles up here."""
    written: list[int] = []

    def write() -> None:
        with pytest.raises(BrokenPipeError):
            _fill(host, ("sleep", "3"), written)

    thread = threading.Thread(target=write)
    thread.start()
    time.sleep(1.5)
    first = sum(written)
    time.sleep(1)
    assert sum(written) == first < 64 << 20
    thread.join(30)
    assert not thread.is_alive()


def test_outside(host: DockerHost) -> None:
    """Somebody else on this machine runs a command in there."""
    environment = {"PYTHONPATH": str(Path(crossfade.__file__).parents[1])}
    subprocess.run(
        host.outside(("sh", "-c", "echo a b > '/data/x y'")), check=True, env=environment
    )
    assert host.read(Path("/data/x y")) == b"a b\n"


def test_nothing_is_left(site: Site, host: DockerHost) -> None:
    """After close the helper is gone; a second host of the same upgrade uses the first one's."""
    host.run(("true",))
    other = DockerHost(host.name, socket=site.socket, upgrade=site.upgrade)
    assert other._helper.id() == host._helper.id()
    mine = host._helper.id()
    host.close()
    assert mine not in site.docker("ps", "-a", "-q", "--no-trunc").split()
    assert other.run(("true",)).status == 0
    other.close()


def test_listeners(site: Site, host: DockerHost) -> None:
    """Who listens in the container is told, and which container has a port published."""
    bound = "import socket,time; s=socket.socket(); s.bind(('0.0.0.0',8123)); s.listen()"
    listen = f"{bound}; time.sleep(99)"
    assert host.listener(Address("127.0.0.1", 8123)) is None
    site.docker("exec", "-d", host.name, "python3", "-c", listen)
    deadline = time.monotonic() + 60
    while not (found := host.listener(Address("127.0.0.1", 8123))):
        assert time.monotonic() < deadline
    assert "python3" in found
    publisher = site.container(ports={"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "28123"}]})
    assert host.listener(Address("127.0.0.1", 28123)) == f"container {publisher}"


def test_trouble(site: Site, host: DockerHost, tmp_path: Path) -> None:
    """Engine or container missing, a socket that is not ours, a container that dies."""
    for wrong, code in (
        (DockerHost("none-such", socket=site.socket), "container-missing"),
        (DockerHost("any", socket=str(tmp_path / "none.sock")), "engine-unreachable"),
        (DockerHost("any", socket=site.socket, helper_image="none:1"), "image-missing"),
    ):
        with pytest.raises(Failed) as failed:
            wrong.run(("true",))
        assert failed.value.code == code
        wrong._engine.close()
    host.run(("true",))
    killer = threading.Timer(1.0, lambda: site.docker("kill", host._helper.id()))
    killer.start()
    with pytest.raises(Failed) as failed:
        host.run(("sleep", "50"))
    assert failed.value.code == "container-died"
    assert host.run(("echo", "again")).out == b"again\n"


def test_what_cannot_be_a_side(site: Site) -> None:
    """Data in the container's own layer would be lost, and so would a container that removes
    itself."""
    volume = site.volume()
    inside = site.container(binds=[f"{volume}:/data"])
    fleeting = site.container(binds=[f"{volume}:/data"], AutoRemove=True)
    for name, place, code in (
        (inside, "/srv/app", "place-not-mounted"),
        (fleeting, "/data", "container-removes-itself"),
    ):
        host = DockerHost(name, socket=site.socket, on_mounts=(Path(place),))
        for _ in range(2):
            with pytest.raises(Failed) as failed:
                host.exists(Path(place))
            assert failed.value.code == code
        host.close()
    host = DockerHost(inside, socket=site.socket, on_mounts=(Path("/data/app"),))
    assert not host.exists(Path("/data/app"))
    host.close()


def test_before_it_is_made(site: Site) -> None:
    """Nothing is there until the first write makes it; and what is mounted there is emptied where
    it would be removed."""
    name, volume = site.named("container"), site.volume()
    made = []

    def make() -> None:
        made.append(name)
        site.docker(
            *("create", "--name", name, "--label", f"crossfade.upgrade={site.upgrade}"),
            *("--volume", f"{volume}:/data", site.image),
        )

    host = DockerHost(
        name, socket=site.socket, helper_image=site.image, upgrade=site.upgrade, make=make
    )
    place = Path("/data")
    assert not host.exists(place)
    host.remove(place)
    assert host.free_bytes(place) > 0
    assert host.run(("echo", "in the image")).out == b"in the image\n"
    assert made == []
    host.write(place / "a" / "b", b"c")
    host.write(place / ".hidden", b"d")
    assert (made, host.exists(place), host.read(place / "a" / "b")) == ([name], True, b"c")
    host.remove(place)
    assert not host.exists(place)
    host.close()
    assert volume in site.docker("volume", "ls", "-q").split(), "its container still has it"


def test_no_secret_in_errors(site: Site, host: DockerHost) -> None:
    """A secret value is neither shown nor among any program's arguments."""
    hiding = DockerHost(
        host.name, socket=site.socket, upgrade=site.upgrade, secrets=lambda: ("hush-hush",)
    )
    with pytest.raises(Failed) as failed:
        hiding.run(("sh", "-c", "echo $W >&2; exit 1"), env={"W": "hush-hush"})
    assert "hush" not in str(failed.value.as_json())
    hiding._engine.close()
