"""Twenty-five settings of an operator in five places: found, judged, in force in the new version.

It takes minutes, so only ``make test-whole`` runs it (``conftest.py``)."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.testbed.engine import Engine
from tests.testbed.machines import Machine, machine
from tests.testbed.real import RealSite, app_image, real_site_at

from crossfade.demo.load import Load
from crossfade.demo.subject import Ground
from crossfade.demo.synapse import Synapse
from crossfade.model import Side

pytestmark = [pytest.mark.synapse, pytest.mark.timeout(1800)]

_LOG = logging.getLogger(__name__)

OLD, NEW = Path("/srv/synapse/old"), Path("/srv/synapse/new")
HOMESERVER, LOGGING = OLD / "homeserver.yaml", OLD / "demo.example.log.config"
BRIDGE = OLD / "bridge.yaml"
VARIABLES = Path("/etc/default/synapse")
DROP_IN = Path("/etc/systemd/system/synapse.service.d/override.conf")
PLACES = (HOMESERVER, LOGGING, BRIDGE, VARIABLES, DROP_IN)
SECRET = "planted-secret-4711"
STRAY = OLD / "old-workers.yaml"

MORE = f"""
retention:
  enabled: true
  default_policy: {{max_lifetime: 1y}}
caches:
  global_factor: 1.5
presence: {{enabled: false}}
default_room_version: "10"
user_directory: {{search_all_users: true}}
password_config:
  pepper: {SECRET}
  policy:
    enabled: true
    minimum_length: 12
app_service_config_files:
  - {BRIDGE}
notify_appservices: false            # the bridge is away
"""
REGISTRATION = f"""\
# The bridge that our operator has written.
id: bridge
url: null
as_token: {SECRET}-as
hs_token: {SECRET}-hs
sender_localpart: bridge
rate_limited: false
namespaces:
  users:
    - {{exclusive: true, regex: "@bridge_.*"}}
