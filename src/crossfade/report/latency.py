"""The picture of a cutover: every request's latency, the pause, and what happened inside it."""

from __future__ import annotations

from dataclasses import dataclass

from crossfade.report.data import Pause, ReportData, Sample
from crossfade.report.facts import Phase, covered, phases
from crossfade.report.markup import Markup, element
from crossfade.report.scale import Linear, Logarithmic, thin
from crossfade.report.words import duration, plural

__all__ = ["AROUND", "Picture", "picture"]

AROUND = 15.0
"""Seconds that are shown before and after the pause."""

_WIDTH = 1000.0
_HEIGHT = 300.0
_STRIP = (304.0, 9.0)
_FUNNEL = (313.0, 376.0)
_ROW = 27.0
_MOST_ROWS = 14
_CROSS = "M-4.5-4.5L4.5 4.5M4.5-4.5L-4.5 4.5"


@dataclass(frozen=True, slots=True)
class Picture:
    """The drawing, and how many requests of each kind stand in its window and are drawn.

    phases is how many parts of the pause were measured, rows how many of them have a row, and
    covered how many seconds of the pause they cover.
    """

    svg: Markup
    old: int
    new: int
    gate: int
    failed: int
    in_window: int
    drawn: int
    phases: int
    rows: int
    covered: float


def picture(data: ReportData) -> Picture | None:
    """Draw the last cutover; None when there was no pause.

    The drawing has two layers in one SVG element.  Shapes are drawn on a surface of 1000 units
    that stretches to any width, with strokes that do not stretch, so that dots stay round; text
    is placed in per cent and keeps its size.  So one drawing serves a desk and a phone, without
    a script.
    """
    pause = data["pause"]
    if pause is None:
        return None
    x = Linear(-AROUND, pause["ended"] - pause["began"] + AROUND, _WIDTH)
    found = phases(data)
    rows = _rows(found)
    seen = _window(data, pause, x)
    shown = thin(seen)
    y = Logarithmic.over([sample.total_ms for sample in seen], _HEIGHT)
    height = _FUNNEL[1] + _ROW * len(rows) + 4 if rows else _HEIGHT + 48
    surface = element(
        "svg",
        _grid(x, y),
        _band(x, pause),
        _funnel(x, pause, rows),
        _marks(x, y, pause, shown),
        viewBox=f"0 0 {_WIDTH:.0f} {height:.0f}",
        preserveAspectRatio="none",
        width="100%",
        height=height,
        class_="surface",
    )
    crosses = _crosses(x, y, pause, shown)
    labels = (_labels(x, y, pause, bool(seen)), _row_labels(pause, rows))
    parts = (*_describe(pause, seen), surface, *labels, crosses)
    labelled = {"aria_labelledby": "latency-title", "aria_describedby": "latency-desc"}
    svg = element("svg", *parts, id="latency", role="img", height=height, width="100%", **labelled)
    served = [sample.side for sample in seen if not sample.failed]
    sides = (served.count("old"), served.count("new"), served.count("-"))
    drawn = (len(seen) - len(served), len(seen), len(shown))
    return Picture(svg, *sides, *drawn, len(found), len(rows), covered(found))


def _window(data: ReportData, pause: Pause, x: Linear) -> list[Sample]:
    rows = data["requests"]["samples"] if data["requests"] else []
    samples = (Sample(*row) for row in rows)
    return [s for s in samples if x.first <= s.arrived - pause["began"] <= x.last]


def _describe(pause: Pause, seen: list[Sample]) -> tuple[Markup, Markup]:
    failed = sum(sample.failed for sample in seen)
    slowest = max((sample.total_ms for sample in seen), default=0.0)
    text = (
        f"{plural(len(seen), 'request')} from {AROUND:.0f} seconds before the pause to "
        f"{AROUND:.0f} seconds after it, each a mark at its time of arrival and its latency on a "
        f"logarithmic scale. {plural(failed, 'request').capitalize()} failed. The slowest took "
        f"{duration(slowest / 1000)}; the pause took {duration(pause['seconds'])}."
    )
    return (
        element("title", "Latency of every request across the cutover", id="latency-title"),
        element("desc", text, id="latency-desc"),
    )


def _grid(x: Linear, y: Logarithmic) -> Markup:
    fine = [_line(0, y.at(v), _WIDTH, y.at(v), "fine") for v in y.between()]
    decades = [_line(0, y.at(v), _WIDTH, y.at(v), "decade") for v in y.decades()]
    ticks = [_line(x.at(v), _HEIGHT, x.at(v), _HEIGHT + 5, "tick") for v in x.ticks(8)]
    return element("g", fine, decades, ticks, _line(0, _HEIGHT, _WIDTH, _HEIGHT, "axis"))


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=kind)


def _band(x: Linear, pause: Pause) -> Markup:
    left, right = x.at(0), x.at(pause["ended"] - pause["began"])
    edges = [_line(at, 0, at, _HEIGHT, "edge") for at in (left, right)]
    band = element("rect", x=left, y=0, width=right - left, height=_HEIGHT, class_="band")
    return element("g", band, edges, class_="pause")


