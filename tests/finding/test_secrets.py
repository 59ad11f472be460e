"""Thirty secrets are planted, and everything that may be printed or written is searched."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from collections.abc import Iterator

import pytest
from tests.finding.apart import Apart
from tests.finding.plain import installed, one

from crossfade.finding import Inventory, Kind, Running, Scope, look, text
from crossfade.finding._values import Masks

IN_FILES = {
    "/opt/app/app.properties": "db.password=planted{}\n# old: planted{}\nkey: planted{}\n",
    "/opt/app/web.xml": '<a pass="planted{}"/><!-- planted{} -->\n',
    "/opt/app/.env": "SECRET=planted{}\nURL=postgres://u:planted{}@localhost/db\n",
    "/opt/app/token": "planted{}",
    "/etc/app/app.conf": "root = /opt/app\npin = planted{}\ninclude /etc/app/planted{}.conf\n",
    "/etc/cron.d/app": "0 1 * * * root curl -u me:planted{} http://x/; /opt/app/run planted{}\n",
    "/etc/nginx/sites-available/app": "root /opt/app;\nproxy_set_header Auth planted{};\n",
    "/etc/systemd/system/app.service": "[Service]\nExecStart=/opt/app/run --pw planted{}\n"
    "Environment=\"A_PASS=planted{}\" 'B=planted{}'\n",
    "/home/app/.bash_history": "mysql -pplanted{} app\nexport X=planted{}\n",
    "/home/app/.pgpass.conf": "localhost:5432:app:app:planted{}\n",
}
ENVIRONMENT = {
    "APP_PASSWORD": "planted{}",
    "GREETING": "planted{}",
    "DATABASE_URL": "mysql://app:planted{}@localhost/app",
    "JAVA_OPTS": "-Dx=planted{} -Xmx1g",
    "HOOK": "https://hooks.example.org/services/planted{}",
    "EMPTY_LOOKING": " planted{} ",
}
ARGUMENTS = (
    "--password=planted{}",
    "--pin",
    "planted{}",
    "-pplanted{}",
    "planted{}",
    "-Da=planted{}",
)


class Numbers:
    """Numbers the planted secrets, so that each is another one."""

    def __init__(self) -> None:
        self.count = 0

    def into(self, words: str) -> str:
        """The text with numbers for the braces."""
        while "{}" in words:
            self.count += 1
            words = words.replace("{}", f"secret{self.count:02d}x", 1)
        return words


@pytest.fixture
def planted(host: Apart) -> Iterator[tuple[Apart, int]]:
    """A machine with the secrets, and the process that has some of them."""
    numbers = Numbers()
    host.sh("echo 'app:x:5996:5996::/home/app:/bin/sh' >>/etc/passwd")
    for path, words in IN_FILES.items():
        host.put(path, numbers.into(words))
    environment = [f"{name}={numbers.into(value)}" for name, value in ENVIRONMENT.items()]
    arguments = [numbers.into(word) for word in ARGUMENTS]
    program = "import time; time.sleep(300)"
    argv = ("env", "-i", *environment, "/usr/bin/python3", "-c", program, *arguments)
    running = host.begin(*argv, account=5996)
    assert numbers.count >= 30
    try:
        _until_it_runs(host, running)
        yield host, running.pid
    finally:
        running.kill()
        running.wait()


def _until_it_runs(host: Apart, running: subprocess.Popen[bytes]) -> None:
    wait = 'until grep -q time.sleep "/proc/$1/cmdline"; do sleep 0.05; done'
    host.sh(
        f'{wait}; until [ "$(readlink "/proc/$1/exe" | grep -c python)" = 1 ]; do :; done',
        str(running.pid),
    )


def _everything(inventory: Inventory) -> str:
    """All that can be seen of it."""
    return "\n".join(
        (
            json.dumps(inventory.as_json()),
            text(inventory),
            repr(inventory),
            str(dataclasses.asdict(inventory)),
        )
    )


def test_no_planted_secret_is_told(planted: tuple[Apart, int]) -> None:
    """Neither from files nor from the environment nor from arguments; they are found all the
    same."""
    host, pid = planted
    inventory = look(host, installed("/opt/app", "/etc/app"), Running("app.service", pid), Scope())
    shown = _everything(inventory)
    assert "planted" not in shown.replace("/etc/app/planted", "")
    assert "secret0" not in shown
    names = {found.name for found in inventory.found}
    assert {*ENVIRONMENT, "--password", "-Da", "/etc/app/app.conf", "/etc/cron.d/app"} <= names
    assert "/home/app/.bash_history" not in names


def test_without_a_process_the_unit_is_read(planted: tuple[Apart, int]) -> None:
    """What the unit's file sets is found by name, and no value is told."""
    host, _ = planted
    inventory = look(host, installed("/opt/app", "/etc/app"), Running("app.service"), Scope())
    assert {found.name for found in inventory.of(Kind.ENVIRONMENT)} == {"A_PASS", "B"}
    assert "secret" not in _everything(inventory).replace("A_PASS", "")


def test_a_fingerprint_tells_only_the_same(planted: tuple[Apart, int]) -> None:
    """Equal with one key, different with another."""
    host, pid = planted
    at = installed("/opt/app", "/etc/app")
    one_key, other = Scope(key=b"one"), Scope(key=b"other")
    first, again = (look(host, at, Running(pid=pid), one_key) for _ in range(2))
    changed = look(host, at, Running(pid=pid), other)
    prints = [one(each, "APP_PASSWORD").fingerprint for each in (first, again, changed)]
    assert prints[0] == prints[1]
    assert prints[0] != prints[2]


def test_the_sum_of_a_short_secret_is_not_told(host: Apart) -> None:
    """Of a small file that is named like a secret there is only a keyed fingerprint, for from the
    plain sum of a short word the word can be guessed."""
    host.put("/etc/app/db_password.conf", "hunter2\n")
    host.put("/etc/app/app.conf", "x = 1\n")
    inventory = look(host, installed("/opt", "/etc/app"))
    assert one(inventory, "/etc/app/db_password.conf").sha256 is None
    assert one(inventory, "/etc/app/db_password.conf").fingerprint
    assert one(inventory, "/etc/app/app.conf").sha256


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("PORT", "8080", True),
        ("JAVA_HOME", "/usr/lib/jvm/java-17", True),
        ("DEBUG", "true", True),
        ("BIND", "10.0.0.4:8008", True),
        ("LIBS", "/opt/a/lib:/opt/b/lib", True),
        ("HEAP", "512m", True),
        ("EMPTY", "", True),
        ("DB_PASS", "8080", False),
        ("DB_PASS", "/usr", False),
        ("PIN", "482913", False),
        ("WORD", "hunter", False),
        ("WORDS", "correct horse", False),
        ("URL", "https://hooks.example.org/T0/B0", False),
        ("PATHLIKE", "/9j4AAQSkZJRgABAQEAYABgAAD", False),
        ("LINES", "true\nhunter2", False),
    ],
)
def test_which_values_are_shown(name: str, value: str, shown: bool) -> None:
    """Only those that can be nothing else but a number, a switch, an address or a path."""
    told, fingerprint = Masks(b"key").of(name, value)
    assert told == (value if shown else None)
    assert fingerprint
