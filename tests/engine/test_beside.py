"""Doing things beside others: their results and errors, and what is left out."""

from __future__ import annotations

import threading

import pytest

from crossfade.steps._beside import all_beside, beside


def test_what_is_done_beside_gives_its_result_or_its_error() -> None:
    """Whoever asks waits for it."""

    def fails() -> int:
        raise KeyError("so")

    with all_beside({"a": lambda: 1, "b": fails}) as done:
        assert done["a"]() == 1
        with pytest.raises(KeyError):
            done["b"]()
    with beside(lambda: 2) as seen:
        assert seen() == 2


def test_when_the_other_fails_nothing_more_is_begun() -> None:
    """What runs already ends."""
    began, go, seen = threading.Event(), threading.Event(), []

    def first() -> None:
        began.set()
        go.wait(20)
        seen.append("first")

    def both() -> None:
        with all_beside({"first": first, "second": lambda: seen.append("second")}):
            began.wait(20)
            threading.Timer(0.2, go.set).start()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        both()
    assert seen == ["first"]