def _rows(found: list[Phase]) -> list[Phase]:
    """The phases that get a row of their own: the longest, where there are too many for all."""
    longest = sorted(found, key=lambda phase: -phase.seconds)[:_MOST_ROWS]
    return [phase for phase in found if phase in longest]


def _funnel(x: Linear, pause: Pause, rows: list[Phase]) -> Markup | None:
    """The phases at the scale of the plot as a strip, and below it magnified, a row for each."""
    if not rows:
        return None
    length = pause["ended"] - pause["began"]
    left, right = x.at(0), x.at(length)
    (top, thick), (upper, lower) = _STRIP, _FUNNEL
    bottom = lower + _ROW * len(rows)
    corners = [(left, upper), (right, upper), (_WIDTH, lower), (_WIDTH, bottom)]
    corners += [(0, bottom), (0, lower)]
    inside = Linear(0, length, _WIDTH)
    return element(
        "g",
        element("polygon", points=" ".join(f"{a:.2f},{b:g}" for a, b in corners), class_="funnel"),
        [_bar(x, p, n, top, thick, "strip") for n, p in enumerate(rows)],
        [_bar(inside, p, n, lower + _ROW * n + 18, 6, "phase") for n, p in enumerate(rows)],
    )


def _bar(x: Linear, phase: Phase, n: int, top: float, thick: float, kind: str) -> Markup:
    left, right = x.at(phase.began), x.at(phase.ended)
    title = element("title", f"{phase.step}: {phase.name}, {duration(phase.seconds)}")
    shape = element("rect", x=left, y=top, width=right - left, height=thick)
    return element("g", title, shape, class_=f"{kind} {'odd' if n % 2 else 'even'}")


def _marks(x: Linear, y: Logarithmic, pause: Pause, shown: list[Sample]) -> Markup:
    """A dot for each answered request; those that were held can be asked for their story."""
    groups: dict[str, list[Markup]] = {"old": [], "new": [], "-": []}
    for sample in shown:
        if sample.failed:
            continue
        told = element("title", _tell(sample)) if sample.held else None
        at = f"M{x.at(sample.arrived - pause['began']):.2f} {y.at(sample.total_ms):.1f}h0"
        groups[sample.side].append(element("path", told, d=at))
    names = {"old": "old", "new": "new", "-": "gate"}
    return element("g", [element("g", m, class_=f"marks {names[k]}") for k, m in groups.items()])


def _crosses(x: Linear, y: Logarithmic, pause: Pause, shown: list[Sample]) -> Markup:
    """A cross for each failed request, on top of everything and outside the stretched surface."""
    cross = element("path", d=_CROSS)
    return element(
        "g",
        [
            element(
                "svg",
                element("title", _tell(sample)),
                cross,
                x=_per_cent(x.at(sample.arrived - pause["began"])),
                y=y.at(sample.total_ms),
            )
            for sample in shown
            if sample.failed
        ],
        class_="marks failed",
    )


def _tell(sample: Sample) -> str:
    held = f", {duration(sample.held_ms / 1000)} of it held" if sample.held else ""
    side = "the gate" if sample.side == "-" else f"the {sample.side} side"
    answer = f"{sample.status} from {side}" if sample.status else "no answer"
    return f"{sample.method}: {answer} after {duration(sample.total_ms / 1000)}{held}"


def _text(at: float, y: float, *content: Markup | str, **more: object) -> Markup:
    return element("text", *content, x=_per_cent(at), y=y, **more)


def _per_cent(at: float) -> str:
    return f"{at / _WIDTH * 100:.3f}%"


def _labels(x: Linear, y: Logarithmic, pause: Pause, recorded: bool) -> Markup:
    middle = x.at((pause["ended"] - pause["began"]) / 2)
    levels = [_text(0, y.at(v), duration(v / 1000), dx=-8, dy=4, class_="y") for v in y.decades()]
    times = [_text(x.at(v), _HEIGHT + 27, _signed(v), class_="x") for v in x.ticks(8)]
    name = _text(middle, -9, f"pause {duration(pause['seconds'])}", class_="pause-label")
    unit = _text(_WIDTH, _HEIGHT + 45, "seconds from the hold", class_="unit")
    nothing = _text(_WIDTH / 4, _HEIGHT / 2, "no request was recorded here", class_="x")
    return element("g", levels if recorded else nothing, times, name, unit)


def _signed(value: float) -> str:
    return f"{value:+g}".replace("-", "\N{MINUS SIGN}") if value else "0"


def _row_labels(pause: Pause, rows: list[Phase]) -> Markup:
    """Each label above its bar, from the bar's begin, or to its end where that is far right."""
    inside = Linear(0, pause["ended"] - pause["began"], _WIDTH)
    labels = []
    for n, phase in enumerate(rows):
        right = inside.at(phase.began) > 0.55 * _WIDTH
        at = inside.at(phase.ended if right else phase.began)
        step = (
            element("tspan", f"{phase.step}: ", class_="step") if phase.step != phase.name else ""
        )
        text = (step, element("tspan", phase.name), f" {duration(phase.seconds)}")
        labels.append(
            _text(at, _FUNNEL[1] + _ROW * n + 13, *text, class_="right" if right else "left")
        )
    return element("g", labels, class_="phase-labels")
