"""A site that sends mail: rehearsed muted, cut over with all of it; and canaries on the way."""

from __future__ import annotations

import http.client
import json
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.story.test_configuration import new_settings
from tests.story.test_configuration import site as stocked  # noqa: F401 - a fixture
from tests.testbed.client import Client
from tests.testbed.moments import Moments
from tests.testbed.site import HERE, Result, Site, eventually, site_at
from tests.testbed.stocked import has

from crossfade.model import Address, Side
from crossfade.testing.free_ports import free_ports

EFFECTS = """\
effects:
  - name: mail
    what: sends a mail for every note, and at its start
    when: {file: notes.yaml, key: mail_server}
    mute:
      - {file: notes.yaml, key: mail_server, drop: true}
      - {file: notes.yaml, key: mail_password, drop: true}
"""
CHECKED = "rehearsal.check.checks.before-act"
"""The copy runs, and is asked next."""


class Sink:
    """Listens as a mail server does, and keeps what comes on each connection."""

    def __init__(self, host: str = "127.0.0.2") -> None:
        (port,) = free_ports(1)
        self.address = Address(host, port)
        self._server = socket.create_server((self.address.host, port), backlog=64)
        self.connections: list[str] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            with connection, connection.makefile() as stream:
                self.connections.append(stream.readline())

    def sent_by(self, address: Address) -> list[str]:
        """What the application that listens at this address sent."""
        return [line for line in self.connections if line.startswith(f"{address} ")]

    def close(self) -> None:
        """End it."""
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join()


@pytest.fixture
def sink() -> Iterator[Sink]:
    """A mail server."""
    made = Sink()
    yield made
    made.close()


@pytest.fixture
def site(tmp_path: Path, sink: Sink, request: pytest.FixtureRequest) -> Iterator[Site]:
    """A running site that sends mail, on SQLite if the test says nothing else."""
    database = getattr(request, "param", "sqlite")
    recipe = (HERE / "notes.yaml").read_text(encoding="utf-8") + EFFECTS
    with site_at(tmp_path / "site", recipe=recipe, database=database) as made:
        has(made, mail_server=sink.address, mail_password="planted-mail-4712")
        wired = made.wired()
        wired.side(wired.manifest.old, Side.OLD).service.stop(5)
        made.start()
        yield made


def post(address: Address, name: str) -> None:
    """Write a note, so that a mail goes out."""
    connection = http.client.HTTPConnection(address.host, address.port, timeout=30)
    eventually(lambda: connected(connection))
    connection.request("POST", "/notes", json.dumps({"id": name, "text": name}))
    assert connection.getresponse().status == 201
    connection.close()


def connected(connection: http.client.HTTPConnection) -> bool:
    """Whether it could connect: a machine that is busy was seen to reset it once."""
    try:
        connection.connect()
    except ConnectionError:
        return False
    return True


def in_the_copy(site: Site, read: dict[str, str]) -> None:
    """Exercise the effect in the rehearsal's copy, and read all of its files."""
    post(site.rehearsal, "for-the-copy")
    for path in (site.directory / "try").rglob("*"):
        if path.is_file():
            read[path.name] = path.read_text(encoding="latin-1")


@pytest.mark.parametrize("site", ["sqlite", "postgres"], indirect=True)
def test_muted_rehearsed_and_cut_over_with_all_of_it(site: Site, sink: Sink) -> None:
    """The copy sends no mail although it is made to, and has no password of the mail server, also
    where its program waits for its database; the cutover needs no other rehearsal, its file has
    both settings, and mail goes out again."""
    eventually(lambda: sink.sent_by(site.old) != [])
    planned = site.run("plan").out
    assert "muted in the rehearsal: mail: notes.yaml mail_server taken out" in planned
    read: dict[str, str] = {}
    with Moments(site.directory, {CHECKED: lambda: in_the_copy(site, read)}) as moments:
        done = site.run("rehearse", "--json", env=moments.environment)
    assert "muted in this rehearsal: mail: notes.yaml mail_server taken out; " in done.err
    assert "notes.yaml" in read
    assert not [name for name, text in read.items() if "planted-mail" in text]
    assert "mail_" not in read["notes.yaml"]
    assert sink.sent_by(site.rehearsal) == []
    findings = {f["claim"]: f for step in done.json["runs"][-1]["steps"] for f in step["findings"]}
    silent = findings["the rehearsal sends nothing out"]
    assert silent["observed"] == (
        "muted (mail: notes.yaml mail_server taken out; mail: notes.yaml mail_password taken out)"
    )
    claim = "the cutover's configuration differs from the rehearsal's by places and mutes only"
    assert findings[claim]["observed"].startswith("nothing else (")
    assert findings[claim]["observed"].endswith(" places, 2 muted)")
    with Client(site.gate) as client:
        result = site.run("cutover", "--yes")
    assert (client.failures, client.lost(site.gate)) == ([], set())
    assert sink.sent_by(site.rehearsal) == []
    text = (site.directory / "new" / "notes.yaml").read_text(encoding="utf-8")
    assert f"mail_server: {sink.address}\nmail_password: planted-mail-4712\n" in text
    post(site.gate, "after-the-cutover")
    eventually(lambda: any("after-the-cutover" in line for line in sink.sent_by(site.new)))
    assert_untold(site, result)


