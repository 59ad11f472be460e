"""From verdicts and answers to files: answers, the proof, encodings, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.merge.tiny import TINY, Tiny, values

from crossfade.merge import Answer, Answers, Choice, FileMerge, Open, Path, Verdict, merge_files
from crossfade.merge._apply import rendered, settled
from crossfade.merge._three_way import Merge, merge
from crossfade.merge._types import Document, Edit, Format

BYTES = st.lists(
    st.sampled_from(
        [b"a = 1\n", b"a = 2\n", b"#a = 1\n", b"b = 1\r\n", b"\xe4", b"\xc3\xa4", b"\n", b"\r"]
    )
    | st.binary(max_size=3),
    max_size=6,
).map(b"".join)

YOURS, NEW, DROP, MOVE = (
    Answer(choice) for choice in (Choice.YOURS, Choice.NEW, Choice.DROP, Choice.MOVE)
)


def merged(base: str, user: str, new: str, format: Format = TINY) -> Merge:
    """The verdicts on three texts."""
    return settled(merge(format.read(base), format.read(user), format.read(new), format))


def answered(base: str, user: str, new: str, answer: Answer, key: str = "a") -> str:
    """The text with one answer."""
    found = rendered(merged(base, user, new), {tuple(key.split(".")): answer})
    assert found.refused is None
    return found.text


def value(what: object) -> Answer:
    """The answer that gives a value."""
    return Answer(Choice.VALUE, what)


@pytest.mark.parametrize(
    ("base", "user", "new", "answer", "expected"),
    [
        ("a = 1\n", "a = 5\n", "a = 2\n", YOURS, "a = 5\n"),
        ("a = 1\n", "a = 5\n", "a = 2\n", NEW, "a = 2\n"),
        ("a = 1\n", "a = 5\n", "a = 2\n", value("9"), "a = 9\n"),
        ("a = 1\n", "", "a = 2\n", YOURS, ""),
        ("a = 1\n", "", "a = 2\n", NEW, "a = 2\n"),
        ("a = 1\n", "", "a = 2\n", value("9"), "a = 9\n"),
        ("a = 1\n", "a = 5\n", "b = 1\n", YOURS, "b = 1\na = 5\n"),
        ("a = 1\n", "a = 5\n", "b = 1\n", DROP, "b = 1\n"),
        ("a = 1\n", "a = 5\n", "b = 1\n", value("9"), "b = 1\na = 9\n"),
        # answers nobody asked for: a default pinned, a change taken back, one more value
        ("a = 1\n", "a = 1\n", "a = 2\n", YOURS, "a = 1\n"),
        ("a = 1\n", "a = 5\n", "a = 1\nb = 1\n", NEW, "a = 1\nb = 1\n"),
        ("a = 1\n", "a = 5\n", "a = 1\nb = 1\n", DROP, "b = 1\n"),
        ("a = 1\n", "a = 5\n", "a = 1\n", value("9"), "a = 9\n"),
        ("a = [x]\n", "a = [x, y]\n", "a = [x, z]\n", YOURS, "a = [x, y]\n"),
        ("a = [x]\n", "a = [x, y]\n", "a = [x, z]\n", NEW, "a = [x, z]\n"),
        ("b = 1\n", "b = 1\na = 5\n", "b = 2\n", NEW, "b = 2\n"),
        # a section where a value was
        ("a = 1\n", "a.x = 5\na.y = 5\n", "a = 1\nb = 1\n", YOURS, "b = 1\na.x = 5\na.y = 5\n"),
        ("a = 1\n", "a.x = 5\na.y = 5\n", "a = 1\nb = 1\n", NEW, "a = 1\nb = 1\n"),
        ("a = 1\n", "a = 5\n", "a.x = 1\na.y = 1\nb = 1\n", YOURS, "b = 1\na = 5\n"),
        ("a = 1\n", "a = 5\n", "a.x = 1\nb = 1\n", NEW, "a.x = 1\nb = 1\n"),
    ],
)
def test_answer(base: str, user: str, new: str, answer: Answer, expected: str) -> None:
    """An answer about ``a``, asked or not, and the text with it."""
    assert answered(base, user, new, answer) == expected


def test_a_moved_setting_goes_where_it_was_said() -> None:
    """The answer ``move`` writes your value at the destination."""
    texts = "x.a = 1\n", "x.a = 5\n", "y.a = 1\n"
    assert answered(*texts, MOVE, "x.a") == "y.a = 5\n"
    assert answered(*texts, DROP, "x.a") == "y.a = 1\n"


def test_nothing_is_rendered_while_a_question_is_open() -> None:
    """All open questions are told, and an answer to one of them is not enough."""
    found = merged("a = 1\nb = 1\n", "a = 5\nb = 5\n", "a = 2\nb = 2\n")
    with pytest.raises(Open) as all_open:
        rendered(found, {})
    with pytest.raises(Open) as one_open:
        rendered(found, {("a",): NEW})
    assert [judged.path for judged in all_open.value.questions] == [("a",), ("b",)]
    assert [judged.path for judged in one_open.value.questions] == [("b",)]


def test_an_answer_that_is_none_is_no_answer() -> None:
    """An answer to what was never asked, or that does not fit the question, is an error."""
    found = merged("a = 1\n", "a = 5\n", "b = 1\n")
    wrong: list[Answers] = [{("a",): MOVE}, {("a",): NEW}, {("a",): DROP, ("z",): NEW}]
    for answers in wrong:
        with pytest.raises(ValueError, match=r"answer") as error:
            rendered(found, answers)
        assert "5" not in str(error.value)


def test_an_unchanged_version_keeps_your_file_with_its_comments() -> None:
    """Where the stock texts are one, the result is your text to the byte."""
    user = "# mine\nb = 1\n\n\na = 5\n"
    assert rendered(merged("a = 1\n", user, "a = 1\n"), {}).text == user


class Careless(Tiny):
    """A format that loses a key with every edit."""

    def edited(self, document: Document, edits: Sequence[Edit]) -> str:
        """The text without its last line, when anything is edited."""
        text = super().edited(document, edits)
        changed = text != document.text
        return "".join(text.splitlines(keepends=True)[:-1]) if changed else text


class Restless(Tiny):
    """A format that cannot write back what it read."""

    def edited(self, document: Document, edits: Sequence[Edit]) -> str:
        """With one line more."""
        return f"{super().edited(document, edits)}# edited\n"


def test_what_the_proof_does_not_accept_is_refused_as_a_whole() -> None:
    """A result that another reader sees differently leaves the stock text, and says why."""
    texts = "a = 1\nb = 1\n", "a = 5\nb = 1\n", "a = 1\nb = 2\n"
    three = [Careless().read(text) for text in texts]
    found = rendered(merge(three[0], three[1], three[2], Careless()), {})
    assert found.text == "a = 1\nb = 2\n"
    assert found.refused == "the values are others"


def test_what_cannot_be_written_back_is_refused_as_a_whole() -> None:
    """A new text that is not itself after an edit without edits is never edited."""
    found = rendered(merged("a = 1\n", "a = 5\n", "a = 1\nb = 2\n", Restless()), {})
    assert found.text == "a = 1\nb = 2\n"
    assert found.refused is not None
    assert "not itself" in found.refused


def test_what_cannot_be_written_becomes_a_question_alone() -> None:
    """A setting that the format cannot put there is asked about; the others are carried."""
    found = merged("c = 1\n", "c = 5\nb = !x\n", "c = 1\nd = 1\n")
    assert [(judged.path, judged.verdict) for judged in found.judged] == [
        (("c",), Verdict.CARRIED),
        (("b",), Verdict.NEEDS_REVIEW),
    ]
    assert rendered(found, {("b",): NEW}).text == "c = 5\nd = 1\n"
    assert "!x" not in found.judged[1].why


# whole files


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files with the ending ``.tiny`` are of the tests' own format, all others of none."""

    def detect(name: str, text: str) -> Format | None:
        return TINY if name.endswith(".tiny") else None

    monkeypatch.setattr("crossfade.merge._files.detect", detect)


