"""The second Compose project: its file, and what is refused before anything is made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml
from tests.testbed.composed import ComposedSite, composed_site_at
from tests.testbed.engine import Engine

from crossfade.drivers.containers import LABEL
from crossfade.drivers.services.compose_text import Second, second_project
from crossfade.errors import Failed
from crossfade.model import Side
from crossfade.needs import _volumes


def container(image: str, *mounts: dict[str, Any]) -> dict[str, Any]:
    """What an engine says of a container, as far as it is read."""
    return {"Image": f"sha256:{image}", "Config": {"Image": f"{image}:1"}, "Mounts": list(mounts)}


def volume(name: str, *, rw: bool = True) -> dict[str, Any]:
    """A volume as it is mounted."""
    return {"Type": "volume", "Name": name, "Source": "/x", "Destination": f"/{name}", "RW": rw}


CONFIG = {
    "Image": "app:2",
    "Cmd": ["serve", "$HOME"],
    "HostConfig": {
        "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8002"}]},
        "Mounts": [{"Type": "volume", "Source": "two", "Target": "/data", "ReadOnly": False}],
    },
}
FILES: dict[str, Any] = {
    "name": "first",
    "services": {
        "web": {
            "image": "app:1",
            "build": ".",
            "ports": ["80:80"],
            "environment": ["A=1", "B=2"],
            "networks": {"back": {"ipv4_address": "10.9.0.5", "aliases": ["www"]}},
            "depends_on": {"cache": {"condition": "service_started"}, "tool": {}},
        },
        "cache": {"image": "cache:1", "ports": ["6379:6379"]},
        "tool": {"image": "tool:1"},
    },
    "networks": {"back": {"name": "shared", "external": True}},
}


def second(**more: Any) -> Second:
    """The second project of these files."""
    environment = {"B": None, "C": "3$"}
    return Second("two", "u1", "web", "two-web", CONFIG, environment, **more)


def test_second_project() -> None:
    """Nothing that is the first project's own is in it: ports, names, addresses, networks."""
    running = {"web": container("app"), "cache": container("cache", volume("conf", rw=False))}
    made = second_project(FILES, running, second())
    web, cache = made["services"]["web"], made["services"]["cache"]
    assert set(made["services"]) == {"web", "cache"}
    assert web == {
        "image": "app:2",
        "container_name": "two-web",
        "environment": {"A": "1", "C": "3$$"},
        "ports": ["127.0.0.1:8002:80/tcp"],
        "command": ["serve", "$$HOME"],
        "networks": {"back": {"aliases": ["www"]}},
        "depends_on": {"cache": {"condition": "service_started"}},
        "labels": {LABEL: "u1"},
        "volumes": [{"type": "volume", "source": "two", "target": "/data", "read_only": False}],
    }
    assert "ports" not in cache
    assert cache["volumes"][0]["read_only"]
    assert made["volumes"]["two"] == {"external": True, "name": "two"}
    assert made["networks"] == {
        "back": {"labels": {LABEL: "u1"}},
        "default": {"labels": {LABEL: "u1"}},
    }


@pytest.mark.parametrize(
    ("other", "fresh", "code"),
    [
        (container("app"), (), "compose-service-writes"),
        (container("cache", volume("data")), ("cache",), "compose-service-writes"),
        (container("cache", volume("kept")), (), "compose-data-stays"),
        (
            container("cache", {"Type": "bind", "Source": "/s", "Destination": "/d", "RW": True}),
            ("cache",),
            "mount-shared",
        ),
    ],
)
def test_other_services_that_would_lose_data(
    other: dict[str, Any], fresh: tuple[str, ...], code: str
) -> None:
    """A service that would write on in the pause, or whose data would stay behind, is refused."""
    running = {"web": container("app", volume("data")), "cache": other}
    with pytest.raises(Failed) as failed:
        second_project(FILES, running, second(fresh=fresh))
    assert failed.value.code == code


def test_volume_of_a_fresh_service() -> None:
    """It gets an empty one of the second project's own."""
    running = {"web": container("app"), "cache": container("cache", volume("kept"))}
    made = second_project(FILES, running, second(fresh=("cache",)))
    assert made["volumes"]["two_kept"] == {"name": "two_kept", "labels": {LABEL: "u1"}}


