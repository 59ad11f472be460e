"""What the documentation says about the command line is what the parser takes."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from tests.docs.pages import DOCS, PAGES, ROOT, code, section

from crossfade import cli

REFERENCE = DOCS / "reference" / "cli.md"
COMMON = {"-h", "--help", "-f", "--file", "--json", "--no-input", "--dry-run", "-y", "--yes"}


@cache
def _verbs() -> dict[str, argparse.ArgumentParser]:
    """The real parser of every verb."""
    for action in cli._parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    raise AssertionError("no verbs")


def _options(parser: argparse.ArgumentParser) -> set[str]:
    return {word for action in parser._actions for word in action.option_strings}


def _own_words(parser: argparse.ArgumentParser) -> Iterator[str]:
    """What only this verb has: its options, and the words that may follow it."""
    for action in parser._actions:
        yield from (word for word in action.option_strings if word not in COMMON)
        yield from (str(word) for word in action.choices or ())


def _commands(text: str) -> Iterator[list[str]]:
    """Every ``crossfade …`` in the code of a page, as words."""
    for line in code(text):
        for found in re.finditer(r"(?:^|[\s/(])crossfade ((?:[-\w.]|\[| |\||\])+)", line):
            yield re.sub(r"[\[\]]", "", found[1].partition("#")[0].partition("   ")[0]).split()


@pytest.mark.parametrize("verb", cli.VERBS)
def test_every_verb_is_told(verb: str) -> None:
    """Its section has its options and words, and names no other."""
    text = section(REFERENCE.read_text(), verb)
    words = set(_own_words(_verbs()[verb]))
    spans = " ".join(re.findall(r"`([^`]+)`", text))
    assert {word for word in words if not re.search(rf"(?<![\w-]){word}(?![\w-])", spans)} == set()
    named = {word for word in re.findall(r"(?<![\w-])--?[a-z][-a-z]*", spans) if word != "--json"}
    assert named <= _options(_verbs()[verb])


def test_no_section_without_a_verb() -> None:
    """The page has the sections of the verbs, in the parser's order, after the common one."""
    found = re.findall(r"^## (.+)$", REFERENCE.read_text(), re.MULTILINE)
    assert found == ["Options of all verbs", *cli.VERBS]


def test_common_options() -> None:
    """The first section has the options that verbs share, and each verb has the ones it says."""
    text = section(REFERENCE.read_text(), "Options of all verbs")
    assert {word for word in COMMON if f"`{word}" not in text} == set()
    for verb, parser in _verbs().items():
        assert ("--file" in _options(parser)) == (verb not in ("schema", "demo")), verb
        assert {"--json", "--no-input"} <= _options(parser), verb


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_exists(page: Path) -> None:
    """Each ``crossfade VERB --option`` in the documentation is one that the parser takes."""
    for words in _commands(page.read_text()):
        verb, *rest = words
        if verb.startswith("-"):
            assert verb in ("--help", "--version"), words
            continue
        parser = _verbs().get(verb)
        assert parser is not None, words
        for word in rest:
            if word.startswith("-"):
                assert word in _options(parser), words
        choices = [action.choices for action in parser._actions if not action.option_strings]
        if choices and rest:
            assert set(rest[0].split("|")) <= set(choices[0] or ()), words


def test_every_option_in_code_exists() -> None:
    """An option that stands alone in the documentation is one of ours, or of the gate's process."""
    gate = (ROOT / "src/crossfade/gateway/__main__.py").read_text()
    known = {"--version", *re.findall(r'"(--[a-z-]+)"', gate)}
    known |= {word for parser in _verbs().values() for word in _options(parser)}
    named = {
        (page.name, span.split()[0])
        for page in PAGES
        for span in re.findall(r"`(--[^`]+)`", page.read_text())
    }
    others = {"--require-hashes", "--default-artifact-root"}  # of pip and of MLflow
    assert {each for each in named if each[1].partition("=")[0] not in known | others} == set()


def test_the_commands_are_seen() -> None:
    """The documentation is really searched: it has many commands, with options among them."""
    words = [words for page in PAGES for words in _commands(page.read_text())]
    assert len(words) > 80
    assert ["rollback", "--yes", "--accept-loss"] in words
    assert ["gate", "start|status|metrics|release|stop|install|remove"] in words
