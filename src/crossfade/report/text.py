"""The report for a terminal: what an operator wants to know, on about one screen."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from crossfade.report.data import Finding, Pause, ReportData, RunRecord, StepRecord, Trouble
from crossfade.report.facts import (
    failing,
    headline,
    in_pause,
    last_run,
    next_command,
    pause_sentence,
    requests_sentence,
    step_seconds,
    writes,
)
from crossfade.report.timeline import NAMES, outcome_mark
from crossfade.report.words import count, date, duration, plural, visible

__all__ = ["as_text"]

_MOST_FAILING = 4
_STYLES = {"bold": "1", "faint": "2", "bad": "31", "good": "32", "warn": "33"}
_OUTCOMES = {
    "done": "good",
    "failed": "bad",
    "undone": "warn",
    "skipped": "faint",
    "running": "warn",
}
_OUTCOMES |= {"went-back": "warn", "interrupted": "warn"}
_GOOD = ("planned", "rehearsed", "done", "rolled-back", "retired")
_LABEL = 12


class _Paper(NamedTuple):
    """How wide the lines may be, and whether they may be coloured."""

    width: int
    colour: bool

    def paint(self, text: str, style: str) -> str:
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if self.colour and text else text

    def wrap(self, text: str, indent: str, first: str | None = None) -> list[str]:
        """Lines of the text, which may itself have lines; nothing in it acts on the terminal."""
        lead = indent if first is None else first
        lines: list[str] = []
        for line in visible(text, keep="\n").split("\n"):
            given = lead if not lines else indent
            width = max(self.width, len(indent) + 20)
            lines += textwrap.wrap(line, width, initial_indent=given, subsequent_indent=indent) or [
                given.rstrip()
            ]
        return lines

    def labelled(self, label: str, text: str, style: str | None = None) -> list[str]:
        """The text beside its label."""
        first = f"  {label:<{_LABEL}}"
        lines = self.wrap(text, " " * len(first), first)
        bare = [line[len(first) :] for line in lines]
        shown = [self.paint(line, style) for line in bare] if style else bare
        heads = [self.paint(first, "faint"), *[" " * len(first)] * (len(bare) - 1)]
        return [head + line for head, line in zip(heads, shown, strict=True)]


def as_text(data: ReportData, *, width: int, colour: bool) -> str:
    """Outcome, numbers, steps, what does not hold, the way back and the next command.

    Lines are at most ``width`` columns where words allow; ANSI colours only with ``colour``.
    Ended by a line feed.
    """
    paper = _Paper(max(width, 40), colour)
    blocks = [
        _head(paper, data),
        _numbers(paper, data),
        _steps(paper, data),
        _failing(paper, data),
        _trouble(paper, data),
        _way_on(paper, data),
    ]
    return "\n\n".join("\n".join(lines) for block in blocks if (lines := list(block))) + "\n"


def _head(paper: _Paper, data: ReportData) -> Iterator[str]:
    title = f"{data['title']} {data['old_version']} → {data['new_version']}"
    yield from (paper.paint(line, "bold") for line in paper.wrap(title, ""))
    style = "good" if data["outcome"] in _GOOD else _OUTCOMES.get(data["outcome"], "bad")
    yield from (paper.paint(line, style) for line in paper.wrap(headline(data), ""))


def _numbers(paper: _Paper, data: ReportData) -> Iterator[str]:
    pause, seen, found = data["pause"], data["requests"], writes(data)
    if pause is not None:
        over = "bad" if pause["seconds"] > pause["limit"] else None
        yield from paper.labelled("pause", pause_sentence(data), over)
    if seen is not None:
        bad = "bad" if seen["failed"] else None
        yield from paper.labelled("requests", requests_sentence(data), bad)
        after = seen["served_by_old_after_drain"]
        told = f"{count(after)} served by the old side after the drain"
        yield from paper.labelled("drain", told, "bad" if after else None)
    if found is not None:
        known = "" if found.acknowledged is None else f"{count(found.acknowledged)} acknowledged, "
        lost = f"{known}{count(found.lost)} lost"
        yield from paper.labelled("writes", lost, "bad" if found.lost else None)


def _steps(paper: _Paper, data: ReportData) -> Iterator[str]:
    run = last_run(data)
    if run is None:
        for number, planned in enumerate(data["plan"]["steps"], 1):
            seconds = planned["seconds"]
            took = "" if seconds is None else f"about {duration(seconds)}"
            name = visible(planned["name"], keep="")
            yield f"  {number:>2}   {name:<12}{took:>14}".rstrip()
        return
    yield paper.paint(_title(run), "bold")
    for number, step in enumerate(run["steps"], 1):
        yield _step(paper, number, step, data["pause"])


def _title(run: RunRecord) -> str:
    ended = run["ended"]
    took = "not ended" if ended is None else duration(ended - run["began"])
    unmuted = ", unmuted" if run["unmuted"] else ""
    name = f"{NAMES[run['run']]}, attempt {run['attempt']}"
    return f"{name}, {run['outcome']}{unmuted}, {date(run['began'])}, {took}"


def _step(paper: _Paper, number: int, step: StepRecord, pause: Pause | None) -> str:
    seconds = step_seconds(step)
    took = "" if seconds is None else duration(seconds)
    mark = paper.paint(outcome_mark(step["outcome"]), _OUTCOMES.get(step["outcome"], "bad"))
    inside = paper.paint(_in_pause(step, pause), "faint") if step["in_pause"] else ""
    return f"  {number:>2} {mark} {visible(step['name'], keep=''):<12}{took:>12}{inside}".rstrip()


def _in_pause(step: StepRecord, pause: Pause | None) -> str:
    span = in_pause(step, pause)
    return f"  {duration(span[1] - span[0])} of it in the pause" if span else "  in the pause"


def _failing(paper: _Paper, data: ReportData) -> Iterator[str]:
    found = list(failing(data))
    if not found:
        return
    yield paper.paint("Does not hold", "bold")
    for step, finding in found[:_MOST_FAILING]:
        yield from _finding(paper, step, finding)
    if len(found) > _MOST_FAILING:
        yield f"  and {plural(len(found) - _MOST_FAILING, 'more finding')}, in the report"


def _finding(paper: _Paper, step: StepRecord, finding: Finding) -> Iterator[str]:
    claim = paper.wrap(f"{step['name']}: {finding['claim']}", "    ", "  ✘ ")
    yield from (paper.paint(line, "bad") for line in claim)
    told = [
        ("expected", finding["expected"]),
        ("observed", finding["observed"]),
        ("source", finding["source"]),
    ]
    for label, text in told:
        yield from paper.labelled(f"  {label}", text)


def _trouble(paper: _Paper, data: ReportData) -> Iterable[str]:
    run = last_run(data)
    if run is None or run["error"] is None or run["outcome"] == "done":
        return []
    error: Trouble = run["error"]
    told = [("what", error["what"]), ("where", error["where"]), ("now", error["now"])]
    lines = [paper.paint(visible(f"Error: {error['code']}", keep=""), "bold")]
    return lines + [line for label, text in told if text for line in paper.labelled(label, text)]


def _way_on(paper: _Paper, data: ReportData) -> Iterator[str]:
    back = data["going_back"]
    sentence = f": {back['sentence']}" if back["sentence"] else ""
    yield from paper.labelled("going back", f"{back['price']}{sentence}")
    for number, one in enumerate(data["stands"]):
        yield from paper.labelled("" if number else "stands", one)
    for name, path in data["files"].items():
        yield from paper.labelled(visible(name, keep=""), path)
    if following := next_command(data):
        yield from paper.labelled("next", following, "bold")
