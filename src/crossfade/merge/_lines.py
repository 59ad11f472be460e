"""A file of no known format, merged by lines: each place that you changed is one setting."""

from __future__ import annotations

from collections.abc import Sequence

from crossfade.merge._apply import Answers, Rendered, checked
from crossfade.merge._text import Piece, diff3
from crossfade.merge._types import Path, Setting
from crossfade.merge._verdicts import Choice, Judged, Verdict

__all__ = ["LineMerge"]

_AROUND = 3  # lines before and behind a change that tell its place


class LineMerge:
    """The pieces of one file.  Without a base every difference is a question."""

    def __init__(self, base: str | None, user: str, new: str) -> None:
        self._stock = new
        self._ends = "\r\n" if _windows(new) else "\n"
        self._based = base is not None
        old, mine, news = (_plain(text) for text in (user if base is None else base, user, new))
        pieces = diff3(old, mine, news)
        self._pieces = [(_path(piece), piece) for piece in pieces]
        self._unsure = {
            _path(piece)
            for at, piece in enumerate(pieces)
            if piece.result not in (None, piece.new) and not _certain(pieces, at, (old, news))
        }
        self.judged = tuple(
            self._judged(path, piece) for path, piece in self._pieces if self._spoken_of(piece)
        )

    def _spoken_of(self, piece: Piece) -> bool:
        return piece.user != piece.new if not self._based else piece.changed

    def _judged(self, path: Path, piece: Piece) -> Judged:
        sides = [_setting(path, part, piece.line) for part in (piece.base, piece.user, piece.new)]
        base, user, new = sides
        choices: tuple[Choice, ...] = (Choice.YOURS, Choice.NEW, Choice.VALUE)
        if not self._based:
            why = "yours differs from the new version's, and the old version's is not known"
            asked = Verdict.NEEDS_REVIEW
            return Judged(path, asked, why, None, user, new, choices=choices)
        if piece.result is None:
            why = "both you and the new version changed these lines"
            return Judged(path, Verdict.CONFLICT, why, base, user, new, choices=choices)
        if path in self._unsure:
            why = "you changed these lines, and lines like these stand at several places"
            asked, mine = Verdict.NEEDS_REVIEW, Choice.YOURS
            return Judged(path, asked, why, base, user, new, choices=choices, preselected=mine)
        if piece.user == piece.new:
            why, verdict = "the new version has your lines already", Verdict.ALREADY
        else:
            why, verdict = "you changed these lines, and the new version did not", Verdict.CARRIED
        return Judged(path, verdict, why, base, user, new)

    def rendered(self, answers: Answers) -> Rendered:
        """The merged text, with the new version's line ends.  Raises Open and ValueError."""
        checked(self.judged, answers)
        parts = []
        for path, piece in self._pieces:
            answer = answers.get(path)
            if answer is None:
                parts.append(
                    piece.result if self._based and piece.result is not None else piece.new
                )
            elif answer.choice is Choice.VALUE:
                text = str(answer.value)
                parts.append(text if text.endswith("\n") or not text else f"{text}\n")
            elif answer.choice is not Choice.DROP:
                parts.append(piece.user if answer.choice is Choice.YOURS else piece.new)
        text = "".join(parts)
        return Rendered(text.replace("\n", self._ends) if self._ends != "\n" else text)


def _certain(pieces: Sequence[Piece], at: int, texts: Sequence[str]) -> bool:
    """Whether a place of the old text is found again in the new one without doubt: what stood
    there, with the lines around it that all have alike, is in each of these texts once."""
    before, after = at, at + 1
    while before > 0 and at - before < _AROUND and _alike(pieces[before - 1]):
        before -= 1
    while after < len(pieces) and after - at <= _AROUND and _alike(pieces[after]):
        after += 1
    around = "".join(piece.base for piece in pieces[before:after])
    return all(f"\n{text}".count(f"\n{around}") == 1 for text in texts) if around else True


def _alike(piece: Piece) -> bool:
    return piece.base == piece.user == piece.new


def _path(piece: Piece) -> Path:
    return (f"line {piece.line}",)


def _setting(path: Path, part: str, line: int) -> Setting | None:
    return Setting(path, part, part, 0, len(part), line) if part else None


def _windows(text: str) -> bool:
    """Whether every line ends with CR LF."""
    return "\n" in text and text.count("\n") == text.count("\r\n")


def _plain(text: str) -> str:
    return text.replace("\r\n", "\n") if _windows(text) else text
