"""The HTML report: self-contained, escaped, and drawn to the data."""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.report.page import Page, drawing, group
from tests.report.sample import HOLD, PAUSE, broken, finding, report, requests, samples

from crossfade.report import ReportData, as_html

HOSTILE = (
    "</style></svg><script>alert(1)</script><img src=x onerror=alert(2)> "
    '"\' onload="alert(3) & &amp; \x00\x1b[31m\x85\u202e\ud800\ufffe]]> <!-- -->'
)


def hostile() -> ReportData:
    """A report with a hostile string wherever there is a string that is not a fixed word."""
    fixed = {"outcome", "live", "run", "crossfade", "samples"}

    def spoil(value: object, name: str = "") -> object:
        if name in fixed:
            return value
        if isinstance(value, dict):
            return {k: spoil(v, k) for k, v in value.items()} | (
                {HOSTILE: HOSTILE} if name in ("details", "world", "files") else {}
            )
        if isinstance(value, list):
            return [spoil(item) for item in value]
        return HOSTILE if isinstance(value, str) else value

    return cast(ReportData, spoil(broken()))


def test_asks_for_nothing() -> None:
    """No element, attribute or style refers to anything outside the file, and no script runs."""
    page = Page(as_html(report()))
    names = {name for _, attributes in page.tags for name in attributes}
    assert names.isdisjoint({"src", "href", "xlink:href", "srcset", "action", "style", "data"})
    assert not [name for name in names if name.startswith("on")]
    assert {tag for tag, _ in page.tags}.isdisjoint(
        {"script", "link", "img", "iframe", "object", "embed", "base", "form", "image", "use"}
    )
    assert "url(" not in page.style
    assert "@import" not in page.style
    assert "//" not in page.html.replace(page.text, "")


def test_policy_allows_only_the_own_style() -> None:
    """The policy forbids everything but the one style sheet, by its digest."""
    page = Page(as_html(report()))
    (policy,) = page.find("meta", **{"http-equiv": "Content-Security-Policy"})
    digest = b64encode(sha256(page.style.encode()).digest()).decode()
    assert policy["content"] == (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    assert len(page.find("style")) == 1


def test_hostile_strings_stay_text() -> None:
    """Markup, quotes, controls and undecodable characters in the data show up as text only."""
    html = as_html(hostile())
    page = Page(html)
    plain = Page(as_html(broken()))
    assert {tag for tag, _ in page.tags} <= {tag for tag, _ in plain.tags}
    allowed = {name for _, attributes in plain.tags for name in attributes}
    assert {name for _, attributes in page.tags for name in attributes} <= allowed
    assert "<script>alert(1)</script>" in page.text
    assert r"\x00\x1b[31m\x85\u202e\ud800\ufffe" in page.text
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e\ud800-\udfff\ufffe]", html)
    html.encode("utf-8")
    drawing(html)


@settings(max_examples=30, deadline=None)
@given(st.text(st.characters(codec=None)))
def test_any_text_is_shown_and_acts_nowhere(text: str) -> None:
    """Whatever a finding observed, the document has the same elements as for a harmless word."""
    data = report(around=0.1)
    data["runs"], data["requests"] = data["runs"][-1:], None
    data["runs"][0]["steps"] = data["runs"][0]["steps"][:1]
    data["runs"][-1]["steps"][0]["findings"] = [finding("claim", "word")]
    harmless = [tag for tag, _ in Page(as_html(data)).tags]
    data["runs"][-1]["steps"][0]["findings"] = [finding(text, text, text)]
    html = as_html(data)
    html.encode("utf-8")
    assert [tag for tag, _ in Page(html).tags] == harmless


def test_a_mark_for_every_request() -> None:
    """Each request in the window has one mark, in the colour of the side that answered."""
    data = broken()
    first, last = HOLD - 15, HOLD + PAUSE + 15
    seen = [s for s in samples() if first <= s.arrived <= last]
    svg = drawing(as_html(data))
    assert len(group(svg, "marks failed").findall("svg")) == 2
    assert len(group(svg, "marks old").findall("path")) == len(seen) - 2
    assert len(group(svg, "marks new")) == 0
    svg = drawing(as_html(report()))
    for side in ("old", "new"):
        marks = group(svg, f"marks {side}").findall("path")
        assert len(marks) == len([s for s in seen if s.side == side])


