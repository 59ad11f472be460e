"""The manifest: what is read, and every kind of complaint with its place."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.manifest.scratch import MANIFEST, changed, complaints, write

from crossfade.errors import UsageError
from crossfade.manifest import load
from crossfade.model import Address, Side


def test_reads_everything(tmp_path: Path) -> None:
    """Every value arrives, paths absolute and versions as written."""
    manifest = load(write(tmp_path, MANIFEST))
    assert manifest.path == tmp_path / "crossfade.yaml"
    assert manifest.application == "synapse"
    assert manifest.state == tmp_path / "state"
    assert (manifest.old.version, manifest.new.version) == ("1.10", "2.0")
    assert manifest.old.root == tmp_path / "app-old"
    assert manifest.old.config == tmp_path / "etc"
    assert manifest.old.address == Address("127.0.0.1", 8001)
    assert manifest.old.service.log == tmp_path / "state/log/old.log"
    assert manifest.old.service.pid_file == tmp_path / "data/app.pid"
    assert manifest.old.service.environment == {"LANG": "C", "SMTP_PASSWORD": "file:smtp"}
    assert manifest.traffic.driver == "gateway"
    assert manifest.traffic.listen == Address("127.0.0.1", 8000)
    assert (manifest.limits.max_pause, manifest.limits.watch) == (12.5, 10.0)
    page, script = manifest.checks
    assert (page.path, page.json, page.equals, page.status) == ("/x", "a.b.0.c", 1, 200)
    assert (script.command, script.status, script.base) == (
        ("./check.sh", "{address}"),
        0,
        tmp_path,
    )
    assert manifest.recipe.application == "synapse"


def test_rehearsal_has_places_of_its_own(tmp_path: Path) -> None:
    """The rehearsal runs the new program on data and configuration next to the new side's."""
    manifest = load(write(tmp_path, MANIFEST))
    rehearsal = manifest.rehearsal
    assert rehearsal.root == manifest.new.root
    assert rehearsal.version == "2.0"
    assert rehearsal.data == tmp_path / "data-new-rehearsal"
    assert rehearsal.config == tmp_path / "etc-new-rehearsal"
    assert rehearsal.service.log == tmp_path / "state/log/rehearsal.log"
    installation = rehearsal.installation("synapse", Side.NEW)
    assert installation.address.port == 8003
    assert installation.variables()["data"] == str(tmp_path / "data-new-rehearsal")


CONTAINER = """\
  host:
    docker: app-2
    image: app:2.0
    mounts: {/data: app-2-data, /etc/app: /srv/app-2}
  service: {driver: docker}
"""


def contained(more: str = CONTAINER) -> str:
    """A manifest whose new side is a container."""
    text = changed("  root: app-new", f"{more}  root: /app-new")
    text = text.replace("  data: data-new", "  data: /data")
    return text.replace("  config: etc-new", "  config: /etc/app")


