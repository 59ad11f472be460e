"""The report for the terminal."""

from __future__ import annotations

import re

import pytest
from tests.report.sample import broken, finding, report

from crossfade.report import as_text

ANSI = re.compile(r"\x1b\[\d+m")


def test_says_what_an_operator_asks() -> None:
    """Outcome, who serves, versions, pause, requests, steps, the way back, next command."""
    data = report()
    text = as_text(data, width=100, colour=False)
    assert "Matrix Synapse 1.100.0 → 1.163.2\n" in text
    assert "Done; the new side (1.163.2) serves at 127.0.0.1:8008.\n" in text
    assert "1.21 s, predicted 1.15 s, limit 10 s" in text
    assert "none failed" in text
    assert "0 served by the old side after the drain" in text
    assert "3,412 acknowledged, 0 lost" in text
    assert "   1 ✔ install           120 ms\n" in text
    assert "   7 ✔ switch            10.1 s  54 ms of it in the pause\n" in text
    assert "3,412 writes: Going back would leave" in text
    assert "/srv/chat/upgrade/backup/homeserver.db" in text
    assert text.endswith("crossfade retire\n")


def test_tells_a_failure_in_full() -> None:
    """A failing finding with all that it says, the error, and the error's own next command."""
    text = as_text(broken(), width=100, colour=False)
    assert "Went back; the old side (1.100.0) serves" in text
    assert "2 FAILED" in text
    assert "   5 ↶ stop" in text
    assert "   6 ✘ sync" in text
    assert "   7 – switch" in text
    for word in ("expected", "observed", "source", "what", "where", "now"):
        assert f"  {word}" in text
    assert "500 Server Error" in text
    assert "no such table: rooms_v2" in text
    assert text.endswith("crossfade rehearse\n")


@pytest.mark.parametrize("width", [40, 80, 200])
def test_fits_the_width_and_the_screen(width: int) -> None:
    """Lines stay within the width; at 80 columns everything fits on about 40 lines."""
    for data in (report(), broken()):
        lines = as_text(data, width=width, colour=False).splitlines()
        steps = re.compile(r"^  [ \d]\d .|^(Cutover|Rehearsal),")
        assert [line for line in lines if len(line) > width and not steps.match(line)] == []
        assert width < 80 or len(lines) <= 40


def test_many_failing_findings_stay_on_the_screen() -> None:
    """Some are told in full, the rest by their number."""
    data = broken()
    wrong = [finding(f"claim {n}", "no", "look", holds=False) for n in range(50)]
    data["runs"][-1]["steps"][5]["findings"] = wrong
    text = as_text(data, width=80, colour=False)
    assert "sync: claim 3\n" in text
    assert "and 46 more findings, in the report" in text
    assert len(text.splitlines()) <= 55


def test_colour_only_when_asked_and_nothing_else_differs() -> None:
    """Without colour there is no escape; with it, only escapes are added."""
    plain = as_text(broken(), width=80, colour=False)
    coloured = as_text(broken(), width=80, colour=True)
    assert "\x1b" not in plain
    assert ANSI.search(coloured)
    assert ANSI.sub("", coloured) == plain


def test_foreign_text_does_not_act_on_the_terminal() -> None:
    """Terminal escapes and other controls in the data are written out, in every field."""
    data = broken()
    evil = "a\x1b]0;title\x07\r\x9b31m\u202eb\ud800"
    data["title"] = data["listen"] = data["new_version"] = data["old_version"] = evil
    data["going_back"] = {"price": evil, "sentence": evil}
    data["files"] = {evil: evil}
    run = data["runs"][-1]
    run["steps"][5]["name"] = evil
    run["steps"][5]["findings"] = [finding(evil, evil, evil, holds=False)]
    run["error"] = {"code": evil, "what": evil, "where": evil, "now": evil, "next": evil}
    text = as_text(data, width=80, colour=False)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\ud800]", text)
    assert r"a\x1b]0;title\x07\r\x9b31m\u202eb\ud800" in text
    text.encode("utf-8")


def test_a_plan_alone() -> None:
    """Before any run the planned steps stand in place of those that ran."""
    data = report()
    data |= {"runs": [], "pause": None, "requests": None, "outcome": "planned", "live": "old"}
    text = as_text(data, width=80, colour=False)
    assert "Planned; the old side (1.100.0) serves" in text
    assert "   6   stop          about 400 ms\n" in text
    assert text.endswith("crossfade rehearse\n")


def test_interrupted_resumes_by_the_same_command() -> None:
    """After an interruption the next command is the verb that was interrupted."""
    data = report()
    data["outcome"] = "interrupted"
    data["runs"][-1]["outcome"] = "interrupted"
    assert as_text(data, width=80, colour=False).endswith("crossfade cutover\n")
