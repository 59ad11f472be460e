"""Restoring a kept backup by hand: the page's commands, run for real."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.docs.pages import DOCS, section
from tests.testbed.site import Site

from crossfade import steps
from crossfade.drivers.databases.postgres.programs import find_programs
from crossfade.model import Run

PAGE = (DOCS / "how-to" / "restore-a-backup.md").read_text(encoding="utf-8")
Make = Callable[..., Site]


def on_page(heading: str) -> list[list[str]]:
    """The commands below a heading, as words."""
    return [
        shlex.split(line[2:]) for line in section(PAGE, heading).splitlines() if line[:1] == "$"
    ]


def shape(command: list[str]) -> list[str]:
    """A command without what is a site's own: the values of its options, and places."""
    words = [re.sub(r"=.*", "=", word) if word[:1] == "-" else word for word in command]
    return [word for word in words if not re.search(r"restored$|^RESTORED/", word)]


@pytest.mark.parametrize(("kind", "heading"), [("sqlite", "SQLite"), ("postgres", "PostgreSQL")])
def test_restored_by_hand(make_site: Make, kind: str, heading: str, tmp_path: Path) -> None:
    """backup.json has the page's commands with the site's own values; they give back every row."""
    site = make_site(database=kind, notes=20, uploads=2)
    work = site.wired().begin(Run.CUTOVER)
    steps.backup.run(work)
    steps.backup.undo(work)  # what was proven stays
    (kept,) = site.run("backups", "--json").json
    commands = [shlex.split(text) for text in kept["databases"]["main"]["restore"]]
    assert [shape(c) for c in commands] == [shape(c) for c in on_page(heading)]
    environment = dict(os.environ)
    if site.pair:
        server, programs = site.pair.old, find_programs().directory
        password = server.secret_of(server.admin).read_text().strip()
        environment |= {"PGPASSWORD": password, "PATH": f"{programs}:{environment['PATH']}"}
    (tmp_path / "RESTORED").mkdir()
    for command in commands:
        words = [word.replace("RESTORED/", f"{tmp_path}/RESTORED/") for word in command]
        subprocess.run(words, cwd=kept["path"], env=environment, check=True)
    assert notes(site, commands, tmp_path) == 20


def notes(site: Site, commands: list[list[str]], place: Path) -> int:
    """How many notes the restored database has."""
    if site.pair:
        name = commands[0][-1]
        ((count,),) = site.pair.old.sql("select count(*) from note", database=name)
        site.pair.old.sql(f'drop database "{name}"', database="postgres")
    else:
        with contextlib.closing(sqlite3.connect(place / "RESTORED" / "notes.db")) as db:
            ((count,),) = db.execute("select count(*) from note").fetchall()
    return int(count)


def test_every_command_is_known() -> None:
    """MariaDB's are those of backup.json as well."""
    from crossfade.drivers.databases.mysql.kept import by_hand
    from crossfade.model import Address, Endpoint

    there = Endpoint("mysql", Address("h", 1), "synapse", "", "", "root", "", Path())
    commands = [list(command) for command in by_hand(there, "main.sql.gz")]
    assert [shape(c) for c in commands] == [shape(c) for c in on_page("MariaDB")]