def test_marks_stand_where_the_data_says() -> None:
    """A mark's place is its arrival (linear) and its latency (logarithmic, by the grid's lines)."""
    data = report()
    one = samples()[0]._replace(arrived=HOLD + 5, total_ms=100.0, held_ms=0.0, side="new")
    low = one._replace(arrived=HOLD - 15, total_ms=1.0, side="old")
    high = one._replace(arrived=HOLD + PAUSE + 15, total_ms=9000.0)
    data["requests"] = requests([low, one, high])
    svg = drawing(as_html(data))
    places = {
        side: [p.get("d", "") for p in group(svg, f"marks {side}").findall("path")]
        for side in ("old", "new")
    }
    # The scale runs from 1 ms (bottom, 300) to 10 s (top, 0): four decades of 75 units.
    assert places["old"] == ["M0.00 300.0h0"]
    x = 20 / (30 + PAUSE) * 1000
    assert places["new"] == [f"M{x:.2f} 150.0h0", "M1000.00 3.4h0"]
    assert [t.text for t in svg.iter("text") if t.get("class") == "y"] == [
        "1 ms",
        "10 ms",
        "100 ms",
        "1 s",
        "10 s",
    ]


@pytest.mark.parametrize("seconds", [0.05, 1.212, 60.0])
def test_band_is_the_pause_to_the_pixel(seconds: float) -> None:
    """The shaded band begins at the hold and ends at the release on the time axis."""
    data = report()
    assert data["pause"] is not None
    data["pause"] |= {"ended": HOLD + seconds, "seconds": seconds}
    svg = drawing(as_html(data))
    (band,) = [r for r in svg.iter("rect") if r.get("class") == "band"]
    unit = 1000 / (30 + seconds)
    assert float(band.get("x", "")) == pytest.approx(15 * unit, abs=0.01)
    assert float(band.get("width", "")) == pytest.approx(seconds * unit, abs=0.01)


def test_ticks_are_honest() -> None:
    """Each label of the time axis stands where its number says."""
    svg = drawing(as_html(report()))
    ticks = [t for t in svg.iter("text") if t.get("class") == "x"]
    assert [t.text for t in ticks] == ["−15", "−10", "−5", "0", "+5", "+10", "+15"]
    for tick in ticks:
        value = float((tick.text or "").replace("−", "-"))
        place = float(tick.get("x", "").rstrip("%"))
        assert place == pytest.approx((value + 15) / (30 + PAUSE) * 100, abs=0.001)


def test_phases_as_strip_and_magnified() -> None:
    """Each part inside the pause is a segment of the strip, and a bar of the same share below."""
    svg = drawing(as_html(report()))
    bars: dict[str, list[tuple[float, float]]] = {}
    for g in svg.iter("g"):
        kind = g.get("class", "").partition(" ")[0]
        if kind in ("strip", "phase"):
            (rect,) = g.findall("rect")
            bars.setdefault(kind, []).append(
                (float(rect.get("x", "")), float(rect.get("width", "")))
            )
    assert len(bars["strip"]) == len(bars["phase"]) == 12
    scale, left = PAUSE / (30 + PAUSE), 15 / (30 + PAUSE) * 1000
    for (x, width), (wide_x, wide) in zip(bars["strip"], bars["phase"], strict=True):
        assert x == pytest.approx(left + wide_x * scale, abs=0.02)
        assert width == pytest.approx(wide * scale, abs=0.02)
    # "stop old" began 72 ms after the hold and took 310 ms of 1212.
    assert bars["phase"][2] == pytest.approx((72 / 1.212, 310 / 1.212), abs=0.05)


def test_picture_tells_itself() -> None:
    """The picture has a role, a title and a description that names the numbers."""
    svg = drawing(as_html(broken()))
    assert svg.get("role") == "img"
    title, desc = svg.find("title"), svg.find("desc")
    assert title is not None
    assert title.get("id") == svg.get("aria-labelledby")
    assert desc is not None
    assert "2 requests failed" in (desc.text or "").lower()
    assert "the pause took 1.21 s" in (desc.text or "")