def files(base: bytes | None, user: bytes, new: bytes, name: str = "some.tiny") -> FileMerge:
    """A merge of files."""
    return merge_files(name, base, user, new)


@pytest.mark.usefixtures("tiny")
def test_a_file_is_merged_by_its_settings() -> None:
    """Verdicts, what is new, and the bytes."""
    found = files(b"a = 1\n", b"a = 5\n", b"a = 1\nb = 1\n")
    assert (found.format, found.refused, found.fresh) == ("tiny", None, (("b",),))
    assert [judged.verdict for judged in found.judged] == [Verdict.CARRIED]
    assert found.render().content == b"a = 5\nb = 1\n"


@pytest.mark.usefixtures("tiny")
def test_the_new_files_byte_order_mark_is_kept() -> None:
    """What is before the text is the new version's."""
    bom = b"\xef\xbb\xbf"
    assert files(b"a = 1\n", b"a = 5\n", bom + b"a = 1\n").render().content == bom + b"a = 5\n"
    assert files(b"a = 1\n", bom + b"a = 5\n", b"a = 1\nb = 1\n").render().content == (
        b"a = 5\nb = 1\n"
    )


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(
    ("user", "reason"),
    [
        (b"a = \xff\n", "yours is not UTF-8 (line 1)"),
        (b"\xff\xfea\0=\0", "yours is UTF-16; only UTF-8 is read"),
        (b"a = 1\0\n", "yours is not text"),
        (b"# words\n" * 700_000, "yours is larger than 5 MB"),
        (b"b = 1\nb = hunter2\n", "yours, line 2: a key is there twice"),
    ],
)
def test_what_cannot_be_read_is_refused(user: bytes, reason: str) -> None:
    """One verdict with the reason, and one question: which of the whole files it shall be."""
    found = files(b"a = 1\n", user, b"a = 2\n")
    assert (found.refused, found.format) == (reason, None)
    assert [(judged.path, judged.verdict) for judged in found.judged] == [((), Verdict.REFUSED)]
    with pytest.raises(Open):
        found.render()
    assert found.render({(): YOURS}).content == user
    assert found.render({(): NEW}).content == b"a = 2\n"
    assert found.render({(): value(b"a = 3\n")}).content == b"a = 3\n"


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("content", [b"\0\1", b"b = 1\nb = 1\n", b"a = \xff", b"#\n" * 3_000_000])
def test_two_files_that_are_one_need_no_reading(content: bytes) -> None:
    """Where two of the three are the same bytes the third is the result, whatever it holds."""
    other = b"a = 1\n"
    assert files(content, content, other).render().content == other
    assert files(other, other, content).render().content == content
    assert files(other, content, other).render().content == content
    assert files(other, content, content).render().content == content
    assert files(None, content, content).render().content == content


