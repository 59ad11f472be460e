"""A container as a service: settings carried, started, stopped, removed; and images."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.docker.site import Site

import crossfade
from crossfade.drivers.installs.image import ImageInstall
from crossfade.drivers.services.container_text import Changes, creation
from crossfade.drivers.services.docker import DockerService, DockerSpec
from crossfade.errors import Failed
from crossfade.testing.free_ports import free_ports

WAITS = ["sh", "-c", 'echo "begun $WORD"; trap "exit 0" TERM; sleep infinity & wait']
AWKWARD = "a 'b' \"c\"\n-d $(id) ümläut"


class Pair:
    """An old container with many settings, and the new one that is made of it."""

    def __init__(self, site: Site) -> None:
        port, other = free_ports(2)
        self.published = port
        self.site = site
        self.volume, self.network = site.volume(), site.network()
        self.old = site.container(
            binds=[f"{self.volume}:/data", "/etc/hostname:/etc/name:ro"],
            config={
                "Cmd": WAITS,
                "Env": [f"WORD={AWKWARD}", "GONE=1"],
                "Labels": {"their": AWKWARD, "com.docker.compose.project": "p"},
                "Healthcheck": {"Test": ["CMD", "true"], "Interval": 500_000_000},
                "WorkingDir": "/tmp",
            },
            NetworkMode=self.network,
            ports={"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(port)}]},
            Memory=64 << 20,
            PidsLimit=50,
            CapDrop=["NET_RAW"],
            ExtraHosts=["other:10.0.0.9"],
            Tmpfs={"/scratch": "size=1m"},
            RestartPolicy={"Name": "always"},
            Ulimits=[{"Name": "nofile", "Soft": 512, "Hard": 1024}],
            Sysctls={"net.core.somaxconn": "200"},
            LogConfig={"Type": "json-file", "Config": {"max-size": "1m"}},
        )
        self.changes = Changes(
            name=f"{self.old}-new",
            image=site.image,
            upgrade=f"{site.upgrade}n",
            volumes={self.volume: f"{self.volume}-new"},
            environment={"GONE": None, "MORE": "1"},
            ports={"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(other)}]},
        )
        self.service = self.made_with(self.changes)

    def made_with(self, changes: Changes) -> DockerService:
        """The new side."""
        spec = DockerSpec(changes.name, self.site.socket, changes.upgrade, self.old, changes)
        return DockerService(spec)


@pytest.fixture(scope="module")
def pair(site: Site) -> Iterator[Pair]:
    """Both sides; the new one is made and stopped."""
    found = Pair(site)
    found.service.make()
    yield found
    found.service.remove()
    found.service.close()


def test_settings_are_carried(pair: Pair) -> None:
    """The new container is as the old one, but for what must be its own."""
    old, new = pair.site.inspect(pair.old), pair.site.inspect(pair.changes.name)
    for key in ("Memory", "PidsLimit", "CapDrop", "ExtraHosts", "Tmpfs", "Ulimits", "Sysctls"):
        assert new["HostConfig"][key] == old["HostConfig"][key], key
    assert new["HostConfig"]["LogConfig"] == old["HostConfig"]["LogConfig"]
    for key in ("Cmd", "Healthcheck", "WorkingDir"):
        assert new["Config"][key] == old["Config"][key], key
    assert f"WORD={AWKWARD}" in new["Config"]["Env"]
    assert "MORE=1" in new["Config"]["Env"]
    assert "GONE=1" not in new["Config"]["Env"]
    assert new["Config"]["Labels"] == {"their": AWKWARD, "crossfade.upgrade": pair.changes.upgrade}
    assert new["HostConfig"]["RestartPolicy"]["Name"] == "no"
    sources = {one["Destination"]: one.get("Name") for one in new["Mounts"]}
    assert sources["/data"] == f"{pair.volume}-new"
    assert "/etc/name" in sources
    assert list(new["NetworkSettings"]["Networks"]) == [pair.network]


def test_what_is_not_carried_is_told(pair: Pair) -> None:
    """Ports, shared places, Compose's labels, and what nobody knows."""
    old = pair.site.inspect(pair.old)
    image = pair.site.inspect(pair.site.image)
    old["HostConfig"]["NewThing"] = 5
    told = "\n".join(creation(old, image, pair.changes).told)
    assert "NewThing is not carried" in told
    assert "/etc/hostname at /etc/name is shared" in told
    assert "com.docker.compose.project" in told
    other = Changes(**{**_fields(pair.changes), "ports": {}})
    told = "\n".join(creation(old, image, other).told)
    assert f"80/tcp is not published: the old side has it at 127.0.0.1:{pair.published}" in told


def _fields(changes: Changes) -> dict[str, Any]:
    return {name: getattr(changes, name) for name in Changes.__slots__}


def test_limits_by_their_other_names(pair: Pair) -> None:
    """Podman tells limits by the kernel's names, and wants them by Docker's."""
    old, image = pair.site.inspect(pair.old), pair.site.inspect(pair.site.image)
    told = old["HostConfig"]["Ulimits"]
    assert told
    old["HostConfig"]["Ulimits"] = [
        {**one, "Name": f"RLIMIT_{one['Name'].upper()}"} for one in told
    ]
    assert creation(old, image, pair.changes).config["HostConfig"]["Ulimits"] == told


