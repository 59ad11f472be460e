"""Which places are looked at: data that is configuration as well, homes, and a machine over ssh."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.finding.apart import Apart
from tests.finding.plain import installed, kinds, one
from tests.testbed.sshd import Sshd

from crossfade.drivers.hosts.local import LocalHost
from crossfade.drivers.hosts.ssh import SshHost
from crossfade.finding import Kind, Running, Scope, look


def test_a_program_in_a_python_environment(host: Apart) -> None:
    """As Synapse stands: one directory for configuration and data, settings in three files, in the
    environment and in a drop-in; the media and the database are not looked at."""
    host.put("/opt/synapse/pyvenv.cfg", "home = /usr/bin\n")
    for name in ("homeserver.yaml", "log.config", "conf.d/mail.yaml", "example.org.signing.key"):
        host.put(f"/var/lib/synapse/{name}", "x: 1\n")
    host.put("/var/lib/synapse/homeserver.db", b"SQLite format 3\0")
    host.put("/var/lib/synapse/media_store/local/a.json", "{}")
    host.put("/var/lib/synapse/a/b/c/d/e/deep.yaml", "x: 1\n")
    host.put(
        "/etc/systemd/system/synapse.service",
        "[Service]\nEnvironment=SYNAPSE_CACHE_FACTOR=2.0 'TZ=Europe/Berlin'\n"
        "ExecStart=/opt/synapse/bin/python -m synapse.app.homeserver -c homeserver.yaml\n",
    )
    host.put("/etc/systemd/system/synapse.service.d/10-fd.conf", "[Service]\nLimitNOFILE=9000\n")
    at = installed("/opt/synapse", "/var/lib/synapse", "/var/lib/synapse")
    inventory = look(host, at, Running("synapse.service"))
    assert kinds(inventory, "/var/lib/synapse") == {
        "/var/lib/synapse/homeserver.yaml": "overlay",
        "/var/lib/synapse/log.config": "overlay",
        "/var/lib/synapse/conf.d/mail.yaml": "overlay",
        "/var/lib/synapse/example.org.signing.key": "overlay",
    }
    assert kinds(inventory, "/etc/systemd") == {
        "/etc/systemd/system/synapse.service": "added",
        "/etc/systemd/system/synapse.service.d/10-fd.conf": "added",
    }
    assert [found.name for found in inventory.of(Kind.ENVIRONMENT)] == [
        "SYNAPSE_CACHE_FACTOR",
        "TZ",
    ]
    assert inventory.coverage.left_out["directories too deep in a home or in data"] == 1


def test_the_home_of_the_account(host: Apart) -> None:
    """Overlays in it are found, by the account's name alone; what every home has is not."""
    host.sh("echo 'app:x:5995:5995::/home/app:/bin/sh' >>/etc/passwd")
    for name in (".app/settings.toml", ".bashrc", ".profile", ".bash_history", ".cache/x.json"):
        host.put(f"/home/app/{name}", "x = 1\n")
    inventory = look(host, installed("/opt/app"), Running(account="app"))
    assert kinds(inventory, "/home") == {"/home/app/.app/settings.toml": "overlay"}
    assert one(inventory, "/home/app/.app/settings.toml").component == "home"


def test_the_home_of_root(host: Apart) -> None:
    """Of root's home only what bears the application's name, or what configuration names."""
    host.sh("mkdir /opt/roothome && sed -i 's#:/root:#:/opt/roothome:#' /etc/passwd")
    host.put("/opt/roothome/.grails/app-config.properties", "logo=/opt/roothome/brand/x.png\n")
    host.put("/opt/roothome/.grails/other-config.properties", "x = 1\n")
    host.put("/opt/roothome/brand/x.png", b"\x89PNG\0")
    host.put("/opt/roothome/kubeconfig.yaml", "x = 1\n")
    inventory = look(host, installed("/opt/app"), Running(account="root"))
    assert kinds(inventory, "/opt/roothome") == {
        "/opt/roothome/.grails/app-config.properties": "overlay",
        "/opt/roothome/brand/x.png": "asset",
    }


def test_assets_beside_configuration(host: Apart) -> None:
    """A file that does not look like configuration counts when configuration names it."""
    host.put("/etc/app/app.conf", "logo = logo.gif\n")
    host.put("/etc/app/logo.gif", b"GIF\0")
    host.put("/etc/app/unused.gif", b"GIF\0")
    assert kinds(look(host, installed("/opt/app", "/etc/app")), "/etc/app") == {
        "/etc/app/app.conf": "overlay",
        "/etc/app/logo.gif": "asset",
    }


def test_more_places(host: Apart) -> None:
    """Directories that are given are looked at like that of the configuration."""
    host.put("/srv/more/x.ini", "x = 1\n")
    inventory = look(host, installed("/opt/app"), scope=Scope(places=["/srv/more"]))
    assert kinds(inventory, "/srv") == {"/srv/more/x.ini": "overlay"}


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshHost]:
    """This machine as if it were another."""
    with Sshd(tmp_path_factory.mktemp("sshd")) as sshd:
        host = SshHost("far", config=sshd.config)
        yield host
        host.close()


def test_the_same_over_ssh(tmp_path: Path, far: SshHost) -> None:
    """Another machine is looked at like this one, whatever its names are."""
    place = tmp_path / "conf"
    place.mkdir()
    for name in (b"a b'c.conf", b"two\nlines.conf", b"\xff.conf", b"$(id).conf"):
        Path(os.fsdecode(os.fsencode(place) + b"/" + name)).write_bytes(b"x = 1\n" * 120_000)
    (place / "link.conf").symlink_to("a b'c.conf")
    at = installed(tmp_path / "app", place)
    here, there = look(LocalHost(), at), look(far, at)
    assert len(kinds(here, str(place))) == 5
    assert there.found == here.found
    assert there.coverage == here.coverage


def test_what_a_vendors_unit_and_arguments_name(host: Apart) -> None:
    """A unit that is as it was shipped names a file for the environment, which may lack; the
    process's arguments and environment name files elsewhere, and it has one open in /etc."""
    host.put("/etc/systemd/system/app.service", "[Service]\nEnvironmentFile=-/etc/default/app-x\n")
    host.put("/etc/default/app-x", "A=1\n")
    for path in ("/srv/one.yaml", "/srv/two.conf", "/srv/work/three.ini", "/etc/other/open.conf"):
        host.put(path, "x = 1\n")
    program = (
        "import os, time; os.chdir('/srv/work'); f = open('/etc/other/open.conf'); time.sleep(300)"
    )
    running = host.begin(
        *("env", "-i", "APP_CONFIG=/srv/two.conf", "/usr/bin/python3", "-c", program),
        *("--config=/srv/one.yaml", "-f", "three.ini", "--types", "/etc/nginx/mime.types"),
    )
    try:
        host.sh(
            'until [ "$(readlink "/proc/$1/cwd")" = /srv/work ]; do sleep 0.05; done; sleep 0.2',
            str(running.pid),
        )
        inventory = look(host, installed("/opt/app"), Running("app.service", running.pid))
    finally:
        running.kill()
        running.wait()
    assert {
        name: kind for name, kind in kinds(inventory).items() if kind in ("overlay", "added")
    } == {
        "/etc/systemd/system/app.service": "added",
        "/etc/default/app-x": "added",
        "/etc/other/open.conf": "overlay",
        "/srv/one.yaml": "overlay",
        "/srv/two.conf": "overlay",
        "/srv/work/three.ini": "overlay",
    }
    assert one(inventory, "/etc/other/open.conf").evidence[0].detail == (
        "the running program has it open"
    )