def test_many_requests_are_thinned_and_it_says_so() -> None:
    """Above 20,000 requests that many are drawn, and the caption tells how many there were."""
    data = report()
    found = [
        s._replace(arrived=HOLD - 15 + n * 0.001, status=502 if n % 3001 == 0 else 200)
        for n, s in enumerate(samples() * 3)
    ]
    data["requests"] = requests(found)
    html = as_html(data)
    svg = drawing(html)
    assert len(found) > 20_000
    marks = [len(list(group(svg, f"marks {k}").iter("path"))) for k in ("old", "new", "failed")]
    assert sum(marks) == 20_000
    assert marks[2] == sum(s.failed for s in found)
    assert f"Of the {len(found):,} requests in this window 20,000 are drawn" in Page(html).text


def test_headline_numbers() -> None:
    """Pause against prediction, requests, failures, leaks and lost writes stand on top."""
    data = report()
    text = Page(as_html(data)).text
    told = cast(dict[str, Any], data["requests"])
    assert "Done; the new side (1.163.2) serves at 127.0.0.1:8008." in text
    assert "Pause1.21 spredicted 1.15 s, limit 10 s" in text
    assert f"Requests{told['total']:,}{told['held']} held" in text
    assert "Failed requests0" in text
    assert "Old after the drain0" in text
    assert "Lost writes0of 3,412 acknowledged" in text
    assert "Price of going back now: 3,412 writes" in text


def test_evidence_is_whole_and_opens_where_it_fails() -> None:
    """Every finding of every step is there; only steps with a failing one are unfolded."""
    data = broken()
    page = Page(as_html(data))
    findings = [f for run in data["runs"] for step in run["steps"] for f in step["findings"]]
    rows = page.find("tr", class_="holds") + page.find("tr", class_="fails")
    assert len(rows) == len(findings)
    assert all(f["claim"] in page.text and f["source"] in page.text for f in findings)
    assert len(page.find("tr", class_="fails")) == 1
    assert len([a for a in page.find("details") if "open" in a]) == 1
    assert "1 of 3 findings fails" in page.text


def test_error_is_told_once_with_its_four_sentences() -> None:
    """The latest run's error stands at the top, with what, where, now and next."""
    page = Page(as_html(broken()))
    assert len(page.find("div", class_="trouble")) == 1
    assert "whatThe new version fails its check" in page.text
    assert "nowThe old side serves again" in page.text


def test_difference_is_coloured_by_line() -> None:
    """Added and removed lines of the configuration are marked as such, and keep their signs."""
    page = Page(as_html(report()))
    assert len(page.find("span", class_="added")) == 2
    assert len(page.find("span", class_="removed")) == 2
    assert "+    database: /srv/chat/new/homeserver.db\n" in page.text


def test_only_what_fell_into_the_pause_has_its_colour() -> None:
    """A step that worked before and after the hold is coloured for its part in the pause only."""
    html = as_html(report())
    found = re.findall(r'width="([\d.]+)" height="10" class="inside"', html)
    widths = [float(width) for width in found]
    assert len(widths) == 3
    assert sum(widths) / 1000 * 19.458 == pytest.approx(PAUSE, abs=0.05)


@pytest.mark.parametrize("outcome", ["planned", "rehearsed", "interrupted", "recovery-failed"])
def test_without_a_cutover(outcome: str) -> None:
    """Before any pause there is no picture, and everything else still stands."""
    data = report()
    data |= {"pause": None, "requests": None, "live": "old", "configuration": None}
    data["outcome"] = cast(Any, outcome)
    data["runs"] = [] if outcome == "planned" else data["runs"][:1]
    page = Page(as_html(data))
    assert 'id="latency"' not in page.html
    assert "the old side (1.100.0) serves" in page.text


def test_pause_without_a_record() -> None:
    """A cutover that nobody recorded shows the pause and its parts, and says what is missing."""
    data = report()
    data["requests"] = None
    html = as_html(data)
    assert "no request was recorded here" in Page(html).text
    assert [r for r in drawing(html).iter("rect") if r.get("class") == "band"]