"""
IN_FILE = f"""\
# what the operator has set for the whole program
SYNAPSE_CACHE_FACTOR=0.75
BRIDGE_PASSWORD='{SECRET} $x'
"""
IN_UNIT = f"""\
[Service]
EnvironmentFile={VARIABLES}
Environment=MALLOC_ARENA_MAX=2
LimitNOFILE=4321
Nice=3
"""

LISTENER = ("listeners", "[port=8008]", "resources")
Setting = tuple[Path, tuple[str, ...], str]
SETTINGS: tuple[Setting, ...] = (
    (HOMESERVER, ("pid_file",), "removed"),
    (HOMESERVER, ("trusted_key_servers",), "added"),
    (HOMESERVER, ("macaroon_secret_key",), "carried"),
    (HOMESERVER, LISTENER, "carried"),
    (HOMESERVER, ("push", "enabled"), "added"),
    (HOMESERVER, ("max_upload_size",), "added"),
    (HOMESERVER, ("rc_message", "burst_count"), "added"),
    (HOMESERVER, ("rc_login", "account", "per_second"), "added"),
    (HOMESERVER, ("retention", "default_policy", "max_lifetime"), "added"),
    (HOMESERVER, ("caches", "global_factor"), "added"),
    (HOMESERVER, ("default_room_version",), "added"),
    (HOMESERVER, ("user_directory", "search_all_users"), "added"),
    (HOMESERVER, ("password_config", "pepper"), "carried"),
    (HOMESERVER, ("password_config", "policy", "minimum_length"), "added"),
    (LOGGING, ("handlers", "file", "backupCount"), "carried"),
    (LOGGING, ("handlers", "buffer", "capacity"), "carried"),
    (LOGGING, ("loggers", "synapse.storage.SQL", "level"), "carried"),
    (LOGGING, ("formatters", "precise", "format"), "carried"),
    (BRIDGE, ("hs_token",), "carried"),
    (BRIDGE, ("rate_limited",), "carried"),
    (VARIABLES, ("SYNAPSE_CACHE_FACTOR",), "carried"),
    (VARIABLES, ("BRIDGE_PASSWORD",), "carried"),
    (DROP_IN, ("Service", "Environment", "MALLOC_ARENA_MAX"), "carried"),
    (DROP_IN, ("Service", "LimitNOFILE"), "carried"),
    (DROP_IN, ("Service", "Nice"), "carried"),
)


class Customised(Synapse):
    """Synapse as an operator has it after some years."""

    def configure(self, ground: Ground) -> None:
        """Edit the configuration, add a registration, variables and a drop-in."""
        super().configure(ground)
        host = ground.host
        text = host.read(HOMESERVER).decode()
        text = text.replace("compress: false", "compress: true")
        lines = [line for line in text.splitlines() if not line.startswith("pid_file:")]
        host.write(HOMESERVER, ("\n".join(lines) + MORE).encode())
        log = host.read(LOGGING).decode()
        for before, after in (
            ("backupCount: 3 ", "backupCount: 7 "),
            ("capacity: 10\n", "capacity: 20\n"),
            ("level: INFO\n\nroot:", "level: WARNING\n\nroot:"),
            ("'%(asctime)s - %(name)s", "'%(asctime)s %(process)d - %(name)s"),
        ):
            assert before in log
            log = log.replace(before, after)
        host.write(LOGGING, log.encode(), mode=0o644)
        host.write(BRIDGE, REGISTRATION.encode())
        host.write(STRAY, b"worker_app: synapse.app.generic_worker\n")
        host.write(VARIABLES, IN_FILE.encode())
        host.write(DROP_IN, IN_UNIT.encode(), mode=0o644)


@pytest.fixture
def site(engine: Engine, tmp_path: Path) -> Iterator[RealSite]:
    """It runs on one machine; another one is there for the new version."""
    subject = Customised(rate=20)
    image = app_image(engine, subject, Side.OLD)
    place = tmp_path / "m"
    with (
        machine(engine, place, image=image) as one,
        machine(engine, place, image=image) as two,
        real_site_at(tmp_path / "site", subject, engine, one, two) as made,
    ):
        yield made


def test_all_of_them_arrive(site: RealSite) -> None:
    """``config scan`` finds the five places with no list given, ``config plan`` has the right
    verdict on each of the settings, and the new version runs with them."""
    assert len(SETTINGS) == 25
    found = site.run("config", "scan", "--json")
    assert {str(place) for place in PLACES} <= {one["name"] for one in found.json["found"]}
    assert SECRET not in found.out
    site.run("rehearse", timeout=900)
    planned = site.run("config", "plan", "--json")
    _LOG.info("%s", planned.out)
    judged(planned.json)
    assert SECRET not in planned.out + planned.err
    with Load(site.gate, site.subject.client(), site.subject.rate) as load:
        site.run("cutover", "--yes", timeout=900)
    assert load.failures == [], "\n".join(load.failures)
    assert load.found() == load.client.acknowledged > 10
    new = site.where[Side.NEW]
    assert isinstance(new, Machine)
    in_files(new)
    in_process(new)
    in_unit(site, planned.json)
    assert SECRET not in site.run("report", "--json").out


def judged(verdicts: list[Mapping[str, Any]]) -> None:
    """Each setting has its verdict, and where it stands; what nobody named is said as well."""
    by_name = {(one["file"], tuple(one["setting"])): one for one in verdicts}
    wanted = {(str(file), names): verdict for file, names, verdict in SETTINGS}
    got = {key: by_name[key]["verdict"] if key in by_name else "no verdict" for key in wanted}
    assert got == wanted
    assert all(by_name[key]["why"] for key in wanted)
    lines = {key: by_name[key]["line"] for key, verdict in wanted.items() if verdict != "removed"}
    assert [key for key, line in lines.items() if not line] == []
    assert by_name[str(STRAY), ()]["verdict"] == "out-of-scope"
    start = by_name["/etc/systemd/system/synapse.service", ("Service", "ExecStart")]
    assert start["verdict"] == "kept-new"


def in_files(new: Machine) -> None:
    """The new side's own files, as another parser reads them."""
    settings = yaml.safe_load(new.run("cat", str(NEW / "homeserver.yaml")))
    assert "pid_file" not in settings
    assert settings["trusted_key_servers"] == settings["federation_domain_whitelist"] == []
    assert settings["push"]["enabled"] is False
    assert settings["listeners"][0]["resources"][0]["compress"] is True
    assert settings["max_upload_size"] == "20M"
    assert settings["rc_message"]["burst_count"] == 10000
    assert settings["rc_login"]["account"]["per_second"] == 1000
    assert settings["retention"]["default_policy"]["max_lifetime"] == "1y"
    assert settings["caches"]["global_factor"] == 1.5
    assert settings["default_room_version"] == "10"
    assert settings["user_directory"]["search_all_users"] is True
    assert settings["password_config"]["pepper"] == SECRET
    assert settings["password_config"]["policy"]["minimum_length"] == 12
    assert settings["app_service_config_files"] == [str(NEW / "bridge.yaml")]
    log = yaml.safe_load(new.run("cat", settings["log_config"]))
    assert log["handlers"]["file"]["backupCount"] == 7
    assert log["handlers"]["buffer"]["capacity"] == 20
    assert log["loggers"]["synapse.storage.SQL"]["level"] == "WARNING"
    assert "%(process)d" in log["formatters"]["precise"]["format"]
    bridge = yaml.safe_load(new.run("cat", str(NEW / "bridge.yaml")))
    assert (bridge["hs_token"], bridge["rate_limited"]) == (f"{SECRET}-hs", False)


