"""Secrets that are planted in a configuration turn up in nothing that Crossfade says of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.testbed.site import Result, Site
from tests.testbed.stocked import NEW, OLD, decisions, stocked_site_at

_STOCK = {
    OLD: "smtp_pass: none\nretry: https://hooks.example.org/?token=none\nconnect: host=db\n",
    NEW: "smtp_pass: planted-stock-1\nretry: http://u:planted-stock-2@x/\nconnect: host=db2\n",
}
OURS = """\
# the old password was planted-comment-1
#smtp_pass: planted-comment-2
smtp_pass: planted-value-1   # planted-comment-3
retry: https://hooks.example.org/?token=planted-query-1
connect: host=db user=us password=planted-word-1
relay: smtps://us:planted-address-1@mail.example.org/
hook: "https://hooks.example.org/in?x=1&api_key=planted-query-2"
run: notify --token planted-word-2 --quiet
block: |
  -----BEGIN PRIVATE KEY-----
  planted-block-1
  -----END PRIVATE KEY-----
folded_key: >-
  planted-block-2
  planted-block-3
random: Zk8vQ2xw9TtYpL4sR7aD
auth:
  ldap: {bind: planted-nested-1}
  words:
    - planted-nested-2
users:
  Zk8vQ2xw9TtYpL4sR7aE: us
"""
ENVIRONMENT = {
    "NOTES_TOKEN": "planted-environment-1",
    "NOTES_DATABASE": "postgresql://us:planted-environment-2@db.example.org/notes",
}
PLANTED = (b"planted-", b"Zk8vQ2xw9TtYpL4sR7a")
_QUESTIONS = ("smtp_pass", "retry", "connect")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A site full of secrets, some of which are questions."""
    old, new = (text + more for text, more in _STOCK.items())
    with stocked_site_at(tmp_path, old=old, new=new, environment=ENVIRONMENT) as made:
        with (made.data / "notes.yaml").open("a", encoding="utf-8") as file:
            file.write(OURS)
        yield made


def asked(site: Site, *verbs: str) -> Iterator[Result]:
    """What ``config`` says, in words and as JSON."""
    for verb in verbs:
        yield site.run("config", *verb.split(), ok=False)
        yield site.run("config", *verb.split(), "--json", ok=False)


def test_no_secret_of_a_configuration_is_said(site: Site) -> None:
    """Looked at, planned, asked, answered, rehearsed, cut over and reported: every byte of output
    and of what lies below the state is searched.  Left out are copies of the files themselves, for
    their owner's eyes only."""
    ended = [site.run("rehearse", ok=False)]
    assert "configuration-questions" in ended[0].err
    ended += asked(site, "scan", "plan", "show", "review", "why smtp_pass")
    scanned = ended[1].out + ended[2].out
    assert all(name in scanned for name in ENVIRONMENT), "the environment was looked at"
    questions = decisions(site).read_text(encoding="utf-8")
    assert questions.count('choose = ""') == len(_QUESTIONS)
    decisions(site).write_text(questions.replace('choose = ""', 'choose = "yours"'))
    ended += asked(site, "plan", "show")
    for words in (
        ("plan",),
        ("rehearse",),
        ("cutover", "--yes"),
        ("status", "--json"),
        ("report",),
    ):
        ended.append(site.run(*words))
    searched = {f"output of {number}": (r.out + r.err).encode() for number, r in enumerate(ended)}
    state = site.directory / "state"
    for path in state.rglob("*"):
        if path.is_file() and not itself(path.relative_to(state), path):
            searched[str(path)] = path.read_bytes()
    assert {f"{state}/journal.db", f"{decisions(site)}"} <= searched.keys()
    found = [
        f"{name}: {data[place - 80 : place + 40]!r}"
        for name, data in searched.items()
        for word in PLANTED
        if (place := data.find(word)) >= 0
    ]
    assert found == []
    text = (site.directory / "new" / "notes.yaml").read_text(encoding="utf-8")
    for line in OURS.splitlines():
        if "planted" in line and not line.startswith("#"):
            assert line.split("   #")[0] in text, "the secrets themselves came over"


def itself(name: Path, path: Path) -> bool:
    """Whether it is a copy of a configuration file: in a backup, or what a version comes with."""
    copied = "configuration" in name.parts and ("backups" in name.parts or "stock" in name.parts)
    assert not copied or path.stat().st_mode & 0o077 == 0
    return copied