@pytest.mark.usefixtures("tiny")
def test_changes_that_are_no_settings_are_not_lost_silently() -> None:
    """What only another reader sees in your text refuses the file: it could not be carried."""
    for user in (b"a = 1\nx y = 1\n", b"a = 5\nx y = 1\n"):
        found = files(b"a = 1\n", user, b"a = 1\nb = 1\n")
        assert found.refused is not None
        assert "no settings" in found.refused
        assert found.render({(): YOURS}).content == user


@pytest.mark.usefixtures("tiny")
def test_without_a_base_everything_is_asked_and_the_proposals_are_answers() -> None:
    """Nothing is decided by itself; the proposals can be given as answers."""
    found = files(None, b"a = 5\nc = 1\n", b"a = 1\nb = 1\n")
    with pytest.raises(Open):
        found.render()
    assert {judged.verdict for judged in found.judged} == {Verdict.NEEDS_REVIEW}
    assert values(found.render(found.preselected).content.decode()) == {
        "a": "5",
        "b": "1",
        "c": "1",
    }


@pytest.mark.usefixtures("tiny")
def test_a_text_without_a_format_is_merged_by_lines() -> None:
    """Clean places are done, others are questions with their line; no marker ever."""
    clean = files(b"a\nb\nc\n", b"A\nb\nc\n", b"a\nb\nC\n", "rc.local")
    assert (clean.format, [judged.verdict for judged in clean.judged]) == (
        "lines",
        [Verdict.CARRIED],
    )
    assert clean.render().content == b"A\nb\nC\n"
    open_one = files(b"a\nb\nc\n", b"0\na\nX\nc\n", b"a\nY\nc\n", "rc.local")
    path: Path = ("line 3",)
    assert [judged.path for judged in open_one.questions] == [path]
    with pytest.raises(Open):
        open_one.render()
    for answer, expected in (
        (YOURS, b"0\na\nX\nc\n"),
        (NEW, b"0\na\nY\nc\n"),
        (value("Z"), b"0\na\nZ\nc\n"),
    ):
        assert open_one.render({path: answer}).content == expected


