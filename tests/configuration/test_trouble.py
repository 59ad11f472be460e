"""Configuration files as they should not be, at the command line: each is carried rightly, or it is
refused with the four sentences while the old side serves, untouched."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.testbed.site import Site
from tests.testbed.stocked import decisions, has, stocked_site_at
from tests.trouble.test_trouble import explained

from crossfade.model import Run

Spoil = Callable[[Path, str], object]
"""Puts something in the file's place, which had this text."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site that was rehearsed, so that both versions are installed."""
    with stocked_site_at(tmp_path_factory.mktemp("trouble")) as site:
        site.run("rehearse")
        yield site


@pytest.fixture
def site(shared: Site) -> Iterator[Site]:
    """The same with its own configuration, which it has again afterwards."""
    file = config(shared)
    before = file.read_bytes()
    yield shared
    if file.is_dir() and not file.is_symlink():
        file.rmdir()
    file.unlink(missing_ok=True)
    file.write_bytes(before)
    decisions(shared).unlink(missing_ok=True)
    assert shared.version() == "1.0"


def config(site: Site) -> Path:
    """The old side's file."""
    return site.data / "notes.yaml"


def stands(site: Site) -> dict[str, tuple[object, ...]]:
    """All of the old side: kinds, rights, bytes and times.  Not the database's shared memory, which
    is no file's content."""
    found: dict[str, tuple[object, ...]] = {}
    for root in (site.data, site.directory / "app1"):
        for path in sorted(root.rglob("*")):
            seen = path.lstat()
            plain = path.is_file() and not path.is_symlink() and os.access(path, os.R_OK)
            digest = hashlib.sha256(path.read_bytes()).hexdigest() if plain else ""
            if not path.name.endswith("-shm"):
                found[str(path)] = (seen.st_mode, seen.st_mtime_ns, seen.st_size, digest)
    return found


def appended(text: str) -> Spoil:
    """More lines at the end."""
    return lambda file, before: file.write_text(before + text)


def instead(before: str, after: str) -> Spoil:
    """Another text in the place of one."""

    def spoil(file: Path, text: str) -> None:
        assert before in text
        file.write_bytes(text.replace(before, after).encode("latin-1"))

    return spoil


def linked(target: str) -> Spoil:
    """A link in the file's place."""

    def spoil(file: Path, text: str) -> None:
        file.unlink()
        file.symlink_to(target)

    return spoil


def a_directory(file: Path, text: str) -> None:
    """A directory in the file's place."""
    file.unlink()
    file.mkdir()