def test_what_is_refused(pair: Pair) -> None:
    """An image that could be any, a place without its counterpart, a name that is taken."""
    for changed, code in (
        ({"image": "crossfade-tests"}, "image-not-pinned"),
        ({"image": "crossfade-tests:latest"}, "image-not-pinned"),
        ({"image": "localhost:5000/app"}, "image-not-pinned"),
        ({"volumes": {}, "mounts": {"/data": pair.volume}}, "mount-shared"),
        ({"name": pair.old}, "container-in-the-way"),
        ({"image": "none-such:1", "name": f"{pair.old}-x"}, "image-missing"),
    ):
        service = pair.made_with(Changes(**{**_fields(pair.changes), **changed}))
        with pytest.raises(Failed) as failed:
            service.make()
        assert failed.value.code == code, changed
        service.close()


def test_start_look_and_stop(pair: Pair) -> None:
    """It starts, tells how it stands, says what it logs, and stops; each twice is fine."""
    service = pair.service
    assert not service.look().running
    service.start()
    service.start()
    deadline = time.monotonic() + 60
    while "healthy" not in service.look().detail.replace("unhealthy", ""):
        assert time.monotonic() < deadline, service.look()
        time.sleep(0.1)
    assert service.look().running
    assert service.look().pids
    assert any(line.startswith("begun a 'b'") for line in service.log_tail(9))
    assert service.command() == ("docker", "start", pair.changes.name)
    service.stop(5)
    service.stop(5)
    assert not service.look().running


def test_one_that_hears_no_signal(pair: Pair) -> None:
    """A first process that does not catch its signal never gets it: waiting would be in vain."""
    for signal in ("SIGTERM", "10"):
        deaf = pair.site.container(
            config={"Entrypoint": ["sleep"], "Cmd": ["1000"], "StopSignal": signal}
        )
        service = DockerService(DockerSpec(deaf, pair.site.socket, "", deaf))
        service.start()
        began = time.monotonic()
        service.stop(120)
        assert time.monotonic() - began < 60
        assert not service.look().running
        service.close()


def test_without_us(pair: Pair) -> None:
    """The dead-man's switch starts and stops it."""
    environment = {"PYTHONPATH": str(Path(crossfade.__file__).parents[1])}
    subprocess.run(pair.service.revival(), check=True, env=environment)
    assert pair.service.look().running
    subprocess.run(pair.service.burial(), check=True, env=environment)
    assert not pair.service.look().running


def test_restart_policy(pair: Pair, tmp_path: Path) -> None:
    """The old one's policy comes with the commit; the old one gets it back when it serves again."""
    old = DockerService(DockerSpec(pair.old, pair.site.socket, keep=tmp_path))
    new = pair.service
    new.make()
    assert (old.at_boot(), new.at_boot()) == (True, False)
    new.set_at_boot(True)
    old.set_at_boot(False)
    assert (old.at_boot(), new.at_boot()) == (False, True)
    found = pair.site.inspect(pair.changes.name)["HostConfig"]["RestartPolicy"]
    assert found["Name"] == "always"
    old.set_at_boot(True)
    found = pair.site.inspect(pair.old)["HostConfig"]["RestartPolicy"]
    assert found["Name"] == "always"
    new.set_at_boot(False)
    old.close()


def test_only_ours_is_removed(site: Site) -> None:
    """Removing takes container and volume of the upgrade, and leaves the old side's."""
    other = Pair(site)
    other.service.make()
    other.service.remove()
    other.service.remove()
    names = site.docker("ps", "-a", "--format", "{{.Names}}").split()
    volumes = site.docker("volume", "ls", "-q").split()
    assert (other.old in names, other.changes.name in names) == (True, False)
    assert (other.volume in volumes, f"{other.volume}-new" in volumes) == (True, False)
    DockerService(DockerSpec(other.old, site.socket, other.changes.upgrade)).remove()
    assert other.old in site.docker("ps", "-a", "--format", "{{.Names}}").split()
    other.service.close()


def test_images(site: Site) -> None:
    """An image that is there has a fingerprint; one in use or with other names is not removed."""
    install = ImageInstall(None, Path("/"), (site.image,), socket=site.socket)
    install.install()
    assert install.done()
    assert install.fingerprint().startswith("sha256:")
    user = site.container()
    install.remove()
    assert site.inspect(user)["Image"] == install.fingerprint()
    for reference in ("none-such:1", "127.0.0.1:1/none:1"):
        missing = ImageInstall(None, Path("/"), (reference,), socket=site.socket)
        assert not missing.done()
        with pytest.raises(Failed) as failed:
            missing.install()
        assert failed.value.code == "image-missing"
    with pytest.raises(Failed) as failed:
        ImageInstall(None, Path("/"), ("app",))
    assert failed.value.code == "image-not-pinned"
