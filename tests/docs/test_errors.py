"""The page of errors has every error, and no other."""

from __future__ import annotations

from collections.abc import Mapping

from tests.docs.codes import codes_in_source
from tests.docs.pages import DOCS, table

from crossfade import errors


def _rows() -> Mapping[str, list[str]]:
    rows = [row for row in table((DOCS / "reference" / "errors.md").read_text()) if len(row) == 3]
    found = {row[0].strip("`"): row for row in rows}
    assert len(found) == len(rows), "a code has two rows"
    return found


def test_every_code_has_a_row() -> None:
    """Whatever code the program can print is on the page."""
    missing = {code: place for code, place in codes_in_source().items() if code not in _rows()}
    assert missing == {}


def test_no_row_without_a_code() -> None:
    """The page names no code that the program does not have."""
    assert _rows().keys() - codes_in_source().keys() == set()


def test_every_row_says_what_and_what_to_do() -> None:
    """No cell of a row is empty."""
    assert [code for code, row in _rows().items() if not all(row)] == []


def test_exit_codes_are_those_of_the_errors() -> None:
    """The page of exit codes has 0, 1 and the exit code of every class of errors."""
    rows = table((DOCS / "reference" / "exit-codes.md").read_text())
    classes = [getattr(errors, name) for name in errors.__all__]
    assert {int(row[0].strip("`")) for row in rows} == {0, 1, *(c.exit_code for c in classes)}
