"""Databases on servers: what the manifest says of them, and what it must not say."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

import pytest
from tests.manifest.scratch import MANIFEST, complaints, write

from crossfade.drivers.databases.passfile import passfile_text
from crossfade.manifest import load
from crossfade.model import Address, Endpoint, Side
from crossfade.wiring import open_site

RECIPE = """\
application: notes
install: {driver: python, packages: ["notes=={version}"]}
service:
  driver: process
  command: ["{root}/bin/notes", "{main.url}"]
  environment: {PGPASSFILE: "{main.passfile}"}
health: {path: /health}
requires:
  - {what: it is a file, database: sqlite, when: {file: notes.yaml, key: file}}
  - {what: it is a server, database: postgres, when: {file: notes.yaml, key: server}}
databases:
  - {name: main, driver: sqlite, path: notes.db}
  - {name: main, driver: postgres, bookkeeping: [version], host_lists: true}
  - {name: main, driver: mysql}
"""
OLD = """\
  databases:
    main:
      url: postgresql://no%20tes@db.example:5433/N%C3%B6tes
      password: "file:pw"
      admin: postgres
      admin_password: "env:ADMIN"
"""
NEW = """\
  databases:
    main: {url: "postgresql://notes@10.0.0.6/notes", reached_at: "10.9.9.9:7000"}
"""

GIVEN = """\
  rehearsal:
    databases: {main: {url: "postgresql://notes@10.0.0.7/tries"}}
"""


def manifest(directory: Path, old: str = OLD, new: str = NEW) -> str:
    """A manifest of the recipe above with these databases."""
    (directory / "notes.yaml").write_text(RECIPE)
    text = MANIFEST.replace("application: synapse", "application: ./notes.yaml")
    text = text.replace("new:\n", old + "new:\n", 1)
    return text.replace("traffic:\n", new + "traffic:\n", 1)


def test_reads_endpoints(tmp_path: Path) -> None:
    """Both sides' databases arrive, with the defaults that people expect."""
    read = load(write(tmp_path, manifest(tmp_path)))
    old, new = read.old.databases["main"], read.new.databases["main"]
    assert (old.kind, old.address, old.database) == (
        "postgres",
        Address("db.example", 5433),
        "Nötes",
    )
    assert (old.user, old.admin, old.admin_password) == ("no tes", "postgres", "env:ADMIN")
    assert (new.address, new.reached_at) == (Address("10.0.0.6", 5432), Address("10.9.9.9", 7000))
    assert (new.password, new.admin, new.admin_password) == ("file:pw", "notes", "file:pw")
    rehearsal = read.rehearsal.databases["main"]
    for one in (old, new, rehearsal):
        assert (one.bookkeeping, one.host_lists) == (("version",), True)
    assert (rehearsal.database, rehearsal.address) == ("notes_rehearsal", new.address)
    assert [part.driver for part in read.recipe.databases] == ["postgres"]
    assert [need.what for need in read.recipe.requires] == ["it is a server"]


def test_without_an_entry_it_is_the_file(tmp_path: Path) -> None:
    """A site that says nothing of servers has its database in a file."""
    read = load(write(tmp_path, manifest(tmp_path, "", "")))
    assert [part.driver for part in read.recipe.databases] == ["sqlite"]
    assert [need.what for need in read.recipe.requires] == ["it is a file"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (OLD, "", "new.databases.main is missing"),
        ("", NEW, "old.databases.main is missing"),
        (OLD.replace("main:", "maim:"), NEW, "has no database maim"),
        (OLD, NEW.replace("postgresql:", "mysql:"), "of one kind on both sides"),
        (OLD.replace("//no%20tes@", "//no:pw@"), NEW, "without a password"),
        (OLD.replace("file:pw", "pw"), NEW, "a reference: env:NAME or file:path"),
        (OLD.replace("5433", "543300"), NEW, "must have host:port"),
        (NEW, NEW, "is the same database as old.databases.main"),
    ],
)
def test_complaints(tmp_path: Path, old: str, new: str, said: str) -> None:
    """What cannot be right is said, and where."""
    error = complaints(tmp_path, manifest(tmp_path, old, new))
    assert said in f"{error.what}\n{error.where}"


def test_rehearsal_is_as_the_recipe_says(tmp_path: Path) -> None:
    """Also in databases that the manifest names for it: it does what the cutover will do."""
    text = manifest(tmp_path).replace("  rehearsal:\n", GIVEN, 1)
    there = load(write(tmp_path, text)).rehearsal.databases["main"]
    assert (there.database, there.bookkeeping, there.host_lists) == ("tries", ("version",), True)


def test_list_of_hosts(tmp_path: Path) -> None:
    """What a program gets that is held: the door first, the database beyond it."""
    direct = load(write(tmp_path, manifest(tmp_path))).new.databases["main"]
    held = replace(direct, address=Address("127.0.0.1", 16001), beyond=direct.address)
    given = held.variables()
    assert (given["host"], given["port"]) == ("127.0.0.1,10.0.0.6", "16001,5432")
    assert given["url"] == "postgresql://notes@127.0.0.1:16001,10.0.0.6:5432/notes"
    assert given["sqlalchemy"].startswith(
        "postgresql+psycopg2://notes@/notes?host=127.0.0.1:16001&host=10.0.0.6:5432&passfile="
    )


def test_password_file(tmp_path: Path) -> None:
    """The application finds its password in a file of mode 0600, named by the database."""
    (tmp_path / "pw").write_text("se:cr\\et\n")
    text = manifest(tmp_path, OLD.replace('"env:ADMIN"', '"file:pw"')).replace(
        "env:TOKEN", "file:pw"
    )
    site = open_site(write(tmp_path, text))
    try:
        side = site.side(site.manifest.new, Side.NEW)
        endpoint = side.installation.databases["main"]
        assert endpoint.passfile.read_text() == "*:*:notes:notes:se\\:cr\\\\et\n"
        assert stat.S_IMODE(endpoint.passfile.stat().st_mode) == 0o600
        assert str(endpoint.passfile) in side.installation.variables()["main.sqlalchemy"]
        assert "se:cr" not in repr(side.service.command())
    finally:
        site.journal.close()


def test_option_file(tmp_path: Path) -> None:
    """MySQL's clients get an option file."""
    (tmp_path / "pw").write_text("geheim")
    address = Address("127.0.0.1", 3306)
    endpoint = Endpoint("mysql", address, "d", "u", "file:pw", "u", "file:pw", tmp_path)
    assert passfile_text(endpoint) == b'[client]\npassword="geheim"\n'