def assert_untold(site: Site, *results: Result) -> None:
    """No secret is in what was printed, nor in the journal, reports and logs."""
    state = site.directory / "state"
    told = "".join(result.out + result.err for result in results)
    for path in state.rglob("*"):
        if path.is_file() and "backups" not in path.parts:
            told += path.read_text(encoding="latin-1")
    assert "planted-mail" not in told
    assert "planted-sealed" not in told


def test_unmuted_says_so(site: Site, sink: Sink) -> None:
    """Then the copy does send mail, with the very configuration of the cutover."""
    result = site.run("rehearse", "--unmuted", "--json")
    assert len(sink.sent_by(site.rehearsal)) == 1
    warnings = result.json["plan"]["warnings"]
    assert any("UNMUTED: the copy may act on the outside (mail: " in line for line in warnings)
    assert result.json["runs"][-1]["unmuted"] is True
    site.run("cutover", "--yes")
    assert site.version() == "2.0"


def test_what_is_shown_of_both_renderings(site: Site) -> None:
    """``config show`` has the cutover's, and with --rehearsal the muted one, by its own places."""
    cutover, rehearsal = site.run("config", "show"), site.run("config", "show", "--rehearsal")
    assert "muted" not in cutover.out
    assert f"+listen: {site.new}" in cutover.out
    assert f"+listen: {site.rehearsal}" in rehearsal.out
    assert "-mail_server: " in rehearsal.out
    assert "muted: mail: notes.yaml mail_password taken out" in rehearsal.out
    listed = site.run("config", "show", "--rehearsal", "--json").json["mutes"]
    assert [mute["key"] for mute in listed] == ["mail_server", "mail_password"]
    assert_untold(site, cutover, rehearsal)


def test_an_effect_that_its_mute_leaves_active(site: Site, sink: Sink) -> None:
    """Another effect without a mute: refused before anything is done, as without any mute."""
    text = site.recipe.read_text(encoding="utf-8")
    more = "  - {name: digest, what: sends a digest, when: {file: notes.yaml, key: secret_key}}\n"
    site.recipe.write_text(text + more, encoding="utf-8")
    result = site.run("rehearse", ok=False)
    assert (result.code, "error: effects-not-muted" in result.err) == (4, True)
    assert "digest: sends a digest" in result.err
    assert not (site.directory / "app2").exists()
    assert sink.sent_by(site.rehearsal) == []


SEAL = "planted-sealed"
CANARY = """\
canaries:
  - name: session
    what: signed with secret_key
    make: ["{root}/bin/python", "SCRIPT", make, "{config}/notes.yaml", "{version}"]
    read: ["{root}/bin/python", "SCRIPT", read, "{config}/notes.yaml", "{version}"]
"""
SCRIPT = f"""
import hmac, sys, notes
verb, config, version = sys.argv[1:]
assert version == notes.VERSION == {{"make": "1.0", "read": "2.0"}}[verb]
key = notes.settings(config)["secret_key"] + SALT.get(version, "")
def seal(word):
    return "{SEAL} " + word + " " + hmac.new(key.encode(), word.encode(), "sha256").hexdigest()
text = sys.stdin.read().strip()
if verb == "make":
    print(seal(text))
elif seal(text.split()[1]) == text:
    print(text.split()[1])
else:
    sys.exit(f"{{text}} is not ours")
"""


