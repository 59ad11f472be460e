"""What is wrong with a web server before the gate: four sentences, and everything as before."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from tests.fronts.test_story import behind
from tests.testbed.fronts import WebServer, web_server
from tests.testbed.site import Result, Site, site_at


@dataclass
class Stand:
    """A site behind nginx."""

    site: Site
    server: WebServer

    def refused(self, code: str, verb: tuple[str, ...] = ("gate", "install")) -> Result:
        """A command that is refused with four sentences, and leaves everything as it was."""
        before = self.server.bytes()
        result = self.site.run(*verb, "--yes", ok=False)
        assert result.code == 4, (result.out, result.err)
        lines = result.err.splitlines()
        assert f"error: {code}" in lines, result.err
        told = "\n".join(lines[lines.index(f"error: {code}") :])
        assert "  × " in told
        assert "  now:  " in told
        assert "The old side (1.0) serves" in told
        assert "  next: " in told
        assert self.server.bytes() == before
        assert self.site.version(self.server.address) == "1.0"
        return result


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """One site behind nginx for all tests here."""
    place = tmp_path_factory.mktemp("trouble")
    with site_at(place / "site") as site, web_server("nginx", place / "nginx", site.old) as server:
        yield Stand(site, server)


@pytest.fixture
def stand(running: Stand) -> Iterator[Stand]:
    """The same, with its configuration and its manifest as in the beginning."""
    site, server = running.site, running.server
    kept = server.site.read_bytes()
    site.write_manifest()
    behind(site, server)
    site.run("gate", "start", "--yes")
    yield running
    site.run("gate", "remove", "--yes", ok=False)
    server.site.write_bytes(kept)
    subprocess.run(("nginx", "-c", server.file, "-s", "reload"), check=True)


def added(server: WebServer, text: str) -> None:
    """Something more in the site's file."""
    with server.site.open("a") as file:
        file.write(text)


def test_does_not_parse(stand: Stand) -> None:
    """What nginx itself says of its configuration is told."""
    added(stand.server, "server { listne 1; }\n")
    result = stand.refused("front-config-invalid")
    assert 'unknown directive "listne"' in result.err
    assert f"{stand.server.site.name}" in result.err
    plan = stand.site.run("plan", ok=False)
    assert "front-config-invalid" in plan.out + plan.err


def test_names_nobody(stand: Stand) -> None:
    """Where the old side is not named, nothing is guessed."""
    server = stand.server
    text = server.site.read_text().replace(f":{stand.site.old.port}", ":1")
    server.site.write_text(text)
    result = stand.refused("front-names-nobody")
    assert str(stand.site.old) in result.err
    assert str(server.site) in result.err


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("server {{ listen {free}; location / {{ proxy_pass https://{old}; }} }}\n", "https://"),
        ("server {{ listen {free}; location / {{ fastcgi_pass {old}; }} }}\n", "fastcgi_pass"),
    ],
)
def test_in_a_way_that_the_gate_cannot(stand: Stand, text: str, why: str) -> None:
    """An upstream that is not asked by HTTP cannot be held."""
    added(stand.server, text.format(free="127.0.0.1:19999", old=stand.site.old))
    result = stand.refused("front-unfit")
    assert why in result.err
    assert "line " in result.err


def test_other_sites_are_shown(stand: Stand) -> None:
    """Each place that names the old side is changed, whosever site it is, and the diff shows it;
    other members of its group are told of."""
    site, server = stand.site, stand.server
    more = (
        "server {\n  listen 127.0.0.1:19999; server_name another.example;\n"
        f"  location / {{ proxy_pass http://{site.old}/x; }}\n}}\n"
        f"upstream two {{ server {site.old}; server 127.0.0.9:81; }}\n"
        f"server {{ listen 127.0.0.1:19998; return 302 http://{site.old}/; }}\n"
    )
    added(server, more)
    before = server.bytes()
    shown = site.run("gate", "install", "--dry-run")
    assert server.bytes() == before
    lines = [line for line in shown.out.splitlines() if line.startswith("+")]
    assert f"+  location / {{ proxy_pass http://{site.gate}/x; }}" in lines
    assert f"+    server {site.gate} max_fails=0;   # the application" in lines
    assert f"+    location /also/ {{ proxy_pass http://{site.gate}/; }}" in lines
    assert len(lines) == 1 + 5
    assert "127.0.0.9:81 are not held by the gate" in shown.err
    assert "names the old side and stays as it is" in shown.err


