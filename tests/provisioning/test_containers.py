"""A container as the machine of the new side."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.testbed import WHOLE
from tests.testbed.client import Client
from tests.testbed.engine import Engine, inspected
from tests.testbed.provisioned import ProvisionedSite, provisioned_site_at

from crossfade.drivers.containers import LABEL
from crossfade.model import Side


@pytest.fixture
def site(engine: Engine, tmp_path: Path) -> Iterator[ProvisionedSite]:
    """A site whose new side's machine is a container that is still to be made."""
    container = {
        "image": engine.machine_image(),
        "socket": str(engine.socket),
        "key": str(engine.key.with_suffix(".pub")),
    }
    with provisioned_site_at(tmp_path / "site", engine, {"container": container}) as made:
        yield made


def made(site: ProvisionedSite) -> str:
    """Make the machine; its name."""
    (machine,) = site.run("provision", "--json").json["machines"]
    assert site.machines_there() == [machine["name"]]
    return str(machine["name"])


def test_an_image_that_is_no_machine(site: ProvisionedSite, engine: Engine) -> None:
    """What does not boot is told as that, and what was made of it can be removed."""
    recipe = f'FROM {engine.machine_image()}\nCMD ["sleep", "600"]\n'
    engine.docker("build", "--quiet", "--tag", "sleeps:1", "-", stdin=recipe.encode())
    container = {**site.provision["container"], "image": "sleeps:1"}
    site.provision = {"container": container, "timeout": 1}
    site.write_manifest()
    for _ in range(2):
        error = site.run("provision", "--json", ok=False).json["error"]
        assert (error["code"], error["exit_code"]) == ("provision-failed", 5)
        assert "does not boot systemd" in error["what"]
    assert len(site.machines_there()) == 1
    site.run("provision", "--remove", "--yes")
    assert site.machines_there() == []
    container["image"] = "sleeps:2"
    site.write_manifest()
    error = site.run("provision", "--json", ok=False).json["error"]
    assert error["code"] == "image-missing"
    assert "no machine" in site.run("provision", "--remove", "--yes").out


def used(site: ProvisionedSite, name: str) -> None:
    """Rehearse, cut over and roll back; then nobody needs the machine."""
    site.prepare(name)
    with Client(site.gate) as client:
        site.run("rehearse")
        site.run("cutover", "--yes")
        assert site.version() == "2.0"
    assert client.failures == []
    assert client.lost(site.gate) == set()
    back = site.run("rollback", "--yes", "--accept-loss", "--json").json
    assert f"machine {name}" in back["stands"]
    assert site.version() == "1.0"
    left = site.run("doctor", ok=False)
    assert (left.code, f"machine {name} " in left.out) == (3, True)


def test_made_and_removed(site: ProvisionedSite, engine: Engine) -> None:
    """It boots, has host keys of its own, is never privileged, bears the upgrade's id, and goes
    again; one that does not bear the id is left alone."""
    assert "make the machine crossfade-notes-1-0-to-2-0-" in site.run("provision", "--dry-run").out
    name = made(site)
    label = inspected(engine, name, f'(index .Config.Labels "{LABEL}")')
    assert label.startswith("notes-1.0-to-2.0.")
    assert engine.docker("inspect", "-f", "{{.HostConfig.Privileged}}", name).strip() == "false"
    host = site.wired().side(site.wired().manifest.new, Side.NEW).host
    key = host.read(Path("/etc/ssh/ssh_host_ed25519_key.pub")).split()[1]
    image = ("run", "--rm", engine.machine_image(), "cat", "/etc/ssh/ssh_host_ed25519_key.pub")
    assert key.decode() not in engine.docker(*image)
    if WHOLE:
        used(site, name)
    site.run("provision", "--remove", "--yes")
    assert site.machines_there() == []

    second = f"{name[:-1]}2"
    engine.docker(
        "create", "--label", "crossfade.testbed=1", "--name", second, "crossfade-base", "x"
    )
    for words in (("rehearse",), ("provision", "--remove", "--yes")):
        refused = site.run(*words, ok=False)
        assert (refused.code, "provision-not-ours" in refused.err) == (5, True), refused.err
    assert site.machines_there() == [second]
