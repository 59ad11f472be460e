"""What every format of the merge has to do.  Inherit ``FormatContract``, say what is asked for, and
run it:

    class TestIni(FormatContract):
        format = Ini()
        examples = ("[a]\\nb = 1\\n",)
        refused = (("[a]\\nb = hunter2\\nb = 2\\n", 3),)
        texts = ini_texts()

``model`` is only what ``read`` says; that it is what a program reads is for ``mismatch`` of the
format, which has another parser, and for the format's own tests.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path as FilePath

import pytest
from hypothesis import HealthCheck, Phase, assume, event, given, settings
from hypothesis import strategies as st

from crossfade.merge._types import Document, Drop, Edit, Format, Path, Put, Unreadable, Write

__all__ = ["SECRET", "FormatContract", "found_texts", "model"]

SECRET = "hunter2"
"""Stands in texts that are refused; no reason may say it."""

_LARGEST = 200_000

_PROPERTY = settings(
    deadline=None,
    max_examples=60,
    phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
    suppress_health_check=[
        HealthCheck.differing_executors,
        HealthCheck.filter_too_much,
        HealthCheck.too_slow,
    ],
)


def model(document: Document) -> dict[Path, object]:
    """The settings that are on, and their values."""
    return {path: setting.value for path, setting in document.settings.items()}


def found_texts(roots: Iterable[str], patterns: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Path and text of the files below ``roots`` that match one of ``patterns``, are UTF-8 and not
    larger than 200,000 bytes; each text once, links are not followed."""
    patterns = tuple(patterns)
    seen = set()
    for path in _files_below(roots):
        if not any(path.match(pattern) for pattern in patterns):
            continue
        if path.is_symlink() or not path.is_file() or path.stat().st_size > _LARGEST:
            continue
        try:
            text = path.read_bytes().decode()
        except UnicodeDecodeError:
            continue
        if text not in seen:
            seen.add(text)
            yield str(path), text


def _files_below(roots: Iterable[str]) -> Iterator[FilePath]:
    """In a settled order.  A directory that goes meanwhile is passed over, which rglob is not."""
    for root in roots:
        for directory, below, names in os.walk(root):
            below.sort()
            yield from (FilePath(directory, name) for name in sorted(names))