@pytest.mark.usefixtures("tiny")
def test_lines_that_stand_at_several_places_are_asked_about() -> None:
    """A merge by lines takes the wrong one of blocks that are alike: not done unasked."""
    block = b"{\n  type = flag\n}\n"
    base, user = b"a\n" + block, b"a\n" + block.replace(b"flag", b"mine")
    found = files(base, user, block + b"b\n" + block, "some.conf")
    (judged,) = found.judged
    assert (judged.verdict, judged.preselected) == (Verdict.NEEDS_REVIEW, Choice.YOURS)
    assert found.render({judged.path: NEW}).content == block + b"b\n" + block
    found = files(base, user, base + b"b\n", "some.conf")
    assert [judged.verdict for judged in found.judged] == [Verdict.CARRIED]


@pytest.mark.usefixtures("tiny")
def test_other_line_ends_are_no_change() -> None:
    """A text of yours with CRLF is compared without, and the result has the new version's ends."""
    found = files(b"a\nb\nc\n", b"A\r\nb\r\nc\r\n", b"a\nb\nC\n", "rc.local")
    assert found.render().content == b"A\nb\nC\n"
    found = files(b"a\nb\nc\n", b"A\nb\nc\n", b"a\r\nb\r\nC\r\n", "rc.local")
    assert found.render().content == b"A\r\nb\r\nC\r\n"


@pytest.mark.usefixtures("tiny")
def test_lines_without_a_base_are_all_asked() -> None:
    """Two texts alone: each difference is a question."""
    found = files(None, b"a\nX\nc\n", b"a\nY\nc\n", "rc.local")
    (judged,) = found.judged
    assert (judged.verdict, judged.question) == (Verdict.NEEDS_REVIEW, True)
    assert found.render({judged.path: YOURS}).content == b"a\nX\nc\n"


@pytest.mark.usefixtures("tiny")
def test_latin_1_is_read_in_properties_only() -> None:
    """Every byte comes out as it was; a mixture of encodings is refused."""
    base, user = "a = é\n#\n".encode("latin-1"), b"a = x\n#\n"
    found = files(base, user, "a = é\n#\n# ü\n".encode("latin-1"), "a.properties")
    assert found.render().content == "a = x\n#\n# ü\n".encode("latin-1")
    assert files(base, user, b"a = 1\n", "a.yaml").refused is not None
    found = files("a = é\n".encode("latin-1"), b"a = x\n", "a = é\n".encode(), "a.properties")
    assert found.refused is not None


@pytest.mark.usefixtures("tiny")
def test_comments_that_stay_behind_are_told() -> None:
    """Lines of comment that only your text had, by number."""
    found = files(b"# old\na = 1\n", b"# old\n# mine\na = 5\n# also\n", b"# old\na = 1\nb = 1\n")
    assert found.comments_left(found.render().content) == (2, 4)


@pytest.mark.usefixtures("tiny")
@given(base=BYTES, user=BYTES, new=BYTES)
def test_property_no_bytes_are_too_strange(base: bytes, user: bytes, new: bytes) -> None:
    """Any bytes give a result or questions, and answering these gives a result."""
    for name in ("a.tiny", "rc.local", "a.properties"):
        found = files(base, user, new, name)
        answers = {judged.path: Answer(judged.choices[0]) for judged in found.questions}
        assert found.render(answers).refused is None
