"""The record, the scales, the words and the facts that the three forms share."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.report.sample import HOLD, PAUSE, report

from crossfade.report import Sample, read_record
from crossfade.report.facts import covered, phases, writes
from crossfade.report.scale import Linear, Logarithmic, thin
from crossfade.report.words import duration, plural


def test_record_is_read(tmp_path: Path) -> None:
    """Lines become samples, ordered by arrival; the torn last one is left out."""
    record = tmp_path / "requests.csv"
    record.write_text(
        "1700000001.250,PUT,200,new,1210.500,1201.250\n"
        "1700000000.000,GET,200,old,4.125,0.031\n"
        "1700000002.000,GET,502,-,3.000,0.000\n"
        "1700000003.000,GET,200,new,12.0"
    )
    assert read_record(record) == [
        Sample(1700000000.0, 4.125, 0.031, 200, "old", "GET"),
        Sample(1700000001.25, 1210.5, 1201.25, 200, "new", "PUT"),
        Sample(1700000002.0, 3.0, 0.0, 502, "-", "GET"),
    ]


def test_last_line_cut_inside_its_last_number_is_torn(tmp_path: Path) -> None:
    """Six fields without a line end are no request: the last number may go on."""
    record = tmp_path / "requests.csv"
    record.write_text("1.0,GET,200,old,4.0,0.0\n2.0,GET,200,old,4.0,120")
    assert [sample.arrived for sample in read_record(record)] == [1.0]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "x",
        "1,GET,200,old,4",
        "1,GET,200,blue,4,0",
        "nan,GET,200,old,4,0",
        "1,GET,200,old,inf,0",
        "1,GET,200,old,-4,0",
        "1,GET,2x0,old,4,0",
        "1.0,GE1.5,GET,200,old,4.0,0.0",
        "1,\xff\x00,200,old",
    ],
)
def test_lines_that_are_no_requests_are_left_out(tmp_path: Path, line: str) -> None:
    """A torn line in the middle (a gate that was killed and started again) spoils no other."""
    record = tmp_path / "requests.csv"
    record.write_bytes(
        f"1.0,GET,200,old,4.0,0.0\n{line}\n2.0,GET,200,new,4.0,0.0\n".encode("latin-1")
    )
    assert [sample.arrived for sample in read_record(record)] == [1.0, 2.0]


def test_no_record_is_an_empty_one(tmp_path: Path) -> None:
    """Where nothing was recorded there are no samples."""
    assert read_record(tmp_path / "missing.csv") == []


def _sample(n: int, status: int, total: float) -> Sample:
    return Sample(float(n), total, 0.0, status, "old", "GET")


@given(st.lists(st.tuples(st.sampled_from([200, 502, 0]), st.floats(0, 1e5)), max_size=300))
def test_thinning_keeps_what_matters(rows: list[tuple[int, float]]) -> None:
    """Failures and the slowest always stay; the order too; no more than asked for otherwise."""
    found = [_sample(n, status, total) for n, (status, total) in enumerate(rows)]
    kept = thin(found, at_most=50, slowest=10)
    failed = [s for s in found if s.failed]
    assert [s for s in kept if s.failed] == failed
    assert kept == sorted(set(kept), key=lambda s: s.arrived)
    assert len(kept) == min(len(found), 50) or len(failed) > 40
    slowest = sorted((s.total_ms for s in found), reverse=True)[:10]
    assert sorted((s.total_ms for s in kept), reverse=True)[:10] == slowest


def test_thinning_is_even() -> None:
    """Of requests that are all alike, every stretch of time keeps its share."""
    found = [_sample(n, 200, 1.0 if n >= 100 else 9.0) for n in range(10_000)]
    kept = [s.arrived for s in thin(found, at_most=1_100, slowest=100) if s.arrived >= 100]
    assert len(kept) == 1_000
    assert max(b - a for a, b in pairwise(kept)) <= 10


@given(st.floats(0.05, 4000), st.integers(2, 12))
def test_linear_ticks(length: float, at_most: int) -> None:
    """Ticks lie inside the scale, evenly, and never more than fit."""
    scale = Linear(-15.0, length + 15, 1000.0)
    ticks = scale.ticks(at_most)
    assert 1 <= len(ticks) <= at_most + 1
    assert all(-1e-6 <= scale.at(tick) <= 1000 + 1e-6 for tick in ticks)


@given(st.lists(st.floats(0, 1e6), max_size=20))
def test_logarithmic_scale_holds_every_value(values: list[float]) -> None:
    """Every latency is drawn inside the plot, and greater ones higher."""
    scale = Logarithmic.over(values, 300.0)
    places = [scale.at(value) for value in sorted(values)]
    assert all(-1e-6 <= place <= 300 + 1e-6 for place in places)
    assert places == sorted(places, reverse=True)
    assert len(scale.decades()) >= 2


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 ms"),
        (0.0004, "0.4 ms"),
        (0.0123, "12.3 ms"),
        (0.412, "412 ms"),
        (0.9996, "1 s"),
        (1.212, "1.21 s"),
        (9.996, "10 s"),
        (42.13, "42.1 s"),
        (59.96, "1 min"),
        (192, "3 min 12 s"),
        (7500, "2 h 5 min"),
        (-1.5, "−1.50 s"),
    ],
)
def test_durations(seconds: float, words: str) -> None:
    """Durations are said with three digits and the unit that fits."""
    assert duration(seconds) == words


def test_plural() -> None:
    """Counts agree with their nouns."""
    assert [plural(n, "finding") for n in (0, 1, 1200)] == [
        "no findings",
        "1 finding",
        "1,200 findings",
    ]


def test_phases_are_cut_at_the_pause() -> None:
    """Parts before the hold and after the release do not count; those across a border are cut."""
    data = report()
    stop, _, switch = data["runs"][-1]["steps"][-3:]
    stop["parts"] = [
        {"name": "prepare", "began": HOLD - 4, "seconds": 3.9},
        {"name": "drain", "began": HOLD - 0.1, "seconds": 0.3},
    ]
    switch["parts"] = [
        {"name": "release", "began": HOLD + PAUSE - 0.2, "seconds": 0.5},
        {"name": "watch", "began": HOLD + PAUSE + 1, "seconds": 5.0},
    ]
    found = {phase.name: (phase.began, phase.ended) for phase in phases(data)}
    assert "prepare" not in found
    assert "watch" not in found
    assert found["drain"] == pytest.approx((0.0, 0.2), abs=1e-5)
    assert found["release"] == pytest.approx((PAUSE - 0.2, PAUSE), abs=1e-5)


def test_phases_are_those_of_the_cutover_that_had_the_pause() -> None:
    """A later cutover that was refused before its hold does not hide them."""
    data = report()
    later = data["runs"][-1].copy()
    later |= {"attempt": 2, "began": HOLD + 900, "ended": HOLD + 901, "steps": []}
    before = phases(data)
    data["runs"].append(later)
    assert phases(data) == before
    assert len(before) == 12


def test_covered_counts_parallel_parts_once() -> None:
    """Parts that ran side by side cover the time only once."""
    data = report()
    assert covered(phases(data)) == pytest.approx(1.199, abs=1e-3)


def test_lost_writes_are_found_in_the_details() -> None:
    """Both ways in which a step may tell lost writes are understood; silence is None."""
    data = report()
    assert writes(data) == (3412, 0)
    step = data["runs"][-1]["steps"][-1]
    step["details"] = {"lost_writes": 2}
    assert writes(data) == (None, 2)
    step["details"] = {}
    assert writes(data) is None