class FormatContract:
    """The contract.  The attributes without a value are what a format has to say."""

    format: Format
    examples: tuple[str, ...]
    """Texts that are read, with LF as line ends, each with at least two settings; together they
    have all that the format knows."""

    refused: tuple[tuple[str, int], ...]
    """Texts that are not read, with SECRET somewhere as a value, and the line that is blamed."""

    texts: st.SearchStrategy[str]
    """Texts of the format; most are read, those that are not are passed over."""

    fixed: frozenset[Path] = frozenset()
    """Settings of the examples that cannot be dropped or written alone; that is Unreadable then."""

    crlf = True
    """Whether the examples may stand with CRLF and mean the same."""

    bom = True
    """Whether a byte order mark may stand before the text."""

    def other(self, path: Path, value: object) -> object:
        """Another value of the same kind, for Write."""
        if isinstance(value, bool):
            return not value
        if isinstance(value, int | float):
            return value + 1
        if isinstance(value, tuple):
            return (*value[:-1], self.other(path, value[-1])) if value else value
        return f"{SECRET}other" if isinstance(value, str) else value

    # what the tests are made of

    def _document(self, text: str) -> Document:
        return self.format.read(text)

    def _edited(self, before: Document, edits: list[Edit]) -> str:
        """The text with the edits, which must pass the format's own proof."""
        after = self.format.edited(before, edits)
        assert self.format.mismatch(before, after, edits) is None
        return after

    def _drawn(self, data: st.DataObject, label: str) -> Document:
        try:
            document = self.format.read(data.draw(self.texts, label=label))
        except Unreadable:
            assume(False)
            raise
        return document

    def _writable(self, document: Document) -> dict[Path, object]:
        """Paths that can be written and dropped, with another value for each."""
        return {
            path: self.other(path, setting.value)
            for path, setting in document.settings.items()
            if path not in self.fixed and self.other(path, setting.value) != setting.value
        }

    # examples

    def test_an_example_is_read_and_nothing_changes_without_edits(self) -> None:
        """Byte identity of every example, also with CRLF, with a BOM and with a torn last line."""
        for text in self._variants():
            document = self._document(text)
            assert len(document.settings) >= 2
            assert document.format == self.format.name
            assert document.text == text
            assert self.format.edited(document, []) == text
            assert self.format.mismatch(document, text, []) is None

    def _variants(self) -> Iterator[str]:
        for text in self.examples:
            yield text
            yield text.rstrip("\n")
            if self.crlf:
                yield text.replace("\n", "\r\n")
            if self.bom:
                yield "\ufeff" + text

    def test_spans_and_lines_are_those_of_the_text(self) -> None:
        """raw is the text from start to end, and line is where the entry is."""
        for text in self._variants():
            document = self._document(text)
            for path, setting in document.settings.items():
                assert setting.path == path
                assert setting.raw == text[setting.start : setting.end]
                assert 1 <= setting.line <= text.count("\n", 0, setting.start) + 1
            for path, commented in document.commented.items():
                assert commented.path == path
                assert commented.raw in text.split("\n")[commented.line - 1]

    def test_line_ends_and_a_byte_order_mark_mean_nothing(self) -> None:
        """The same values are read with CRLF, with a BOM and without the last line end."""
        for text in self.examples:
            expected = model(self._document(text))
            if self.crlf:
                assert model(self._document(text.replace("\n", "\r\n"))) == expected
            if self.bom:
                assert model(self._document("\ufeff" + text)) == expected

    def test_putting_or_writing_what_stands_there_changes_nothing(self) -> None:
        """Put and Write of a document's own values give its text, one by one and all together."""
        for text in self._variants():
            document = self._document(text)
            puts: list[Edit] = [Put(path, document) for path in document.settings]
            for edit in puts:
                assert self._edited(document, [edit]) == text
            assert self._edited(document, puts) == text
            for path, setting in document.settings.items():
                if path not in self.fixed:
                    assert self._edited(document, [Write(path, setting.value)]) == text

    def test_a_written_value_is_the_only_change(self) -> None:
        """Write changes one setting, and all lines outside of that setting stay."""
        for text in self._variants():
            document = self._document(text)
            for path, value in self._writable(document).items():
                after = self._edited(document, [Write(path, value)])
                assert model(self._document(after)) == {**model(document), path: value}
                start = document.settings[path].start
                assert (
                    after[: text.rfind("\n", 0, start) + 1]
                    == text[: text.rfind("\n", 0, start) + 1]
                )

    def test_all_values_are_written_at_once(self) -> None:
        """Many edits are one edit each, in any order."""
        for text in self._variants():
            document = self._document(text)
            edits: list[Edit] = [
                Write(path, value) for path, value in self._writable(document).items()
            ]
            after = self._edited(document, edits)
            assert model(self._document(after)) == {**model(document), **self._writable(document)}
            assert self._edited(document, edits[::-1]) == after

    def test_what_is_dropped_can_be_put_back(self) -> None:
        """Drop takes one setting out; Put from the first text brings its value back."""
        for text in self._variants():
            document = self._document(text)
            for path in document.settings:
                if path in self.fixed:
                    continue
                without = self._document(self._edited(document, [Drop(path)]))
                rest = {key: value for key, value in model(document).items() if key != path}
                assert model(without) == rest
                again = self._document(self._edited(without, [Put(path, document)]))
                assert model(again) == model(document)

    def test_new_lines_have_the_line_ends_of_the_document(self) -> None:
        """What comes from a text with LF has CRLF in a text with CRLF, and the other way round."""
        for text in self.examples if self.crlf else ():
            for one, two in (
                (text, text.replace("\n", "\r\n")),
                (text.replace("\n", "\r\n"), text),
            ):
                document, source = self._document(one), self._document(two)
                for path in document.settings:
                    if path in self.fixed:
                        continue
                    without = self._document(self._edited(document, [Drop(path)]))
                    after = self._edited(without, [Put(path, source)])
                    assert model(self._document(after)) == model(document)
                    ends = after.count("\r\n"), after.count("\n")
                    assert ends == ((0, ends[1]) if "\r" not in one else (ends[1], ends[1]))

    # what is not read

    def test_what_is_refused_names_the_line_and_no_value(self) -> None:
        """Unreadable has the line, and a reason without anything that stands in the text."""
        for text, line in self.refused:
            with pytest.raises(Unreadable) as refusal:
                self.format.read(text)
            assert SECRET in text
            assert SECRET not in str(refusal.value)
            assert refusal.value.line == line
            assert refusal.value.reason

    # the proof

    def _mismatch(self, before: Document, after: str, edits: list[Edit]) -> None:
        """That the proof finds something wrong, and tells no value."""
        found = self.format.mismatch(before, after, edits)
        assert found is not None
        assert SECRET not in found

    def test_the_proof_finds_a_value_that_changed(self) -> None:
        """A changed value is found, where nothing and where another one was to change."""
        for text in self.examples:
            document = self._document(text)
            others = self._writable(document)
            for path, value in others.items():
                after = self._edited(document, [Write(path, value)])
                self._mismatch(document, after, [])
                for second, its in others.items():
                    if second != path:
                        both = self._edited(document, [Write(path, value), Write(second, its)])
                        self._mismatch(document, both, [Write(second, its)])
                        break

    def test_the_proof_finds_an_edit_that_was_not_made(self) -> None:
        """The text as it was is not the result of a Write, a Drop or a Put of another value."""
        for text in self.examples:
            document = self._document(text)
            for path, value in self._writable(document).items():
                self._mismatch(document, text, [Write(path, value)])
                self._mismatch(document, text, [Drop(path)])
                source = self._document(self._edited(document, [Write(path, value)]))
                self._mismatch(document, text, [Put(path, source)])

    def test_the_proof_finds_a_key_that_is_lost_or_too_many(self) -> None:
        """A key that nobody dropped, and one that nobody put."""
        for text in self.examples:
            document = self._document(text)
            for path in document.settings:
                if path not in self.fixed:
                    after = self._edited(document, [Drop(path)])
                    self._mismatch(document, after, [])
                    self._mismatch(self._document(after), text, [])

    # properties

    @_PROPERTY
    @given(data=st.data())
    def test_property_own_values_are_identity(self, data: st.DataObject) -> None:
        """Any text: no edit, and a Put of any of its own values, give the text itself."""
        document = self._drawn(data, "text")
        own = list(document.settings)
        some = data.draw(st.lists(st.sampled_from(own), unique=True)) if own else []
        assert self._edited(document, []) == document.text
        assert self._edited(document, [Put(path, document) for path in some]) == document.text

    @_PROPERTY
    @given(data=st.data())
    def test_property_edits_are_the_difference(self, data: st.DataObject) -> None:
        """Any two texts: puts, writes and drops are made exactly, in any order, or refused."""
        document, source = self._drawn(data, "text"), self._drawn(data, "source")
        edits = self._some_edits(data, document, source)
        try:
            after = self._edited(document, edits)
        except Unreadable:
            event("refused")
            return
        event(f"edits made: {min(len(edits), 3)}")
        assert model(self._document(after)) == self._expected(document, edits)
        assert self._edited(document, edits) == after
        turned = self._edited(document, edits[::-1])
        assert model(self._document(turned)) == self._expected(document, edits)

    def _some_edits(self, data: st.DataObject, document: Document, source: Document) -> list[Edit]:
        edits: list[Edit] = []
        others = self._writable(document)
        for path in sorted({*document.settings, *source.settings}):
            ways: list[Edit | None] = [None]
            if path in source.settings:
                ways.append(Put(path, source))
            if path in others:
                ways += [Drop(path), Write(path, others[path])]
            edit = data.draw(st.sampled_from(ways))
            edits += [edit] if edit is not None else []
        return edits

    def _expected(self, document: Document, edits: list[Edit]) -> Mapping[Path, object]:
        expected = model(document)
        for edit in edits:
            match edit:
                case Put(path, source):
                    expected[path] = source.settings[path].value
                case Write(path, value):
                    expected[path] = value
                case Drop(path):
                    del expected[path]
        return expected

    @_PROPERTY
    @given(data=st.data())
    def test_property_a_new_key_goes_below_its_twin(self, data: st.DataObject) -> None:
        """A key that is only commented is put below that comment, and all before it stays."""
        document, source = self._drawn(data, "text"), self._drawn(data, "source")
        for path in document.commented:
            if path in document.settings or path not in source.settings:
                continue
            try:
                after = self._edited(document, [Put(path, source)])
            except Unreadable:
                continue
            line = document.commented[path].line
            before = "\n".join(document.text.split("\n")[: line - 1])
            assert after.startswith(before)
            assert self._document(after).settings[path].line > line

    @_PROPERTY
    @given(data=st.data())
    def test_property_the_proof_sees_any_change(self, data: st.DataObject) -> None:
        """A text is the result of no edits on another one only where both say the same."""
        document, other = self._drawn(data, "text"), self._drawn(data, "other")
        if model(document) != model(other):
            assert self.format.mismatch(document, other.text, []) is not None
