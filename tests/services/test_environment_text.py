"""Variables as systemd reads them.  That it does so is tested on a machine that has it."""

from __future__ import annotations

import pytest

from crossfade.drivers.services.environment_text import Variable, in_directive, in_file
from crossfade.drivers.services.unit_text import environment_file


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("A=b\n# B=c\n; C=d\n\n D = e  \n", [("A", "b", 1), ("D", "e", 5)]),
        ("A=\"x y\" z \nB='it''s'\n", [("A", "x yz", 1), ("B", "its", 2)]),
        ("A=one \\\n  two\nB=a\\ \\\\b\n", [("A", "one   two", 1), ("B", "a \\b", 3)]),
        ('A="q\\"\\$w\\n\nnext"\nB=1\n', [("A", 'q"$w\\n\nnext', 1), ("B", "1", 3)]),
        ('A=a"b"\nB=\nC', [("A", 'a"b"', 1), ("B", "", 2)]),
        ("export A=1\n2B=1\nno sense\nC=x=y", [("C", "x=y", 4)]),
        ("A='$HOME' \"%n\"\n", [("A", "$HOME%n", 1)]),
    ],
)
def test_a_file(text: str, wanted: list[tuple[str, str, int]]) -> None:
    """Quotes, backslashes, comments, and what is no variable."""
    assert in_file(text) == [Variable(*one) for one in wanted]


def test_what_is_written_is_read_again() -> None:
    """Whatever a value is, it comes back."""
    values = {"A": "plain", "B": "a\"b'c\\d$e`f", "C": " x \n y\t", "D": "", "E": "#;=%"}
    found = in_file(environment_file(values))
    assert {one.name: one.value for one in found} == values


def test_a_directive() -> None:
    """Words, each of which may be quoted as a whole or in part."""
    found = in_directive('A=1 "B=x y" \'C=50%%\' D="q w" E=\\x41\\t no-name=1 nothing')
    wanted = {"A": "1", "B": "x y", "C": "50%", "D": "q w", "E": "A\t"}
    assert {one.name: one.value for one in found} == wanted
