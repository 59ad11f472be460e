"""A machine that the site's own command makes: from nothing to a new side, and away again."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.testbed.client import Client
from tests.testbed.engine import Engine
from tests.testbed.machines import Machine
from tests.testbed.provisioned import ProvisionedSite, provisioned_site_at
from tests.testbed.site import Result

from crossfade.errors import Failed
from crossfade.model import Side


@pytest.fixture
def site(engine: Engine, tmp_path: Path) -> Iterator[ProvisionedSite]:
    """A site whose new side's machine is still to be made."""
    with provisioned_site_at(tmp_path / "site", engine) as made:
        yield made


def test_made_used_and_removed(site: ProvisionedSite) -> None:
    """Planned without a machine; killed when it was made and not recorded, and found again by its
    name; rehearsed, cut over, and after the next upgrade removed by retire, killed in it, too."""
    log = site.directory / "provision.log"
    planned = site.run("plan").out
    (name,) = set(re.findall(r"make the machine (crossfade-notes-1-0-to-2-0-[0-9a-f]+-1)", planned))
    assert "is planned when the machine is there" in planned
    assert name in site.run("rehearse", "--dry-run").out
    with pytest.raises(Failed) as caught:
        site.wired().side(site.wired().manifest.new, Side.NEW).host.exists(Path("/"))
    assert caught.value.code == "machine-not-made"
    assert site.run("cutover", "--yes", ok=False).code == 4
    assert not log.exists(), "nothing of that makes a machine"

    crash = {"CROSSFADE_CRASH_AT": "provision.machine.after-act"}
    assert site.run("rehearse", env=crash, ok=False).code == -9
    assert f"machine of the new side: {name}  (wanted)" in site.run("status").out
    assert f"machine {name}: wanted" in site.run("doctor", ok=False).out
    with Client(site.gate) as client:
        said = site.run("rehearse")
        assert log.read_text() == f"create {name}\ncreate {name}\n"
        assert site.machines_there() == [name]
        site.run("cutover", "--yes")
        assert site.version() == "2.0"
        refused = site.run("provision", "--remove", "--yes", ok=False)
        assert (refused.code, "new-side-serves" in refused.err) == (4, True)
    assert client.failures == []
    assert client.lost(site.gate) == set()
    assert "planted-secret" not in said.out + said.err
    kept = ("grep", "-rl", "planted-secret-0815", str(site.directory / "state"))
    assert subprocess.run(kept, capture_output=True, check=False).stdout == b""
    site.run("gate", "stop", "--yes")
    refused = site.run("provision", "--remove", "--yes", ok=False)
    assert (refused.code, "new-side-serves" in refused.err) == (4, True), "nor without a gate"
    site.run("gate", "start", "--yes")

    site.next_upgrade()
    assert f"machine of the old side: {name} " in site.run("status").out
    with Client(site.gate) as client:
        site.run("rehearse")
        site.run("cutover", "--yes")
        assert site.version() == "3.0"
    assert client.failures == []
    assert client.lost(site.gate) == set()
    assert site.run("doctor").code == 0
    assert (
        f"remove the machine {name}: ./provision.sh destroy" in site.run("retire", "--dry-run").out
    )
    (site.directory / "lie").touch()
    site.manifest.write_text(site.manifest.read_text().replace('"timeout": 60', '"timeout": 2'))
    there = site.run("retire", "--yes", "--json", ok=False)
    error = there.json["error"]
    assert (there.code, error["code"], error["next"]) == (
        5,
        "machine-still-there",
        "crossfade retire",
    )
    assert "The new side (3.0) serves" in error["now"]
    now = site.run("status", "--json").json
    assert (now["next"], now["going_back"][:10]) == ("crossfade retire", "impossible")
    (site.directory / "lie").unlink()
    crash = {"CROSSFADE_CRASH_AT": "provision.removal.after-act"}
    assert site.run("retire", "--yes", env=crash, ok=False).code == -9
    assert site.machines_there() == []
    retired = site.run("retire", "--yes", "--json").json
    assert retired["outcome"] == "retired"
    assert [line for line in retired["stands"] if "/retire-1/archive" in line]
    assert f"machine of the old side: {name} " in site.run("status").out
    assert list((site.directory / "state").rglob("new.tar.gz")), "what was on it is archived"
    assert list((site.directory / "state/machines").iterdir()) == []
    assert site.version() == "3.0"