def test_reload_refused(stand: Stand) -> None:
    """The file is as before when the server does not read it again."""
    told(stand, "reload: ['false']")
    result = stand.refused("front-reload-refused")
    assert "next: false" in result.err


def test_reload_without_effect(stand: Stand) -> None:
    """That the command for it succeeds is not enough: requests have to come by the gate."""
    told(stand, "reload: ['true']")
    result = stand.refused("front-unproven")
    assert "past the gate" in result.err


def test_not_running(stand: Stand) -> None:
    """A server that does not run is told before anything is changed."""
    stand.server.stop()
    before = stand.server.bytes()
    result = stand.site.run("gate", "install", "--yes", ok=False)
    stand.server.start()
    assert result.code == 4
    assert "error: front-not-serving" in result.err
    assert "Connection refused" in result.err
    assert stand.server.bytes() == before
    stand.site.run("gate", "install", "--yes")


def test_not_writable(stand: Stand) -> None:
    """A file that cannot be replaced is named, in the plan already."""
    directory = stand.server.site.parent
    shutil.chown(directory, "nobody")
    rights = "-dac_override,-fowner"
    without = ("setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}")
    try:
        results = [
            stand.site.run(*words, ok=False, before=without)
            for words in (("gate", "install", "--dry-run"), ("gate", "install", "--yes"))
        ]
    finally:
        shutil.chown(directory, "root")
    for result in results:
        assert result.code == 4
        assert "error: front-unwritable" in result.err
        assert str(stand.server.site) in result.err
        assert "Permission denied" in result.err


def test_gate_is_not_stopped_under_it(stand: Stand) -> None:
    """While nginx leads to the gate, the gate stays."""
    stand.site.run("gate", "install", "--yes")
    stand.refused("front-leads-to-gate", ("gate", "stop"))
    stand.site.run("gate", "remove", "--yes")


def told(stand: Stand, words: str) -> None:
    """Say something more of the front in the manifest."""
    text = stand.site.manifest.read_text()
    assert "front: {" in text
    stand.site.manifest.write_text(text.replace("front: {", f"front: {{{words}, "))


def test_changed_meanwhile(stand: Stand) -> None:
    """What somebody else wrote meanwhile stays; only our places are put back."""
    site, server = stand.site, stand.server
    before = server.site.read_text()
    site.run("gate", "install", "--yes")
    inside = server.site.read_text()
    server.site.write_text(inside.replace("# the application", "# ours") + "# and a line\n")
    site.run("gate", "remove", "--yes")
    assert server.site.read_text() == (
        before.replace("# the application", "# ours") + "# and a line\n"
    )


def test_changed_beyond_telling(stand: Stand) -> None:
    """Where it cannot be told which upstream was where, nothing is changed."""
    site, server = stand.site, stand.server
    site.run("gate", "install", "--yes")
    added(
        server,
        f"server {{ listen 127.0.0.1:19999; location / {{ proxy_pass http://{site.gate}; }} }}\n",
    )
    result = stand.refused("front-changed", ("gate", "remove"))
    assert str(server.site) in result.err
    text = server.site.read_text()
    server.site.write_text(text[: text.rindex("server {")])
    site.run("gate", "remove", "--yes")


def test_gate_is_gone(stand: Stand) -> None:
    """A gate that died is got out of the way, though nobody is served until then."""
    site, server = stand.site, stand.server
    site.run("gate", "install", "--yes")
    site.wired().traffic.stop()
    with pytest.raises(ValueError, match="Expecting value"):  # nginx's own page
        site.version(server.address)
    site.run("gate", "remove", "--yes")
    assert site.version(server.address) == "1.0"


def test_no_front(stand: Stand) -> None:
    """Without a web server in the manifest there is none to be led."""
    stand.site.write_manifest()
    result = stand.site.run("gate", "install", "--yes", ok=False)
    assert result.code == 2
    assert "error: no-front" in result.err