def in_process(new: Machine) -> None:
    """What the new process has, as the kernel says, and what systemd says of its unit."""
    unit = "synapse.service"
    pid = new.run("systemctl", "show", "--property=MainPID", "--value", unit).strip()
    pairs = new.run("cat", f"/proc/{pid}/environ").split("\0")
    environment = dict(pair.partition("=")[::2] for pair in pairs if pair)
    assert environment["SYNAPSE_CACHE_FACTOR"] == "0.75"
    assert environment["BRIDGE_PASSWORD"] == f"{SECRET} $x"
    assert environment["MALLOC_ARENA_MAX"] == "2"
    (limit,) = (
        line for line in new.run("cat", f"/proc/{pid}/limits").splitlines() if "open files" in line
    )
    assert limit.split()[3:5] == ["4321", "4321"]
    assert new.run("ps", "-o", "ni=", "-p", pid).strip() == "3"
    drop_ins = new.run("systemctl", "show", "--property=DropInPaths", "--value", unit)
    assert drop_ins.split()[-1].endswith("/zz-crossfade.conf")
    modes = new.run("sh", "-c", f"stat -c '%a %n' /etc/systemd/system/{unit}.d/*.env")
    assert {line.split()[0] for line in modes.splitlines()} == {"600"}
    assert SECRET not in new.run("systemctl", "cat", unit)
    assert SECRET not in new.run("journalctl", "--no-pager", "--output", "cat")


def in_unit(site: RealSite, verdicts: list[Mapping[str, Any]]) -> None:
    """What was said of the unit's settings is what systemd says of both sides' units."""
    old, new = (site.where[side] for side in Side)
    assert isinstance(old, Machine)
    assert isinstance(new, Machine)
    said = {one["setting"][1]: one for one in verdicts if one["setting"][:1] == ["Service"]}
    assert said["WorkingDirectory"]["verdict"] == "rewritten"
    for name in ("LimitNOFILE", "Nice", "Restart", "User", "WorkingDirectory"):
        show = ("systemctl", "show", f"--property={name}", "--value", "synapse.service")
        before, after = old.run(*show).strip(), new.run(*show).strip()
        one = said[name]
        wanted = one["yours"] if one["verdict"] == "carried" else one["new_default"]
        assert (before, after) == (one["yours"], wanted), name
