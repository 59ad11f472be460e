"""The merge by lines: no marker, and nothing lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfade.merge._text import clean_merge, diff3

TEXTS = st.lists(st.sampled_from("abcdef#"), max_size=12).map(
    lambda lines: "".join(f"{line}\n" for line in lines)
)


@pytest.mark.parametrize(
    ("base", "user", "new", "expected"),
    [
        ("a\nb\nc\n", "a\nb\nc\n", "a\nB\nc\n", "a\nB\nc\n"),
        ("a\nb\nc\n", "A\nb\nc\n", "a\nb\nC\n", "A\nb\nC\n"),
        ("a\nb\nc\n", "a\nc\n", "a\nb\nc\nd\n", "a\nc\nd\n"),
        ("a\nb\nc\n", "a\nx\nb\nc\n", "a\nb\ny\nc\n", "a\nx\nb\ny\nc\n"),
        ("a\nb\nc\n", "a\nB\nc\n", "a\nB\nc\nd\n", "a\nB\nc\nd\n"),
        ("a\nb\nc\n", "a\nx\nc\n", "a\ny\nc\n", None),
        ("a\nb\nc\n", "a\nc\n", "a\ny\nc\n", None),
        ("a\nb\n", "a\nb\nx\n", "a\nb\ny\n", None),
        ("a\nb\nc\n", "a\nX\nc\n", "a\nb\nC\n", None),  # neighbours: nothing stands between
        ("", "x\n", "", "x\n"),
        ("", "x\n", "y\n", None),
        ("a\nb", "a\nb", "z\na\nb", "z\na\nb"),
        ("a\nb", "a\nb\nc\n", "z\na\nb", "z\na\nb\nc\n"),
        ("a\nb\n", "a\r\nb\n", "a\nb\nc\n", "a\r\nb\nc\n"),
    ],
)
def test_clean_pieces_are_merged(base: str, user: str, new: str, expected: str | None) -> None:
    """Each row: the result, or None where both sides changed one place differently."""
    assert clean_merge(base, user, new) == expected


def test_a_conflict_is_one_piece_with_its_line() -> None:
    """What is not clean has the three parts and the line in the user's text; the rest is done."""
    pieces = diff3("a\nb\nc\nd\n", "0\na\nx\nc\nd\n", "a\ny\nc\nD\n")
    open_ones = [piece for piece in pieces if piece.result is None]
    assert [(one.base, one.user, one.new, one.line) for one in open_ones] == [
        ("b\n", "x\n", "y\n", 3)
    ]
    assert [piece.result for piece in pieces] == ["0\n", "a\n", None, "c\n", "D\n"]


@given(base=TEXTS, user=TEXTS, new=TEXTS)
def test_property_the_pieces_are_the_texts(base: str, user: str, new: str) -> None:
    """Nothing of any side is lost, and there is no marker that no side had."""
    pieces = diff3(base, user, new)
    assert "".join(piece.base for piece in pieces) == base
    assert "".join(piece.user for piece in pieces) == user
    assert "".join(piece.new for piece in pieces) == new
    merged = clean_merge(base, user, new)
    assert merged is None or set(merged) <= {*base, *user, *new}


@given(base=TEXTS, other=TEXTS)
def test_property_one_changed_side_is_the_result(base: str, other: str) -> None:
    """Where only one side changed anything, that side is the result; so it is where both agree."""
    assert clean_merge(base, base, other) == other
    assert clean_merge(base, other, base) == other
    assert clean_merge(base, other, other) == other


@given(base=TEXTS, user=TEXTS, new=TEXTS)
def test_property_both_sides_are_equal(base: str, user: str, new: str) -> None:
    """Exchanging yours and the new version's gives the same text, or none."""
    assert clean_merge(base, user, new) == clean_merge(base, new, user)


@given(base=TEXTS, user=TEXTS, new=TEXTS)
def test_property_merging_again_changes_nothing(base: str, user: str, new: str) -> None:
    """The result, merged as yours, is the result."""
    merged = clean_merge(base, user, new)
    if merged is not None:
        again = clean_merge(base, merged, new)
        assert again in (merged, None)


def test_a_large_text_is_merged_in_time() -> None:
    """Twenty thousand lines, most of them alike, as a long example configuration has."""
    lines = [f"key{at} = {at}\n" if at % 5 == 0 else "#\n" for at in range(20_000)]
    user = [*lines[:7003], "mine = 1\n", *lines[7003:]]
    new = [line for at, line in enumerate(lines) if at % 1000] + ["news = 1\n"]
    merged = clean_merge("".join(lines), "".join(user), "".join(new))
    assert merged is not None
    assert merged.count("mine = 1\n") == merged.count("news = 1\n") == 1