def test_a_machine_that_does_not_go(
    site: ProvisionedSite, machines: tuple[Machine, Machine]
) -> None:
    """Killed anywhere, there is one machine.  One that still answers is not forgotten; its name is
    never used again."""
    machine = machines[0]
    machine.run("sh", "-c", "id notes || useradd --system --user-group notes")
    key = machine.run("cat", "/etc/ssh/ssh_host_ed25519_key.pub").strip()
    said = f'{{"upgrade": "%s", "address": "{machine.address}", "host_key": "{key}"}}'
    create = f"""echo "$CROSSFADE_MACHINE" >>log; printf '{said}' "$CROSSFADE_UPGRADE" """
    site.provision = {
        "create": ["sh", "-c", create],
        "destroy": ["sh", "-c", 'cat >"$CROSSFADE_MACHINE.removed"'],
        "timeout": 2,
    }
    site.write_manifest()
    for when in ("before-act", "after-act", "after-record"):
        crash = {"CROSSFADE_CRASH_AT": f"provision.machine.{when}"}
        assert site.run("provision", env=crash, ok=False).code == -9, when
    made = site.run("provision", "--json").json["machines"]
    assert [(m["side"], m["address"], m["state"]) for m in made] == [
        ("new", machine.address, "made")
    ]
    assert site.wired().side(site.wired().manifest.new, Side.NEW).host.exists(Path("/etc"))
    name = made[0]["name"]
    assert (site.directory / "log").read_text() == f"{name}\n{name}\n"
    assert site.run("provision", "--json").json["machines"] == made, "made once"
    crash = {"CROSSFADE_CRASH_AT": "rehearsal.install.before-act"}
    assert site.run("rehearse", env=crash, ok=False).code == -9
    refused = site.run("provision", "--remove", "--yes", ok=False)
    assert (refused.code, "run-unfinished" in refused.err) == (4, True)
    site.run("doctor", "--fix")
    asked = site.run("provision", "--remove", ok=False)
    assert (asked.code, "crossfade provision --remove --yes" in asked.err) == (3, True)
    there = site.run("provision", "--remove", "--yes", ok=False)
    assert (there.code, "machine-still-there" in there.err) == (5, True)
    assert "The old side (1.0) serves" in there.err
    told = json.loads((site.directory / f"{name}.removed").read_text())
    assert (told["name"], told["host_key"]) == (name, [" ".join(key.split()[:2])])
    left = site.run("doctor", ok=False)
    assert (left.code, f"machine {name} {machine.address}: going" in left.out) == (3, True)
    with machine.cut():
        site.run("provision", "--remove", "--yes")
    assert site.run("status", "--json").json["machines"] == []
    assert f"{name[:-1]}2" in site.run("provision", "--dry-run").out, "no name is used twice"


BAD = {
    "provision-failed": "echo the token is $API_TOKEN >&2; exit 3",
    "provision-timed-out": "sleep 60",
    "provision-output-invalid": "echo made it",
    "provision-not-ours": """echo '{"address": "127.0.0.1", "upgrade": "another"}'""",
}
ADDRESSES = [
    ('"address": "-oProxyCommand=x"', "its address is no host name"),
    ('"id": 7', "it has no address"),
    (
        '"address": "127.0.0.1", "host_key": "ssh-ed25519 AAAA\\\\n* ssh-rsa AAAA \\u0000x"',
        "host_key",
    ),
    ('"address": "127.0.0.1", "host_key": 7', "host_key"),
]


def test_trouble(site: ProvisionedSite, machines: tuple[Machine, Machine]) -> None:
    """Whatever a provisioner does wrong is said, without its secrets, and with who serves."""
    site.provision = {"create": ["sh", "-c", "exit 1"], "destroy": ["true"], "timeout": 1}
    secret = {"API_TOKEN": "planted-secret-4242"}
    for code, script in BAD.items():
        ended = _made_by(site, script, secret)
        assert ended.json["error"]["code"] == code
        assert ended.json["error"]["exit_code"] == ended.code == 5
        assert "The old side (1.0) serves" in ended.json["error"]["now"]
        assert ended.json["error"]["next"] == "crossfade provision"
        assert "planted-secret" not in ended.out + ended.err
    for said, why in ADDRESSES:
        script = f"""printf '{{"upgrade": "%s", {said}}}' "$CROSSFADE_UPGRADE" """
        error = _made_by(site, script, {}).json["error"]
        assert (error["code"], why in error["what"]) == ("provision-output-invalid", True), error
    said = f'{{"upgrade": "%s", "address": "{machines[0].address}"}}'
    error = _made_by(site, f"""printf '{said}' "$CROSSFADE_UPGRADE" """, {}).json["error"]
    assert (error["code"], error["next"].split()[0]) == ("host-key-unknown", "ssh"), error
    assert site.version() == "1.0"


def _made_by(site: ProvisionedSite, script: str, env: dict[str, str]) -> Result:
    site.provision = {**site.provision, "create": ["sh", "-c", script]}
    site.write_manifest()
    return site.run("provision", "--json", env=env, ok=False)


def test_no_machine_to_make(site: ProvisionedSite) -> None:
    """A manifest that makes no machine, and one whose old side's machine nobody has made."""
    site.next_upgrade()
    ended = site.run("status", ok=False)
    assert (ended.code, "machine-not-recorded" in ended.err) == (2, True)
    text = site.manifest.read_text()
    site.manifest.write_text(
        re.sub(r'"host": \{.*?\}\}, ', "", text).replace("{machine}", "127.0.0.1")
    )
    ended = site.run("provision", ok=False)
    assert (ended.code, "nothing-to-provision" in ended.err) == (2, True)