def test_container(tmp_path: Path) -> None:
    """A container's rehearsal is another one with other places at the same paths."""
    manifest = load(write(tmp_path, contained()))
    new, rehearsal = manifest.new, manifest.rehearsal
    assert (new.host.driver, new.host.name, new.service.driver) == ("docker", "app-2", "docker")
    assert new.host.mounts == (("/data", "app-2-data"), ("/etc/app", "/srv/app-2"))
    assert (rehearsal.host.name, rehearsal.data) == ("app-2-rehearsal", Path("/data"))
    assert rehearsal.host.mounts == (
        ("/data", "app-2-data-rehearsal"),
        ("/etc/app", "/srv/app-2-rehearsal"),
    )
    there = rehearsal.installation("synapse", Side.NEW)
    assert there.variables()["address"] == "0.0.0.0:8003"
    assert there.variables(outside=True)["address"] == "127.0.0.1:8003"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("    image: app:2.0\n", "", "new.host: must name the new image by digest, id or a tag"),
        ("app:2.0", "app", "new.host.image: must name the new image by digest, id or a tag"),
        ("app:2.0", "app:latest", "new.host.image: must name the new image by digest, id or"),
        ("docker: app-2", "docker: -it", "new.host.docker: must be the name of a container"),
        ("docker: app-2", "docker: local", "new.host.docker: is what this machine is called"),
        ("docker: app-2", "docker: app-2\n    ssh: far", "new.host: must have either ssh or docke"),
        ("docker: app-2", "sudo: true", "new.host: must have either ssh or docker"),
        ("docker: app-2", "docker: app-2\n    sudo: true", "new.host.sudo: is not for docker"),
        ("docker: app-2", "ssh: far", "new.host.image: is not for ssh"),
        (
            "docker: app-2",
            "ssh: far",
            "new.service.driver: must be docker in a container, and only",
        ),
        ("driver: docker", "driver: systemd", "new.service.driver: must be docker in a container"),
        ("/data: app", "data: app", "mounts.data: must be a volume's name or a directory, by an"),
    ],
)
def test_container_complaint(tmp_path: Path, old: str, new: str, expected: str) -> None:
    """What does not hold of a container is named."""
    assert old in CONTAINER
    error = complaints(tmp_path, contained(CONTAINER.replace(old, new)))
    assert expected in error.where


@pytest.mark.parametrize("end", ["\\nb", " ", "\\\\"])
def test_place_that_no_unit_takes(tmp_path: Path, end: str) -> None:
    """A path that cannot stand in a unit is named, where a unit has it."""
    text = changed("  data: data-new", f'  host: {{ssh: far}}\n  data: "/data{end}"')
    text = text.replace("  root: app-new", "  root: /app-new")
    text = text.replace("  config: etc-new", "  config: /etc-new")
    error = complaints(tmp_path, text)
    assert "new.data: has a line break, a space at its end or a backslash there" in error.where
    assert "old.data" not in error.where


def test_configuration_is_data_when_not_given(tmp_path: Path) -> None:
    """Without config, a side's configuration is in its data directory, in the rehearsal too."""
    text = changed("  config: etc\n", "").replace("  config: etc-new\n", "")
    manifest = load(write(tmp_path, text))
    assert manifest.old.config == manifest.old.data
    assert manifest.rehearsal.config == manifest.rehearsal.data == tmp_path / "data-new-rehearsal"


