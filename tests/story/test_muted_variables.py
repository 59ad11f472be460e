"""A site whose mail is set up by variables of its service: here, in a unit, and in a container."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.story.test_mutes import CHECKED, Sink, post
from tests.testbed.contained import ContainedSite, contained_site_at
from tests.testbed.engine import GATEWAY, Engine
from tests.testbed.far import FarSite
from tests.testbed.machines import Machine
from tests.testbed.moments import Moments
from tests.testbed.site import HERE, Site, eventually, site_at

from crossfade.model import Run, Side

EFFECTS = """\
effects:
  - name: mail
    what: sends a mail for every note, and at its start
    when: {variable: NOTES_MAIL_SERVER}
    mute:
      - {variable: NOTES_MAIL_SERVER, value: ""}
      - {variable: NOTES_MAIL_PASSWORD, value: ""}
"""
RECIPE = (HERE / "notes.yaml").read_text(encoding="utf-8") + EFFECTS
SECRET = "planted-mail-4713"


@pytest.fixture
def sink() -> Iterator[Sink]:
    """A mail server, where containers reach it too."""
    with closing(Sink(GATEWAY)) as made:
        yield made


def sent_with(sink: Sink) -> list[str]:
    """What was sent, by whichever side: all of it is with the password."""
    assert all(SECRET in line for line in sink.connections)
    return list(sink.connections)


def cut_over_and_rehearsed_without(site: Site, sink: Sink) -> None:
    """Nothing is sent while the copy is made to, and the new side sends after the cutover."""
    eventually(lambda: len(sent_with(sink)) == 1)
    planned = site.run("plan").out
    assert "muted in the rehearsal: mail: environment NOTES_MAIL_SERVER set" in planned
    exercised: list[bool] = []

    def exercise() -> None:
        post(site.rehearsal, "for-the-copy")
        exercised.append(True)

    with Moments(site.directory, {CHECKED: exercise}) as moments:
        done = site.run("rehearse", "--json", env=moments.environment)
    assert exercised
    assert len(sent_with(sink)) == 1, "the old side's own, at its start"
    findings = {f["claim"]: f for step in done.json["runs"][-1]["steps"] for f in step["findings"]}
    silent = findings["the rehearsal sends nothing out"]
    assert silent["observed"].startswith("muted (mail: environment NOTES_MAIL_SERVER set; ")
    assert site.run("cutover", "--yes").code == 0
    post(site.gate, "after-the-cutover")
    eventually(lambda: any("after-the-cutover" in line for line in sent_with(sink)))
    kept = {"backups", "configuration"}  # what is for the new side's service, readable by its owner
    told = (site.directory / "state").rglob("*")
    texts = [p.read_bytes() for p in told if p.is_file() and not kept & set(p.parts)]
    assert not [text for text in texts if SECRET.encode() in text]


def test_here(tmp_path: Path, sink: Sink, engine: Engine) -> None:
    """The manifest gives both sides the variables."""
    del engine  # has made the address that the mail server is at
    with site_at(tmp_path / "site", recipe=RECIPE) as site:
        secret = site.directory / "mail-password"
        secret.write_text(SECRET, encoding="utf-8")
        given = {"NOTES_MAIL_SERVER": str(sink.address), "NOTES_MAIL_PASSWORD": f"file:{secret}"}
        text = site.manifest.read_text(encoding="utf-8")
        for side in ("old", "new"):
            service = f"{side}:\n  service: {json.dumps({'environment': given})}\n"
            text = text.replace(f"{side}:\n", service, 1)
        site.manifest.write_text(text, encoding="utf-8")
        site.wired().side(site.wired().manifest.old, Side.OLD).service.stop(5)
        site.start()
        cut_over_and_rehearsed_without(site, sink)


def test_given_by_a_shell(tmp_path: Path, sink: Sink, engine: Engine) -> None:
    """Nothing that comes over gives them, so they are asked about, before the rehearsal as before
    the cutover, though the rehearsal mutes them."""
    del engine
    site = Site(tmp_path / "site", recipe=RECIPE)
    old = site.wired().side(site.wired().manifest.old, Side.OLD)
    given = {"NOTES_MAIL_SERVER": str(sink.address), "NOTES_MAIL_PASSWORD": SECRET}
    by_hand = subprocess.Popen(old.service.command(), cwd=site.data, env=given)
    try:
        eventually(lambda: old.health.run().holds)
        site.run("gate", "start", "--yes")
        assert site.run("rehearse", ok=False).code == 3
        answers = site.directory / "state" / "configuration" / "decisions.toml"
        text = answers.read_text(encoding="utf-8")
        assert text.count('choose = ""') == 2
        answers.write_text(text.replace('choose = ""', 'choose = "yours"'), encoding="utf-8")
        cut_over_and_rehearsed_without(site, sink)
    finally:
        by_hand.terminate()
        by_hand.wait()
        site.close()


def test_a_container_that_was_asked_for_unmuted(tmp_path: Path, sink: Sink, engine: Engine) -> None:
    """What was looked at before without mutes, in the same process, makes no unmuted copy."""
    with contained_with_mail(tmp_path, sink, engine) as site:
        wired = site.wired()
        wired.begin(Run.REHEARSAL, unmuted=True)
        work = wired.begin(Run.REHEARSAL)
        work.new.host.write(work.new.installation.data / "first", b"is what makes the container")
        name = f"{site.containers()[Side.NEW]}-rehearsal"
        made = json.loads(engine.docker("inspect", name))[0]["Config"]["Env"]
        assert "NOTES_MAIL_SERVER=" in made
        assert not [pair for pair in made if SECRET in pair]
        wired.journal.close()


def test_in_a_container(tmp_path: Path, sink: Sink, engine: Engine) -> None:
    """The old container has them, and the new one is made as the old one is."""
    with contained_with_mail(tmp_path, sink, engine) as site:
        cut_over_and_rehearsed_without(site, sink)


@contextmanager
def contained_with_mail(directory: Path, sink: Sink, engine: Engine) -> Iterator[ContainedSite]:
    """A site whose old container has the variables."""
    plain = engine.docker

    def docker(*words: str, **more: Any) -> str:
        if words[0] == "create":
            pairs = (f"NOTES_MAIL_SERVER={sink.address}", f"NOTES_MAIL_PASSWORD={SECRET}")
            words = (*words[:-1], *(w for pair in pairs for w in ("--env", pair)), words[-1])
        return plain(*words, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "docker", docker)
        with contained_site_at(directory / "site", engine, recipe=RECIPE) as site:
            yield site


@pytest.mark.whole
def test_in_a_unit(
    make_far_site: Callable[..., FarSite], machines: tuple[Machine, Machine], sink: Sink
) -> None:
    """A file of variables that the old unit names comes over with it; the rehearsal's unit has it
    too, and the mute is the last word."""
    site = make_far_site(*machines, recipe=RECIPE)
    host, file = site.host(Side.OLD), Path("/etc/notes.env")
    pairs = f"NOTES_MAIL_SERVER={sink.address}\nNOTES_MAIL_PASSWORD={SECRET}\n"
    host.write(file, pairs.encode(), mode=0o600)
    drop_in = Path("/etc/systemd/system/notes.service.d/mail.conf")
    host.write(drop_in, f"[Service]\nEnvironmentFile={file}\n".encode(), mode=0o644)
    host.run(("systemctl", "daemon-reload"))
    host.run(("systemctl", "restart", "notes.service"))
    eventually(lambda: site.wired().side(site.wired().manifest.old, Side.OLD).health.run().holds)
    cut_over_and_rehearsed_without(site, sink)