def with_canary(site: Site, salt: dict[str, str]) -> None:
    """Give the recipe a canary; a version with a salt makes something else of the key."""
    script = site.directory.parent / "canary.py"
    script.write_text(f"SALT = {salt!r}\n{SCRIPT}", encoding="utf-8")
    text = site.recipe.read_text(encoding="utf-8")
    site.recipe.write_text(text + CANARY.replace("SCRIPT", str(script)), encoding="utf-8")


def test_a_canary_that_the_new_version_reads(site: Site) -> None:
    """Sealed by the old program with the old side's key, read by the new one with the new side's;
    nothing of the old side's data is changed by it."""
    with_canary(site, {})
    assert (
        "seal a word that the new one must read: session" in site.run("rehearse", "--dry-run").out
    )
    result = site.run("rehearse", "--json")
    findings = [f for step in result.json["runs"][-1]["steps"] for f in step["findings"]]
    (canary,) = [f for f in findings if "session" in f["claim"]]
    assert canary["holds"]
    assert canary["observed"].startswith("fingerprint ")
    assert_untold(site, result)
    site.run("cutover", "--yes")


def test_a_canary_that_it_cannot_read(site: Site) -> None:
    """The rehearsal fails with the name of it, the old side serves, and there is no cutover."""
    with_canary(site, {"2.0": "another"})
    with Client(site.gate) as client:
        result = site.run("rehearse", ok=False)
        assert (result.code, "error: canary-unreadable" in result.err) == (5, True)
        assert "session (signed with secret_key)" in result.err
        assert "The old side (1.0) serves" in result.err
        assert "next: crossfade config show --rehearsal" in result.err
        refused = site.run("cutover", "--yes", ok=False)
        assert (refused.code, "error: not-rehearsed" in refused.err) == (4, True)
    assert (client.failures, client.lost(site.gate)) == ([], set())
    assert not (site.directory / "try").exists()
    assert_untold(site, result)


CHECKER = """
import sys, yaml
given = yaml.safe_load(sys.stdin)
print("so many settings:", len(given))
if given.get("mail_server") and MISSING:
    sys.exit(f"no library for mail to {given['mail_server']} with {given['mail_password']}")
"""


@pytest.mark.parametrize("missing", [True, False])
def test_what_is_muted_would_not_start(site: Site, sink: Sink, missing: bool) -> None:
    """The copy starts without the mail; the new version's checker is asked about the cutover's
    file, which no file of the rehearsal has, and says what would go wrong in the pause."""
    script = site.directory.parent / "checker.py"
    script.write_text(CHECKER.replace("MISSING", str(missing)), encoding="utf-8")
    text = site.recipe.read_text(encoding="utf-8")
    checked = f'    format: yaml\n    checked_by: ["{sys.executable}", "{script}"]\n'
    site.recipe.write_text(text.replace("    format: yaml\n", checked, 1), encoding="utf-8")
    result = site.run("rehearse", ok=not missing)
    assert sink.sent_by(site.rehearsal) == []
    assert_untold(site, result)
    if missing:
        assert (result.code, "error: configuration-not-taken" in result.err) == (5, True)
        assert "no library for mail to … with …" in result.err
        assert "notes.yaml as the cutover will have it" in result.err
        assert not (site.directory / "try").exists()
    else:
        site.run("cutover", "--yes")


THEME = """\
effects:
  - name: theme
    what: fetches its theme from the outside
    when: {file: notes.yaml, key: theme}
"""


def test_what_the_new_version_brings(stocked: Site) -> None:  # noqa: F811
    """An effect that only the new version's own text makes active is seen once that is there: the
    rehearsal fails before the copy is written.  With a mute it is muted; the cutover has it."""
    text = stocked.recipe.read_text(encoding="utf-8")
    stocked.recipe.write_text(text + THEME, encoding="utf-8")
    result = stocked.run("rehearse", ok=False)
    assert (result.code, "error: effects-not-muted" in result.err) == (5, True)
    assert "theme: fetches its theme from the outside" in result.err
    assert "next: crossfade rehearse --unmuted" in result.err
    assert not (stocked.directory / "try").exists()
    mute = "    mute: [{file: notes.yaml, key: theme, drop: true}]\n"
    stocked.recipe.write_text(text + THEME + mute, encoding="utf-8")
    stocked.run("rehearse")
    has(stocked, motd="changed after the rehearsal")
    stocked.run("cutover", "--yes")
    settings = new_settings(stocked)
    assert (settings["theme"], settings["motd"]) == ("light", "changed after the rehearsal")
