"""Each text is read once in a merge, and quicker than PyYAML reads, with the same result."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from crossfade.merge import merge_files
from crossfade.merge._once import once, remembering
from crossfade.merge.formats import _yaml_compose, _yaml_nodes

CALLS: list[int] = []


@once
def halved(number: int) -> int:
    """What is asked for several times; odd numbers are refused."""
    CALLS.append(number)
    if number % 2:
        raise ValueError("odd")
    return number // 2


def test_once_while_remembering() -> None:
    """Outside of it, and after it, everything is done again; so is what raised."""
    CALLS.clear()
    assert (halved(4), halved(4)) == (2, 2)
    for _ in range(2):
        with remembering():
            assert (halved(4), halved(6), halved(4)) == (2, 3, 2)
            with remembering():
                assert halved(4) == 2
            for _ in range(2):
                with pytest.raises(ValueError, match="odd"):
                    halved(3)
    assert CALLS == [4, 4, 4, 6, 3, 3, 4, 6, 3, 3]


def test_a_merge_reads_each_text_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The three texts, and no other unless something is taken out."""
    read = []

    def counted(text: str) -> Any:
        read.append(text)
        return _yaml_compose.composed(text)

    monkeypatch.setattr(_yaml_nodes, "composed", counted)
    base, user, new = "a: 1\nb: 1\n", "a: 2\nb: 1\n", "a: 1\nb: 1\nc: 1\n"
    merge = merge_files("x.yaml", base.encode(), user.encode(), new.encode())
    assert merge.render().content == b"a: 2\nb: 1\nc: 1\n"
    assert sorted(read) == sorted([base, user, new])


def tokens(loader: Any) -> list[object]:
    """What a parser of PyYAML makes of a text, with all places, up to where it stops."""
    found: list[object] = []
    try:
        while loader.check_event():
            event = loader.get_event()
            marks = (event.start_mark, event.end_mark)
            places = [(mark.index, mark.line, mark.column) for mark in marks]
            found.append((type(event), getattr(event, "value", None), places))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        found.append((error.problem, (mark.index, mark.line, mark.column) if mark else None))
    return found


_PIECES = st.sampled_from(
    [
        *("a", "key: ", "- ", "? ", "#", " #c", " ", "  ", "\n", "\r\n", "\r", "\x85", "\u2028"),
        *("\u2029", "\ufeff", "\t", "'", '"', "|\n", ">-\n", "[", "]", "{", "}", ", ", ": ", "&x "),
        *("*x", "!t ", "é", "\xa0", "# \ufeff c\n", "---\n", "...\n", "<<: ", "plain words here"),
    ]
)


@given(st.lists(_PIECES, max_size=40).map("".join))
@example("\ufeff# c\r\na: 1 # c\r\n\r\n  # d\r\nb: [1, # e\r\n 2]\r\n# end")
@example("a: 'x\r\n  y' # c\n# no line end")
@example("k:\n  - a # \ufeff\n\x85\u2028b")
def test_quick_is_the_same(text: str) -> None:
    """Every event, its value and its places are PyYAML's own, and so are its errors."""
    assert tokens(_yaml_compose._Quick(text)) == tokens(yaml.SafeLoader(text))