def test_all_complaints_at_once(tmp_path: Path) -> None:
    """Several mistakes give several lines, each with its place, in the order of the file."""
    text = changed("  address: 127.0.0.1:8001", "  adress: 127.0.0.1:8001")
    text = text.replace("max_pause: 12.5", "max_pause: '12.5'").replace("path: /x", "path: x")
    error = complaints(tmp_path, text)
    assert error.code == "manifest-invalid"
    assert error.what == "crossfade.yaml does not hold: old.adress is not a known key"
    assert error.next == "edit crossfade.yaml, then: crossfade plan"
    assert error.where.splitlines() == [
        "crossfade.yaml:9 old.adress (did you mean address?)",
        "crossfade.yaml:24 limits.max_pause: must be a number",
        "crossfade.yaml:26 checks.0.path: must be a path that starts with /",
    ]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("application: synapse", "application: 5", ":1 application: must be text; write it in quo"),
        ("  root: app-old\n", "", ":3 old.root: is missing"),
        ("traffic:\n  listen: 127.0.0.1:8000\n", "", ":1 traffic: is missing"),
        ("  root: app-old", "  root: ~/app", ":6 old.root: must be a path; write ~ out"),
        ("  root: app-old", "  root: [a]", ":6 old.root: must be text"),
        ("  root: app-old", "  root: app-old\n  root: b", ":7 old.root: is there twice (first in"),
        (
            "  host: local",
            "  host: far",
            ":5 old.host: must be local, ssh://user@host:port, or a mapping with ssh",
        ),
        ("  version: 1.10", "  version: -1", ":4 old.version: must be a version"),
        ("  version: 1.10", "  version: 1 --index", ":4 old.version: must be a version"),
        ("  version: 1.10", "  version: [1]", ":4 old.version: must be text or a number"),
        ("127.0.0.1:8001", "127.0.0.1", ":9 old.address: must be host:port with a port"),
        ("127.0.0.1:8001", "127.0.0.1:70000", ":9 old.address: must be host:port with a port"),
        ("127.0.0.1:8001", "8001", ":9 old.address: must be text; write it in quotes"),
        ("127.0.0.1:8002", "localhost:8001", ":18 new.address: is the same address as old.addre"),
        ("127.0.0.1:8000", "0.0.0.0:8003", ":22 traffic.listen: is the same address as new.rehe"),
        ("max_pause: 12.5", "max_pause: 0", ":24 limits.max_pause: must be over 0"),
        ("max_pause: 12.5", "max_pause: .inf", ":24 limits.max_pause: is not a finite number"),
        ("max_pause: 12.5", "watch: -1", ":24 limits.watch: must be at least 0"),
        ("max_pause: 12.5", "max_pause: yes", ":24 limits.max_pause: must be a number"),
        ("state: state", "state: data/state", ":2 state: is inside old.data"),
        ("state: state", "state: app-new", ":2 state: is the same directory as new.root"),
        ("  data: data-new", "  data: data", ":16 new.data: is the same directory as old.data"),
        ("  data: data-new", "  data: data/new", ":16 new.data: is inside old.data"),
        ("  data: data-new", "  data: .", ":16 new.data: is around old.root"),
        ("  data: data-new", "  data: app-new/data", ":16 new.data: is inside new.root"),
        ("  config: etc-new", "  config: etc/new", ":17 new.config: is inside old.config"),
        ("8003", "8003\n    data: data-new", ":21 new.rehearsal.data: is the same directory as"),
        ("8003", "8003\n    data: app-new/r", ":21 new.rehearsal.data: is inside new.root"),
        ("LANG: C", "LANG: 1", ":11 old.service.environment.LANG: must be text; write it in quot"),
        ("file:smtp", "hunter2", "SMTP_PASSWORD: secrets by reference (file:, env:), never by v"),
        ("LANG: C", "DB: 'pg://a:hunter2@h/d'", ".DB: secrets by reference (file:, env:), never"),
        ("env:TOKEN", "Bearer hunter2", "Authorization: secrets by reference (file:, env:), nev"),
        ("{address}", "{adress}", ":27 checks.1.command.1: has the unknown placeholder {adress} ("),
        ("command: [./check.sh", "path: /y, command: [x", ":27 checks.1: must have one of path a"),
        ("name: a script", "name: a page", ":27 checks.1.name: is the name of checks.0 too"),
        ("name: a script, ", "", ":27 checks.1.name: is missing"),
        ("state: state", "state: !mine x", ":2 state: a tag that has no meaning here"),
        ("state: state", "<<: {state: x}", ":2: has a key that is no word"),
    ],
)
def test_complaint(tmp_path: Path, old: str, new: str, expected: str) -> None:
    """One mistake: its file, line and key path are named, and a secret's value never is."""
    error = complaints(tmp_path, changed(old, new))
    assert error.code == "manifest-invalid"
    assert f"crossfade.yaml{expected}" in error.where or expected in error.where
    assert "hunter2" not in f"{error.what} {error.where}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "crossfade.yaml:1: the file is empty"),
        ("# only a comment\n", "crossfade.yaml:1: the file is empty"),
        ("- a\n- b\n", "crossfade.yaml:1: must be a mapping (key: value)"),
        ("application: x\n\told: y\n", "crossfade.yaml:2: found a tab character"),
        ("application: 'x\n", "crossfade.yaml:2: found unexpected end of stream"),
        ("a: &x 1\nb: *x\n", "crossfade.yaml:1: aliases (*name) are not supported here"),
        ("a: *hunter2\n", "crossfade.yaml:1: found undefined alias"),
        ("a: 1\n---\nb: 2\n", "crossfade.yaml:2: but found another document"),
        ("a: \x01\n", "crossfade.yaml:1: a character that YAML does not allow"),
        ("[" * 3000 + "]" * 3000, "crossfade.yaml:1: nested too deeply"),
    ],
)
def test_broken_text(tmp_path: Path, text: str, expected: str) -> None:
    """Text that is no YAML, or not ours, is refused with its line and without quoting it."""
    error = complaints(tmp_path, text)
    assert error.code == "manifest-invalid"
    assert error.where.startswith(expected)
    assert "hunter2" not in f"{error.what} {error.where}"