REFUSED: dict[str, tuple[Spoil, str, str]] = {
    "does not parse": (
        appended("broken: [1, 2\nmore: 1\n"),
        "configuration-refused",
        "it is no YAML that parses",
    ),
    "duplicate key": (
        appended("theme: one\ntheme: two\n"),
        "configuration-refused",
        "the key theme is there twice",
    ),
    "tab": (
        appended("menu:\n\tfirst: 1\n"),
        "configuration-refused",
        "a tab stands where YAML allows only spaces",
    ),
    "Latin-1": (instead("ours", "caf\xe9"), "configuration-refused", "it is not UTF-8 text"),
    "20 MB": (
        appended(f"# {'x' * 20_000_000}\n"),
        "configuration-refused",
        "it is larger than 5 MB",
    ),
    "included by tag": (
        appended("more: !include more.yaml\n"),
        "configuration-refused",
        "has a tag that is not plain data",
    ),
    "link to itself": (linked("notes.yaml"), "file-unreadable", "Too many levels"),
    "link to nothing": (linked("gone.yaml"), "file-unreadable", "No such file"),
    "directory": (a_directory, "file-unreadable", "Is a directory"),
    "gone": (lambda file, text: file.unlink(), "file-unreadable", "No such file"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(site: Site, name: str) -> None:
    """It says what is wrong and where, that the old side serves and what to do next; nothing of the
    old side is touched, and it takes seconds at most."""
    spoil, code, reason = REFUSED[name]
    file = config(site)
    spoil(file, file.read_text())
    before, began = stands(site), time.monotonic()
    result = site.run("rehearse", ok=False)
    assert time.monotonic() - began < 20
    explained(result, code, 4)
    if name == next(iter(REFUSED)):
        assert site.run("config", "plan", ok=False).err == result.err
    assert reason in result.err
    assert str(file) in result.err
    assert "now:  Nothing was changed." in result.err
    assert "The old side (1.0) serves" in result.err
    assert "next: crossfade config plan   (first " in result.err
    assert stands(site) == before


def test_not_ours_to_read(site: Site) -> None:
    """A file that may not be read is named."""
    config(site).chmod(0)
    before = stands(site)
    rights = "-dac_override,-dac_read_search"  # root reads everything, so without that right
    without = ("setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}")
    result = site.run("rehearse", ok=False, before=without if os.getuid() == 0 else ())
    explained(result, "file-unreadable", 4)
    assert f"{config(site)} cannot be read: Permission denied" in result.err
    assert stands(site) == before


@pytest.mark.parametrize("line", ["!include more.yaml", "include: ./parts/"])
def test_what_is_included_must_come(site: Site, line: str) -> None:
    """What a file includes from beside it would be missing on the new side: it is named.  Where
    nothing of that name is there, the line means something else."""
    line = line if line.startswith("include") else f"text: |\n  {line}"
    appended(f"{line}\n")(config(site), config(site).read_text())
    assert site.run("config", "plan").code == 0
    (site.data / "more.yaml").write_text("more: 1\n")
    (site.data / "parts").mkdir()
    try:
        before = stands(site)
        shown = site.run("config", "plan", ok=False)
        assert (shown.code, "problem: what the carried files include" in shown.out) == (4, True)
        result = site.run("rehearse", ok=False)
        explained(result, "configuration-unproven", 4)
        assert f"not carried: {line.split()[-1]} (notes.yaml:" in result.err
        assert "The old side (1.0) serves" in result.err
        assert stands(site) == before
    finally:
        (site.data / "more.yaml").unlink()
        (site.data / "parts").rmdir()


@pytest.mark.parametrize(
    "lines",
    [
        "limits: &all {burst: 1}\nmore:\n  <<: *all\n  rate: 2\n",
        "first: &word text\nsecond: *word\n",
    ],
    ids=["merge key", "alias"],
)
def test_what_is_shared_is_asked(site: Site, lines: str) -> None:
    """Text that stands for several places cannot be moved with proof: a person decides.  Yours,
    whole or not at all, is what the application reads then."""
    appended(lines)(config(site), config(site).read_text())
    before = stands(site)
    shown = site.run("config", "plan", ok=False)
    assert (shown.code, "NEED YOU" in shown.out) == (3, True)
    result = site.run("rehearse", ok=False)
    explained(result, "configuration-questions", 3)
    assert "The old side (1.0) serves" in result.err
    assert stands(site) == before
    text = decisions(site).read_text()
    answer = "yours" if "merge" in shown.out or "<<" in shown.out else "new"
    decisions(site).write_text(text.replace('choose = ""', f'choose = "{answer}"'))
    assert site.run("config", "plan").code == 0
    assert (lines in rendered(site)) is (answer == "yours")


def rendered(site: Site) -> str:
    """The file as the new side would get it, without what belongs to a side."""
    work = site.wired().begin(Run.CUTOVER)
    new = work.new.installation
    files = work.configuration.render(new).files
    text = files[str(new.config / "notes.yaml")][0].decode()
    places = ((str(new.data), "DATA"), (str(new.inside), "ADDRESS"))
    for place, word in places:
        assert place in text
        text = text.replace(place, word)
    return text


STOCK = (
    "# Notes, version 2\nlisten: ADDRESS\ndatabase: DATA/notes.db\njournal: wal\n"
    "uploads: DATA/uploads\nsecret_key: planted-secret-4711\n"
    "# On a page.\npage: 25\nmotd: ours\ntheme: light\n"
)
CARRIED: dict[str, tuple[Callable[[str], str], str]] = {
    "byte order mark": (lambda text: "\ufeff" + text, STOCK),
    "CRLF": (lambda text: text.replace("\n", "\r\n"), STOCK),
    "values of several lines": (
        lambda text: (
            text.replace("motd: ours\n", "motd: |\n  one\n\n    two\nfold: >-\n  a\n  b\n")
            + 'quoted: "a\n  b"\n'
        ),
        STOCK.replace("motd: ours\n", "motd: |\n  one\n\n    two\nfold: >-\n  a\n  b\n").replace(
            "theme:", 'quoted: "a\n  b"\ntheme:'
        ),
    ),
    "values of several lines, CRLF": (
        lambda text: text.replace("motd: ours\n", "motd: |\n  one\n  two\n").replace("\n", "\r\n"),
        STOCK.replace("motd: ours\n", "motd: |\n  one\n  two\n"),
    ),
    "no line end": (lambda text: text.removesuffix("\n"), STOCK),
    "quotes": (
        lambda text: text.replace("motd: ours", "motd: 'it''s: #1'"),
        STOCK.replace("motd: ours", "motd: 'it''s: #1'"),
    ),
    "comment with a secret": (
        lambda text: (
            text + "# the password was planted-in-a-comment\nadded: 1   # planted-in-a-comment\n"
        ),
        STOCK.replace(
            "theme:",
            "# the password was planted-in-a-comment\nadded: 1\ntheme:",
        ),
    ),
}


@pytest.mark.parametrize("name", CARRIED)
def test_carried(site: Site, name: str) -> None:
    """The new version's text with what is ours in it, in its line ends and without a mark; the old
    side keeps its own, and no comment is shown."""
    ours, expected = CARRIED[name]
    file = config(site)
    file.write_bytes(ours(file.read_text()).encode())
    before = stands(site)
    shown = site.run("config", "plan")
    assert "nothing is open" in shown.out
    assert "planted" not in shown.out + shown.err
    assert rendered(site) == expected
    assert stands(site) == before


def test_a_link_to_the_file(site: Site) -> None:
    """What a link leads to is carried, as a file of its own."""
    file = config(site)
    file.rename(site.data / "real.yaml")
    try:
        file.symlink_to("real.yaml")
        before = stands(site)
        assert site.run("config", "plan").code == 0
        assert rendered(site) == STOCK
        assert stands(site) == before
    finally:
        (site.data / "real.yaml").unlink()


def test_answers_for_other_values(site: Site) -> None:
    """They are not taken, they are not lost, and the question is asked again."""
    has(site, page=50)
    assert site.run("config", "plan", ok=False).code == 3
    text = decisions(site).read_text()
    decisions(site).write_text(text.replace('choose = ""', 'choose = "yours"'))
    assert site.run("config", "plan").code == 0
    has(site, page=60)
    before = stands(site)
    explained(site.run("rehearse", ok=False), "configuration-questions", 3)
    assert stands(site) == before
    kept = decisions(site).read_text()
    assert kept.count("[[decision]]") == 2
    assert "# Given for other values than there are now.\n" in kept
    has(site, page=50)
    assert site.run("config", "plan").code == 0
    assert "page: 50\n" in rendered(site)


def test_another_answer_after_the_rehearsal(site: Site) -> None:
    """What was rehearsed is what is done: with another value than the rehearsal had, the cutover is
    refused before anything is changed."""
    has(site, page=50)
    site.run("config", "plan", ok=False)
    text = decisions(site).read_text()
    for value in (30, 31):
        given = text.replace('choose = ""', f'choose = "value"\nvalue = {value}')
        decisions(site).write_text(given)
        assert f"page: {value}\n" in rendered(site)
        if value == 30:
            site.run("rehearse")
    before = stands(site)
    result = site.run("cutover", "--yes", ok=False)
    explained(result, "plan-changed", 3)
    assert "decisions: " in result.err
    assert "The old side (1.0) serves" in result.err
    assert stands(site) == before


def test_a_file_of_answers_that_is_none(site: Site) -> None:
    """A broken file of answers stops everything, and is left as it is."""
    has(site, page=50)
    decisions(site).write_text("[[decision\n")
    before = stands(site)
    for verb in (("config", "plan"), ("rehearse",)):
        result = site.run(*verb, ok=False)
        assert (result.code, "error: decisions-invalid" in result.err) == (2, True)
        assert f"next: edit {decisions(site)}, then: crossfade config plan" in result.err
        assert "The old side (1.0) serves" in result.err
    assert decisions(site).read_text() == "[[decision\n"
    assert stands(site) == before


def test_undo(site: Site) -> None:
    """An answer is taken back by its setting's name, or all are: the question is open again."""
    has(site, page=50)
    site.run("config", "plan", ok=False)
    for words in (("undo", "page"), ("undo", "--all")):
        text = decisions(site).read_text()
        decisions(site).write_text(text.replace('choose = ""', 'choose = "yours"'))
        assert site.run("config", "plan").code == 0
        undone = site.run("config", *words)
        assert "taken back: notes.yaml page\n" in undone.out
        assert site.run("config", "plan", ok=False).code == 3
    assert 'choose = ""' in decisions(site).read_text()
    result = site.run("config", "undo", "page", ok=False)
    assert (result.code, "No answer is about a setting called page" in result.err) == (2, True)
    assert site.run("config", "undo", ok=False).code == 2


def test_by_hand_on_the_new_side(shared: Site) -> None:
    """Files that somebody put where the new side will be are nobody's to overwrite: refused before
    anything is changed, the command to move them away is named, and they stay."""
    place = shared.directory / "new"
    place.mkdir()
    (place / "notes.yaml").write_text("by: hand\n")
    before = stands(shared)
    try:
        result = shared.run("cutover", "--yes", ok=False)
        assert (result.code, "error: new-place-in-use" in result.err) == (4, True)
        assert f"next: mv {place} {place}.away" in result.err
        assert "The old side (1.0) serves" in result.err
        assert (place / "notes.yaml").read_text() == "by: hand\n"
        assert stands(shared) == before
    finally:
        (place / "notes.yaml").unlink()
        place.rmdir()