def test_a_single_volume_may_begin_empty() -> None:
    """Not only a service as a whole; what is not named is still refused."""
    running = {"web": container("app"), "cache": container("cache", volume("a"), volume("b"))}
    made = second_project(FILES, running, second(fresh=("a", "b")))
    assert {"two_a", "two_b"} <= set(made["volumes"])
    with pytest.raises(Failed, match="keeps data in b,"):
        second_project(FILES, running, second(fresh=("a",)))


def test_places_that_would_stay_behind() -> None:
    """What has something of the recipe's in it, or is within a tree, is carried; nothing else is,
    unless it is named."""
    mounts = [volume(name) for name in ("data", "more", "x", "ro")]
    mounts[3]["RW"] = False
    mounts.append({"Type": "bind", "Source": "/host", "Destination": "/data/up/in", "RW": True})
    mounts.append({"Type": "tmpfs", "Destination": "/t", "RW": True})
    trees, others = {"tree up": Path("/data/up")}, {"database main": Path("/data/main.db")}

    def lacks(*fresh: str) -> list[str]:
        found = _volumes._of_places(container("app", *mounts), trees, others, frozenset(fresh))
        return [need.finding.claim.split()[1] for need in found if need.lacks]

    assert lacks() == ["more", "x"]
    assert lacks("more", "/x") == []


class WithMore(ComposedSite):
    """The program has a volume that its recipe knows nothing of."""

    extra: ClassVar[Mapping[str, str]] = {"extra": "/srv/extra"}


@pytest.fixture
def site(engine: Engine, tmp_path: Path) -> Iterator[ComposedSite]:
    """A site of two Compose projects."""
    with composed_site_at(tmp_path / "site", engine, WithMore, notes=5, uploads=1) as made:
        yield made


@pytest.mark.whole
def test_projects_apart(site: ComposedSite) -> None:
    """What cannot be a second project is refused and leaves nothing; one that can has services that
    find each other, and the old one's settings."""
    said = yaml.safe_load(site.manifest.read_text(encoding="utf-8"))
    networks = site.engine.docker("network", "ls", "--format", "{{.Name}}").split()

    def refused(*codes: str) -> str:
        result = site.run("rehearse", ok=False)
        assert all(code in result.err for code in codes), result.err
        assert "The old side (1.0) serves" in result.err
        assert "next:" in result.err
        return result.err

    def change(**how: object) -> None:
        changed = {**said, "new": {**said["new"], "host": {**said["new"]["host"], **how}}}
        site.manifest.write_text(yaml.safe_dump(changed), encoding="utf-8")

    fresh = ["cache", "/srv/extra"]
    forgotten = f"{site.name}-forgotten"
    label = f"com.docker.compose.project={site.name}"
    site.engine.docker("volume", "create", "--label", LABEL, "--label", label, forgotten)
    change(fresh=[])
    told = refused("volume-stays", "compose-data-stays")
    for volume_of_it in ("extra at /srv/extra", "kept", forgotten):
        assert volume_of_it in told, told
    site.engine.docker("volume", "rm", forgotten)
    change(fresh=fresh, compose=site.name)
    refused("container-in-the-way")
    change(fresh=fresh)
    (site.project / ".env").write_text("COLOUR=red\n")
    refused("compose-changed")
    (site.project / ".env").write_text("COLOUR=blue\n")
    now = site.engine.docker("network", "ls", "--format", "{{.Name}}").split()
    assert {name for name in now if site.name in name} == {
        name for name in networks if site.name in name
    }
    site.run("rehearse")
    site.run("cutover", "--yes")
    new, docker = site.containers()[Side.NEW], site.engine.docker
    probe = "import os, socket; s = socket.create_connection(('cache', 7000), 20); print("
    probe += "s.getpeername()[0], os.environ['NOTES_COLOUR'], os.environ['NOTES_SIGN'])"
    asked = docker("exec", new, "python3", "-c", probe).split()
    form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    cache = docker("inspect", "--format", form, f"{site.name}-2_cache_1").strip()
    assert asked == [cache, "blue", "a$b"]
    file = site.manifest.parent / f"{site.name}-2" / "docker-compose.yml"
    assert file.stat().st_mode & 0o777 == 0o600
    assert yaml.safe_load(file.read_text())["services"]["web"]["container_name"] == new