def test_missing_manifest(tmp_path: Path) -> None:
    """Without a manifest, the next command is init."""
    with pytest.raises(UsageError) as caught:
        load(tmp_path / "crossfade.yaml")
    assert (caught.value.code, caught.value.next) == ("manifest-missing", "crossfade init")


def test_unreadable_manifest(tmp_path: Path) -> None:
    """A directory, or bytes that are no UTF-8, in the manifest's place are explained."""
    (tmp_path / "crossfade.yaml").mkdir()
    with pytest.raises(UsageError) as caught:
        load(tmp_path / "crossfade.yaml")
    assert caught.value.code == "manifest-unreadable"
    (tmp_path / "latin").write_bytes(b"application: caf\xe9\n")
    with pytest.raises(UsageError) as caught:
        load(tmp_path / "latin")
    assert "UTF-8" in caught.value.what


def test_overlap_through_a_link(tmp_path: Path) -> None:
    """Two names of one directory are one directory."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data-new").symlink_to("data")
    error = complaints(tmp_path, MANIFEST)
    assert "new.data: is the same directory as old.data" in error.where


def test_old_side_may_be_nested_in_itself(tmp_path: Path) -> None:
    """The old side stays as it is, so its program may stand among its data."""
    text = changed("  root: app-old", "  root: data/venv").replace(
        "config: etc\n", "config: data\n"
    )
    assert load(write(tmp_path, text)).old.root == tmp_path / "data/venv"


def test_unknown_application(tmp_path: Path) -> None:
    """A misspelt recipe is named with the nearest right one."""
    error = complaints(tmp_path, changed("application: synapse", "application: synaps"))
    assert error.code == "recipe-missing"
    assert "did you mean synapse?" in error.what


def test_loading_does_not_import_jsonschema(tmp_path: Path) -> None:
    """The slow validator stays out of every command."""
    path = write(tmp_path, MANIFEST)
    program = (
        "import sys, pathlib; from crossfade.manifest import load; "
        "load(pathlib.Path(sys.argv[1])); sys.exit('jsonschema' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program, str(path)], check=False).returncode == 0


HAPROXY = "traffic:\n  driver: haproxy\n  listen: 127.0.0.1:8000\n"


def ports(listen: str, old: str, new: str, *more: str) -> str:
    """The lines of a gate with such a port."""
    first = f"{{listen: '{listen}', old: '{old}', new: '{new}'}}"
    return f"traffic:\n  listen: 127.0.0.1:8000\n  ports: [{', '.join((first, *more))}]\n"


def test_ports(tmp_path: Path) -> None:
    """Other ports reach the driver as they are written."""
    lines = ports("0.0.0.0:8448", "127.0.0.1:8449", "[::1]:9449")
    path = write(tmp_path, changed("traffic:\n  listen: 127.0.0.1:8000\n", lines))
    (port,) = load(path).traffic.options["ports"]
    assert port.as_json() == {
        "listen": "0.0.0.0:8448",
        "old": "127.0.0.1:8449",
        "new": "[::1]:9449",
    }


def test_haproxy(tmp_path: Path) -> None:
    """Paths count from the manifest's directory; what is not given is left to the driver."""
    text = changed(
        "traffic:\n  listen: 127.0.0.1:8000\n",
        f"{HAPROXY}  backend: app\n  config: h.cfg\n  reload: [a, b c]\n  hold: lua\n",
    )
    traffic = load(write(tmp_path, text)).traffic
    assert traffic.driver == "haproxy"
    assert traffic.options == {
        "backend": "app",
        "config": tmp_path / "h.cfg",
        "reload": ("a", "b c"),
    }


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (HAPROXY, "traffic: must name the backend of HAProxy that leads to the old side"),
        (f"{HAPROXY}  backend: a b\n", "traffic.backend: must be the name of a backend"),
        (f"{HAPROXY}  backend: a\n  socket: ~/s\n", "traffic.socket: must be a path; write ~ out"),
        (f"{HAPROXY}  backend: a\n  reload: systemctl\n", "traffic.reload: must be a list"),
        (f"{HAPROXY}  backend: a\n  hold: maxconn-frontend\n", "haproxy/haproxy#2726"),
        (f"{HAPROXY}  backend: a\n  hold: maint\n", "traffic.hold: must be lua: it answers 503"),
        (f"{HAPROXY}  backend: a\n  hold: prayer\n", "traffic.hold: must be lua: there is no such"),
        (
            "traffic:\n  listen: 127.0.0.1:8000\n  backend: a\n",
            "traffic.backend: is for the driver haproxy",
        ),
        (
            f"{HAPROXY}  backend: a\n  reads_in_pause: true\n",
            "traffic.reads_in_pause: is for the built-in gate: HAProxy counts",
        ),
        (
            f"{HAPROXY}  backend: a\n  metrics: 127.0.0.1:9100\n",
            "traffic.metrics: is for the built-in gate",
        ),
        (
            f"{HAPROXY}  backend: a\n  ports: [{{listen: 'a:1', old: 'b:1', new: 'c:1'}}]\n",
            "traffic.ports: is for the built-in gate; give HAProxy a frontend",
        ),
        (ports("0.0.0.0:8448", "127.0.0.1:0", "c:1"), "traffic.ports.0.old: must be host:port"),
        (
            ports("0.0.0.0:8000", "b:1", "c:1"),
            "ports.0.listen: is the same address as traffic.list",
        ),
        (ports("0.0.0.0:8448", "b:1", "b:1"), "traffic.ports.0.new: is the same address as old"),
        (ports("a:8448", "a:8448", "b:1"), "traffic.ports.0.old: is where the gate listens"),
        (ports("a:8448", "b:1", "{machine}:1"), "traffic.ports.0.new: has {machine}, which stands"),
        (
            ports("a:84", "b:1", "c:1", "{listen: '[::]:84', old: 'b:2', new: 'c:2'}"),
            "traffic.ports.1.listen: is the same address as traffic.ports.0.listen",
        ),
        ("traffic:\n  listen: 127.0.0.1:8000\n  ports: []\n", "traffic.ports: must not be empty"),
        (
            "traffic:\n  listen: 127.0.0.1:8000\n  metrics: 127.0.0.1\n",
            "traffic.metrics: must be host:port",
        ),
        (
            "traffic:\n  listen: 127.0.0.1:8000\n  reads_in_pause: true\n",
            "traffic.reads_in_pause: cannot be: Matrix Synapse writes on reads (when and",
        ),
    ],
)
def test_haproxy_complaint(tmp_path: Path, lines: str, expected: str) -> None:
    """What does not hold is named with its key; ways that lose or crash with their reason."""
    error = complaints(tmp_path, changed("traffic:\n  listen: 127.0.0.1:8000\n", lines))
    assert expected in f"{error.what}\n{error.where}"
