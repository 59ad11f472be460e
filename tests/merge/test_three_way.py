"""Every row of the table of verdicts, and what holds for all texts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.merge.tiny import TINY, values

from crossfade.merge._apply import rendered, settled
from crossfade.merge._three_way import Merge, merge
from crossfade.merge._values import merged_list, same
from crossfade.merge._verdicts import Answer, Choice, Judged, Verdict
from crossfade.merge.formats.ini import Ini
from crossfade.merge.formats.yaml import Yaml

INI = Ini()
YAML = Yaml()


def merged(base: str | None, user: str, new: str) -> Merge:
    """The verdicts on three texts."""
    old = None if base is None else TINY.read(base)
    return settled(merge(old, TINY.read(user), TINY.read(new), TINY))


def only(base: str | None, user: str, new: str) -> Judged:
    """The one verdict on three texts."""
    (judged,) = merged(base, user, new).judged
    return judged


ROWS = [
    # base, user, new, verdict, whether it is a question, the text without answers
    ("a = 1\n", "a = 1\n", "a = 2\n", Verdict.KEPT_NEW, False, "a = 2\n"),
    ("a = 1\n", "a = 5\n", "a = 1\nb = 1\n", Verdict.CARRIED, False, "a = 5\nb = 1\n"),
    ("a = 1\n", "a = 2\n", "a = 2\nb = 1\n", Verdict.ALREADY, False, "a = 2\nb = 1\n"),
    ("a = 1\n", "a = 1\nb = 5\n", "a = 1\nc = 1\n", Verdict.ADDED, False, "a = 1\nc = 1\nb = 5\n"),
    ("#b = 1\nc = 1\n", "b = 5\nc = 1\n", "#b = 1\n", Verdict.ADDED, False, "#b = 1\nb = 5\n"),
    (
        "a = 1\n",
        "a = 1\nb = 5\n",
        "#b = 1\na = 1\n",
        Verdict.ADDED,
        False,
        "#b = 1\nb = 5\na = 1\n",
    ),
    ("a = 1\n", "", "a = 1\nb = 1\n", Verdict.REMOVED, False, "b = 1\n"),
    ("a = 1\n", "#a = 1\n", "a = 1\nb = 1\n", Verdict.REMOVED, False, "b = 1\n"),
    ("a = 1\n", "", "a = 2\n", Verdict.CONFLICT, True, None),
    ("a = 1\n", "a = 5\n", "a = 2\n", Verdict.CONFLICT, True, None),
    ("c = 1\n", "a = 5\nc = 1\n", "a = 2\nc = 1\n", Verdict.CONFLICT, True, None),
    ("c = 1\n", "a = 2\nc = 1\n", "a = 2\nc = 1\n", Verdict.ALREADY, False, "a = 2\nc = 1\n"),
    ("a = 1\n", "a = 5\n", "b = 1\n", Verdict.CONFLICT, True, None),
    ("#a = 1\n", "a = 5\n", "b = 1\n", Verdict.CONFLICT, True, None),
    ("a = 1\n", "a = 5\n", "#a = 1\n", Verdict.CONFLICT, True, None),
    ("a = 1\n", "", "b = 1\n", Verdict.ALREADY, False, "b = 1\n"),
    ("x.a = 1\n", "x.a = 5\n", "y.a = 1\n", Verdict.MOVED, True, None),
    ("#a = 1\n", "#a = 1\n", "#a = 2\n", Verdict.KEPT_NEW, False, "#a = 2\n"),
    ("#a = 1\n", "", "a = 2\n", Verdict.KEPT_NEW, False, "a = 2\n"),
    ("a = [x]\n", "a = [x, y]\n", "a = [x, z]\n", Verdict.CARRIED, False, "a = [x, z, y]\n"),
    ("a = [x]\n", "a = [y]\n", "a = [x, z]\n", Verdict.CONFLICT, True, None),
    ("a = {}\n", "a.b = 1\n", "a = {}\nc = 1\n", Verdict.ADDED, False, "c = 1\na.b = 1\n"),
    ("a.b = 1\n", "a = {}\n", "a.b = 1\nc = 1\n", Verdict.ADDED, False, "c = 1\na = {}\n"),
    ("a.b = 1\n", "a = {}\n", "a.b = 2\n", Verdict.CONFLICT, True, None),
    ("a = 1\n", "a = 5\n", "a.b = 1\n", Verdict.CONFLICT, True, None),
    ("a = 1\n", "a.b = 5\n", "a = 1\nc = 1\n", Verdict.CONFLICT, True, None),
    ("a.b = 1\n", "a.b = 5\n", "a = 1\n", Verdict.CONFLICT, True, None),
    ("a.b = 1\n", "a.b = 1\n", "a = 1\n", Verdict.KEPT_NEW, False, "a = 1\n"),
    (None, "a.b = 1\n", "a = 1\n", Verdict.NEEDS_REVIEW, True, None),
    ("c = 1\n", "c = 1\nb = !x\n", "c = 2\nb = {}\n", Verdict.CONFLICT, True, None),
    ("c = 1\n", "b = !x\nc = 1\n", "c = 1\nd = 1\n", Verdict.NEEDS_REVIEW, True, None),
    (None, "a = 1\n", "a = 2\n", Verdict.NEEDS_REVIEW, True, None),
    (None, "a = 1\n", "", Verdict.NEEDS_REVIEW, True, None),
    (None, "", "a = 1\n", Verdict.NEEDS_REVIEW, True, None),
]


@pytest.mark.parametrize(("base", "user", "new", "verdict", "question", "expected"), ROWS)
def test_row(
    base: str | None, user: str, new: str, verdict: Verdict, question: bool, expected: str | None
) -> None:
    """A row of the table: the verdict on the first setting, whether it is asked, and the text."""
    found = merged(base, user, new)
    judged = next(each for each in found.judged if each.verdict is verdict)
    assert judged.why
    assert judged.question == question
    if expected is not None:
        assert rendered(found, {}).text == expected


def test_what_all_have_alike_has_no_verdict() -> None:
    """Nothing is said of what nobody changed; the lists say what is new and what is gone."""
    found = merged("a = 1\nb = 1\n", "a = 1\nb = 1\n", "a = 1\nc = 1\n")
    assert found.judged == ()
    assert found.fresh == (("c",),)
    assert found.gone == (("b",),)


def test_what_is_gone_and_in_use_says_so() -> None:
    """A changed setting that the new version has no longer is marked; others are not."""
    assert only("a = 1\n", "a = 5\n", "").gone
    assert only("#a = 1\n", "a = 5\n", "").gone
    assert not only("", "a = 5\n", "").gone


def test_the_three_sides_are_told_also_where_they_are_comments() -> None:
    """A verdict has what each text says, on or commented, with its line."""
    judged = only("x = 1\n#a = 1\n", "x = 1\na = 5\n", "#a = 2\nx = 1\n")
    assert judged.verdict is Verdict.ADDED
    assert (judged.base and judged.base.raw, judged.base and judged.base.line) == ("1", 2)
    assert (judged.user and judged.user.raw, judged.user and judged.user.line) == ("5", 2)
    assert (judged.new and judged.new.raw, judged.new and judged.new.line) == ("2", 1)


@pytest.mark.parametrize(
    ("user", "new", "verdict", "text"),
    [
        ("z = 1\n", "l.[n].a = 1\nl.[n].b = 1\nz = 2\n", Verdict.REMOVED, "z = 2\n"),
        ("z = 1\n", "l.[n].a = 1\nl.[n].b = 2\nz = 2\n", Verdict.CONFLICT, None),
        ("z = 1\n", "l.[n].a = 1\nl.[n].b = 1\nl.[n].c = 1\n", Verdict.CONFLICT, None),
        ("l.[n].a = 5\nl.[n].b = 1\nz = 1\n", "z = 2\n", Verdict.CONFLICT, None),
    ],
)
def test_an_entry_is_taken_out_as_a_whole(
    user: str, new: str, verdict: Verdict, text: str | None
) -> None:
    """What one side took out of a list is one verdict; never is a part of an entry left."""
    found = merged("l.[n].a = 1\nl.[n].b = 1\nz = 1\n", user, new)
    judged = next(each for each in found.judged if each.path == ("l", "[n]"))
    assert judged.verdict is verdict
    assert not [each for each in found.judged if len(each.path) > 2]
    if text is not None:
        assert rendered(found, {}).text == text
    else:
        for choice, of in ((judged.choices[0], user), (judged.choices[1], new)):
            entries = values(rendered(found, {judged.path: Answer(choice)}).text)
            assert {key: value for key, value in entries.items() if key != "z"} == {
                key: value for key, value in values(of).items() if key != "z"
            }


def test_entries_stay_the_same_ones_when_their_names_change() -> None:
    """What names an entry is a setting too: one side may change it, or both, or the rest of it."""

    def listener(port: int, tls: str, more: str = "") -> str:
        return (
            f"listeners:\n  - port: {port}\n    tls: {tls}\n    type: http\n    bind: any\n{more}"
        )

    for user, new, expected in (
        (listener(8448, "no"), listener(8008, "no", "a: 1\n"), listener(8448, "no", "a: 1\n")),
        (listener(8008, "yes"), listener(9000, "no"), listener(9000, "yes")),
        (listener(9000, "yes"), listener(9000, "no"), listener(9000, "yes")),
    ):
        old, mine, news = (YAML.read(text) for text in (listener(8008, "no"), user, new))
        assert rendered(settled(merge(old, mine, news, YAML)), {}).text == expected
    old, mine, news = (YAML.read(listener(port, "no")) for port in (8008, 8448, 9000))
    both = merge(old, mine, news, YAML)
    assert [judged.path[-1] for judged in both.questions] == ["port"]


def test_a_move_needs_more_than_the_name() -> None:
    """The same name elsewhere is no move; value or neighbours have to agree, and one place only."""
    assert only("x.a = 1\n", "x.a = 5\n", "y.a = 2\n").moved_to is None
    assert only("x.a = 1\n", "x.a = 5\n", "y.a = 1\n").moved_to == ("y", "a")
    assert only("x.a = 1\n", "x.a = 5\n", "y.a = 1\nz.a = 1\n").moved_to is None
    neighbours = "x.a = 1\nx.b = 1\n", "x.a = 5\nx.b = 1\n", "y.a = 2\ny.b = 1\nz.a = 2\n"
    assert only(*neighbours).moved_to == ("y", "a")
    assert only("x.a = 1\ny.a = 1\n", "x.a = 5\ny.a = 1\n", "y.a = 1\n").moved_to is None


def test_a_move_is_preselected_only_where_the_lines_agree() -> None:
    """Two methods have to put it there; it stays a question."""
    by_value = only("x.a = 1\n", "x.a = 5\n", "y.a = 1\n")
    assert (by_value.preselected, by_value.question) == (None, True)

    base, user, new = (
        INI.read(f"[{section}]\n\na = {value}\nb = 1\n")
        for section, value in (("x", 1), ("x", 5), ("y", 1))
    )
    (judged,) = merge(base, user, new, INI).judged
    assert judged.verdict is Verdict.MOVED
    assert judged.moved_to == ("y", "a")
    assert judged.preselected is Choice.MOVE


def test_without_a_base_the_side_that_has_it_is_proposed() -> None:
    """What only one text has is proposed from that one, and yours where both have it."""
    found = merged(None, "a = 1\nb = 1\nd = 1\n", "a = 2\nc = 1\nd = 1\n")
    assert {judged.path: judged.preselected for judged in found.judged} == {
        ("a",): Choice.YOURS,
        ("b",): Choice.YOURS,
        ("c",): Choice.NEW,
    }
    assert all(judged.question for judged in found.judged)


@pytest.mark.parametrize(
    ("base", "user", "new", "expected"),
    [
        ("ab", "abx", "yab", "yabx"),
        ("ab", "xab", "yab", "yxab"),
        ("ab", "abxy", "abz", "abzxy"),
        ("ab", "axb", "aby", "axby"),
        ("abc", "ab", "abcd", "abd"),
        ("abc", "ab", "bc", "b"),
        ("abc", "abcd", "ab", "abd"),
        ("abc", "abcd", "abcd", "abcd"),
        ("", "x", "y", "yx"),
        ("ab", "bax", "aby", None),  # another order
        ("ab", "ax", "aby", None),  # exchanged an item
        ("ab", "abaa", "aby", None),  # twice
    ],
)
def test_lists_are_merged_by_items(base: str, user: str, new: str, expected: str | None) -> None:
    """Each letter is an item; None is a question."""
    result = merged_list(tuple(base), tuple(user), tuple(new))
    assert (result and "".join(map(str, result))) == expected
    if expected is not None:
        assert merged_list(tuple(base), tuple(expected), tuple(new)) == tuple(expected)


def test_values_of_other_kinds_are_others() -> None:
    """1, true and 1.0 are three things to a program that reads them, in lists as well."""
    assert not same(1, True)
    assert not same((1, 2), (1.0, 2))
    assert same(float("nan"), float("nan"))
    assert merged_list((1,), (1, True), (1, 1.0)) == (1, 1.0, True)
    assert merged_list("ab", ("a",), ("a",)) is None

    class Expression(tuple[str, ...]):
        """What a format may make of a tuple for something that is no list."""

    assert merged_list(*(Expression(("call", what)) for what in "abc")) is None
    assert merged_list(Expression("a"), Expression("ab"), Expression("ac")) is None
    assert not same(Expression("a"), ("a",))


KEYS = ["a", "b", "c", "d", "d.x", "d.y", "e.x", "e.y", "f"]
LINES = st.sampled_from(["{} = 1", "{} = 2", "#{} = 1", "{} = [x]", "{} = [x, y]", "# words"])


@st.composite
def texts(draw: st.DrawFn) -> str:
    """Texts with some of a few keys, in any order."""
    keys = draw(st.lists(st.sampled_from(KEYS), unique=True, max_size=7))
    return "".join(f"{draw(LINES).format(key)}\n" for key in keys)


@given(base=texts(), new=texts())
def test_property_untouched_becomes_the_new_text(base: str, new: str) -> None:
    """merge(b, b, n) is n, to the byte, and nothing is asked."""
    assert rendered(merged(base, base, new), {}).text == new


@given(base=texts(), user=texts())
def test_property_an_unchanged_version_keeps_yours(base: str, user: str) -> None:
    """merge(b, u, b) has exactly the settings of u."""
    found = rendered(merged(base, user, base), {})
    assert found.refused is None
    assert values(found.text) == values(user)


@given(base=texts(), user=texts(), new=texts(), data=st.data())
def test_property_merging_again_changes_nothing(
    base: str, user: str, new: str, data: st.DataObject
) -> None:
    """merge(b, result, n) is the result: without questions, and with the same answers."""
    found = merged(base, user, new)
    answers = {
        judged.path: Answer(data.draw(st.sampled_from([Choice.YOURS, Choice.NEW])))
        for judged in found.questions
        if {Choice.YOURS, Choice.NEW} <= {*judged.choices}
    }
    answers |= {
        judged.path: Answer(Choice.YOURS)
        for judged in found.questions
        if judged.path not in answers
    }
    result = rendered(found, answers)
    assert result.refused is None
    again = merged(base, result.text, new)
    kept = {
        judged.path: answers.get(judged.path, Answer(Choice.YOURS)) for judged in again.questions
    }
    assert values(rendered(again, kept).text) == values(result.text)
    if not found.questions:
        assert rendered(again, {}).text == result.text


@given(base=texts(), user=texts(), new=texts())
def test_property_the_result_is_what_the_verdicts_say(base: str, user: str, new: str) -> None:
    """Without questions: what only you changed is yours, all else is the new version's."""
    found = merged(base, user, new)
    if found.questions:
        return
    olds, mine, news = values(base), values(user), values(new)
    result = values(rendered(found, {}).text)
    for key in {*olds, *mine, *news}:
        allowed = [news.get(key)] if mine.get(key) == olds.get(key) else [mine.get(key)]
        if isinstance(mine.get(key), tuple):
            allowed.append(merged_list(olds.get(key), mine.get(key), news.get(key)))
        assert result.get(key) in allowed


@given(base=texts(), user=texts(), new=texts(), data=st.data())
def test_property_order_means_nothing(base: str, user: str, new: str, data: st.DataObject) -> None:
    """Your lines in another order give the same verdicts and settings."""
    turned = "".join(data.draw(st.permutations(user.splitlines(keepends=True))))
    one, two = merged(base, user, new), merged(base, turned, new)
    assert {(judged.path, judged.verdict) for judged in one.judged} == {
        (judged.path, judged.verdict) for judged in two.judged
    }
    if not one.questions:
        assert values(rendered(one, {}).text) == values(rendered(two, {}).text)
