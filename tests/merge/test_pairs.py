"""Real templates of two versions, customised by many administrators, against the truth.

The law: no setting is ever wrong.  The floor: at least 94 % of the files where nothing has to be
decided finish without a question.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.merge.measured import WAYS, Outcome, administrated, measured
from tests.merge.pairs import PAIRS, Pair
from tests.merge.truth import Truth
from tests.testbed import WHOLE

from crossfade.merge import Verdict, merge_files

ADMINISTRATORS = 40 if WHOLE else 5
FLOOR = 0.94


@pytest.mark.timeout(1800)
def test_no_merge_is_wrong_and_few_ask_without_need() -> None:
    """Every pair, with administrators who edit by keys and by lines."""
    wrong: list[str] = []
    counted = finished = 0
    for where, outcome in _outcomes():
        wrong += [f"{where}: {setting}" for setting in outcome.wrong]
        if not outcome.conflicts:
            counted += 1
            finished += not outcome.needless
    assert wrong == []
    assert counted >= ADMINISTRATORS * len(PAIRS)
    assert finished / counted >= FLOOR, f"{finished} of {counted}"


def _outcomes() -> Iterator[tuple[str, Outcome]]:
    for pair in PAIRS:
        for way in WAYS:
            for number in range(ADMINISTRATORS):
                outcome = measured(pair, administrated(pair, way, number))
                yield f"{pair.name}, {way} {number}", outcome


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
def test_an_untouched_template_becomes_the_new_one(pair: Pair) -> None:
    """Both versions are read by one format; a file that nobody touched is the new version's."""
    old, new = (text.encode() for text in pair.texts())
    found = merge_files(pair.file, old, old, new)
    assert found.format not in (None, "lines")
    assert {judged.verdict for judged in found.judged} <= {Verdict.KEPT_NEW}
    assert found.render().content == new


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
def test_merging_the_result_again_changes_nothing(pair: Pair) -> None:
    """merge(b, result, n) is the result to the byte, and merge(b, u, b) has your settings."""
    old, new = pair.texts()
    for way in WAYS:
        user = administrated(pair, way, 0)
        truth = Truth(pair.kind, old, user, old)
        same_version = merge_files(pair.file, old.encode(), user.encode(), old.encode())
        assert truth.wrong(same_version.render().content.decode()) == []
        found = merge_files(pair.file, old.encode(), user.encode(), new.encode())
        if not found.questions:
            result = found.render().content
            again = merge_files(pair.file, old.encode(), result, new.encode())
            assert again.render().content == result
