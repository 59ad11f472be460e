"""What a manifest says of machines that are made."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.manifest.scratch import complaints, write

from crossfade.manifest import load, with_machine
from crossfade.model import Address, Side

MANIFEST = """\
application: synapse
old:
  version: 1.10
  host: {ssh: "root@{machine}", provision: {create: [./make, it], destroy: [./end], timeout: 9}}
  root: /opt/app
  data: /srv/app
  address: "{machine}:8001"
  databases: {main: {url: "postgresql://app@{machine}:5432/app"}}
new:
  version: 2.0
  host:
    ssh: "ssh://root@{machine}:2222"
    provision: {container: {image: "machine:1", key: key.pub}}
  root: /opt/app
  data: /srv/app
  address: "{machine}:8001"
  databases: {main: {url: "postgresql://app@{machine}:5432/app"}}
  rehearsal: {address: "{machine}:8003"}
traffic:
  listen: 127.0.0.1:8000
  ports: [{listen: "0.0.0.0:8448", old: "{machine}:8448", new: "{machine}:9448"}]
"""


def test_two_sides_have_two_machines(tmp_path: Path) -> None:
    """The same placeholder is another machine on each side, and is filled on its own."""
    manifest = load(write(tmp_path, MANIFEST))
    old, new = manifest.old.host.provision, manifest.new.host.provision
    assert old
    assert new
    assert (old.driver, old.create, old.destroy) == ("command", ("./make", "it"), ("./end",))
    assert (new.driver, new.image, new.key) == ("container", "machine:1", tmp_path / "key.pub")
    assert (old.timeout, new.timeout) == (9.0, 600.0)
    assert manifest.old.host.unmade
    filled = with_machine(manifest, Side.NEW, "m-2", "2001:db8::2", tmp_path / "config")
    assert not filled.new.host.unmade
    assert filled.new.host.destination == "ssh://root@[2001:db8::2]:2222"
    assert filled.new.host == filled.rehearsal.host
    assert filled.rehearsal.address == Address("2001:db8::2", 8003)
    assert filled.rehearsal.databases["main"].address == Address("2001:db8::2", 5432)
    assert filled.old == manifest.old
    filled = with_machine(filled, Side.OLD, "m-1", "10.0.0.1", None)
    assert filled.old.host.destination == "root@10.0.0.1"
    assert (filled.old.host.machine, filled.old.host.config) == ("m-1", None)
    assert filled.old.address == Address("10.0.0.1", 8001)
    assert filled.new.address == Address("2001:db8::2", 8001)
    (port,) = filled.traffic.options["ports"]
    assert (str(port.old), str(port.new)) == ("10.0.0.1:8448", "[2001:db8::2]:9448")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "{create: [./make, it], destroy: [./end], timeout: 9}",
            "{create: [./make]}",
            "old.host.provision: must have create and destroy, or container",
        ),
        ('"root@{machine}"', "root@app1", "old.host.ssh: must have {machine} in it"),
        (
            "machine:1",
            "machine",
            "new.host.provision.container.image: must name the image by digest",
        ),
        (
            "{container:",
            "{create: [x], container:",
            "new.host.provision.create: is not for a container",
        ),
        (
            ", provision: {create: [./make, it], destroy: [./end], timeout: 9}",
            "",
            "old.address: has {machine}, which stands for a machine",
        ),
        (
            ", provision: {create: [./make, it], destroy: [./end], timeout: 9}",
            "",
            "old.host: has {machine}, which stands for a machine",
        ),
        ('ssh: "root@{machine}", ', "docker: app, ", "old.host.provision: is not for docker"),
        (
            'rehearsal: {address: "{machine}:8003"}',
            'rehearsal: {address: "{machine}:8001"}',
            "new.rehearsal.address: is the same address as new.address",
        ),
    ],
)
def test_complaint(tmp_path: Path, old: str, new: str, expected: str) -> None:
    """A machine that is made is reached where its provisioner says, and only there."""
    assert old in MANIFEST
    error = complaints(tmp_path, MANIFEST.replace(old, new, 1))
    assert expected in f"{error.what}\n{error.where}"
