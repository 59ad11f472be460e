"""The canary check with real programs that seal by a key, on this machine."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest

from crossfade.drivers.checks.canary import CanaryCheck
from crossfade.drivers.checks.telling import Teller
from crossfade.drivers.hosts.local import LocalHost

SEAL = """
import hashlib, hmac, os, pathlib, sys
key = pathlib.Path("key").read_bytes() + os.environ.get("PEPPER", "").encode()
def sign(word):
    return hmac.new(key, word.encode(), hashlib.sha256).hexdigest()
"""
MAKE = SEAL + "word = sys.stdin.read()\nprint(word + ':' + sign(word))\n"
READ = SEAL + (
    "word, _, sign_of_it = sys.stdin.read().partition(':')\n"
    "if sign(word) != sign_of_it:\n    sys.exit(f'{word}: not signed by us')\nprint(word)\n"
)


class Recording(LocalHost):
    """This machine; remembers what was on command lines, and what went in and out."""

    def __init__(self) -> None:
        super().__init__()
        self.commands: list[str] = []
        self.texts: list[str] = []

    def run(self, argv, **given):  # type: ignore[no-untyped-def]
        """As it is, and remembered."""
        done = super().run(argv, **given)
        self.commands.append(" ".join(argv))
        self.texts += [given["stdin"].decode(), done.out.decode()]
        return done


def side(
    directory: Path, name: str, script: str, key: str = "planted-key", pepper: str = ""
) -> tuple[Teller, Recording]:
    """A side with a key, and a program."""
    place = directory / name
    place.mkdir()
    (place / "key").write_text(key)
    host = Recording()
    argv = (sys.executable, "-c", script)
    return Teller(f"the {name} side's program", host, argv, place, lambda: {"PEPPER": pepper}), host


def test_the_same_key_reads_it(tmp_path: Path) -> None:
    """The word comes back; it is another one each time, and neither program leaves anything."""
    (make, making), (read, reading) = side(tmp_path, "old", MAKE), side(tmp_path, "new", READ)
    check = CanaryCheck("session", "signed with the key", make, read)
    one, two = check.run(), check.run()
    assert (one.holds, two.holds) == (True, True)
    assert one.expected == one.observed
    assert making.texts[0] != making.texts[2]
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["key", "key", "new", "old"]
    assert reading.texts[0] == making.texts[1].strip()


@pytest.mark.parametrize(
    ("key", "pepper", "script", "says"),
    [
        ("another", "", READ, "the new side's program ended with status 1: … not signed by us"),
        ("planted-key", "other", READ, "not signed by us"),
        ("planted-key", "", "print('x' * 32)", "fingerprint "),
        ("planted-key", "", "pass", "nothing"),
        ("planted-key", "", "import time; time.sleep(600)", "did not end within 1 seconds"),
        ("planted-key", "", "import os; os.abort()", "ended with status -6"),
    ],
)
def test_what_cannot_be_read(
    tmp_path: Path,
    key: str,
    pepper: str,
    script: str,
    says: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another key or environment, a program that answers something else or fails: it does not hold,
    and says why."""
    monkeypatch.setattr(
        "crossfade.drivers.checks.telling._LONGEST", 1.0 if "sleep" in script else 60
    )
    make, _ = side(tmp_path, "old", MAKE)
    read, _ = side(tmp_path, "new", script, key, pepper)
    finding = CanaryCheck("session", "signed with the key", make, read).run()
    assert not finding.holds
    assert says in finding.observed
    assert finding.observed != finding.expected


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("import sys; print(sys.stdin.read())", "the old side's program printed the word"),
        ("pass", "the old side's program printed nothing"),
        ("import sys; sys.exit('no key')", "the old side's program ended with status 1: no key"),
    ],
)
def test_a_canary_that_is_none(tmp_path: Path, script: str, says: str) -> None:
    """What seals nothing proves nothing."""
    make, _ = side(tmp_path, "old", script)
    read, reading = side(tmp_path, "new", "import sys; print(sys.stdin.read())")
    finding = CanaryCheck("session", "signed with the key", make, read).run()
    assert (finding.holds, finding.observed) == (False, says)
    assert reading.commands == []


@pytest.mark.parametrize("key", ["planted-key", "another"])
def test_nothing_of_it_is_told(
    tmp_path: Path, key: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither the word nor the sealed text is on a command line, in what is found or in a log."""
    caplog.set_level(logging.DEBUG)
    (make, making), (read, reading) = side(tmp_path, "old", MAKE), side(tmp_path, "new", READ, key)
    finding = CanaryCheck("session", "signed with the key", make, read).run()
    out, err = capfd.readouterr()
    told = "".join((repr(finding), *making.commands, *reading.commands, caplog.text, out, err))
    word, sealed = making.texts[:2]
    assert len(word) == 32
    for text in (word, sealed.strip(), sealed.strip().partition(":")[2], "planted-key"):
        assert text not in told
