"""All runs and their steps as bars, and the evidence of each step."""

from __future__ import annotations

import json
from collections.abc import Iterable

from crossfade.report.data import Finding, ReportData, RunRecord, StepRecord, Trouble
from crossfade.report.facts import in_pause, step_seconds
from crossfade.report.markup import Markup, element
from crossfade.report.scale import Linear
from crossfade.report.words import clock, date, duration, plural

__all__ = ["NAMES", "evidence", "outcome_mark", "timeline", "trouble"]

NAMES = {
    "rehearsal": "Rehearsal",
    "cutover": "Cutover",
    "rollback": "Rollback",
    "retire": "Retire",
}

_MARKS = {"done": "✔", "failed": "✘", "undone": "↶", "skipped": "–", "running": "…"}


def outcome_mark(outcome: str) -> str:
    """One sign for a step's outcome: done, failed, undone, skipped or running."""
    return _MARKS.get(outcome, "✘")


def timeline(data: ReportData) -> list[Markup]:
    """Each run with its steps as horizontal bars on the run's own scale.

    The latest run's error is not told here: it stands at the top of the report.
    """
    return [_run(data, run, run is not data["runs"][-1]) for run in data["runs"]]


def _run(data: ReportData, run: RunRecord, with_error: bool) -> Markup:
    ends = [s["ended"] for s in run["steps"] if s["ended"] is not None]
    begins = [s["began"] for s in run["steps"]]
    ended = run["ended"] if run["ended"] is not None else max([*ends, *begins, run["began"]])
    x = Linear(run["began"], max(ended, run["began"] + 0.001), 1000.0)
    took = duration(ended - run["began"]) if run["ended"] is not None else "not ended"
    unmuted = element("span", "unmuted", class_="tag warn") if run["unmuted"] else None
    said = element("span", f"{date(run['began'])}, {took}", class_="when")
    outcome = element("span", run["outcome"].replace("-", " "), class_=f"tag {run['outcome']}")
    name = f"{NAMES[run['run']]}, attempt {run['attempt']}"
    return element(
        "section",
        element("h3", name, " ", outcome, " ", unmuted, " ", said),
        element("table", _head(), element("tbody", [_row(data, x, s) for s in run["steps"]])),
        trouble(run["error"]) if run["error"] and with_error else None,
        class_="run",
    )


def _head() -> Markup:
    names = ("", "step", "begin", "", "took")
    kinds = ("sign", "name", "at", "bar", "number")
    cells = [element("th", n, class_=k, scope="col") for n, k in zip(names, kinds, strict=True)]
    return element("thead", element("tr", cells))


def _row(data: ReportData, x: Linear, step: StepRecord) -> Markup:
    seconds = step_seconds(step)
    left = x.at(step["began"])
    right = x.at(step["ended"]) if step["ended"] is not None else x.length
    bar = element("rect", x=left, y=3, width=max(right - left, 0.0), height=10, class_="whole")
    inside = in_pause(step, data["pause"])
    drawing = element(
        "svg",
        element("title", f"{step['name']}: {step['outcome']}"),
        _pause_shade(data, x) if step["in_pause"] else None,
        bar,
        _inside(x, *inside) if inside else None,
        viewBox="0 0 1000 16",
        preserveAspectRatio="none",
        role="img",
        class_=step["outcome"],
    )
    told = element("span", "pause", class_="tag pause") if step["in_pause"] else None
    return element(
        "tr",
        element("td", outcome_mark(step["outcome"]), class_="sign", title=step["outcome"]),
        element("td", step["name"], " ", told, class_="name"),
        element("td", clock(step["began"]), class_="at"),
        element("td", drawing, class_="bar"),
        element("td", "" if seconds is None else duration(seconds), class_="number"),
        class_=step["outcome"],
    )


def _inside(x: Linear, began: float, ended: float) -> Markup:
    left, right = x.at(began), x.at(ended)
    return element("rect", x=left, y=3, width=right - left, height=10, class_="inside")


def _pause_shade(data: ReportData, x: Linear) -> Markup | None:
    pause = data["pause"]
    if pause is None or not x.first <= pause["began"] <= x.last:
        return None
    left, right = x.at(pause["began"]), x.at(min(pause["ended"], x.last))
    return element("rect", x=left, y=0, width=right - left, height=16, class_="band")


def trouble(error: Trouble) -> Markup:
    """An explained error: its four sentences."""
    rows = [("what", error["what"]), ("where", error["where"]), ("now", error["now"])]
    terms = [(element("dt", k), element("dd", v)) for k, v in rows if v]
    following = (element("dt", "next"), element("dd", element("code", error["next"])))
    told = [*terms, following] if error["next"] else terms
    head = element("p", "Error: ", element("code", error["code"]), class_="code")
    return element("div", head, element("dl", told), class_="trouble")


def evidence(data: ReportData) -> list[Markup]:
    """The findings and details of every step, to be unfolded; open where something fails."""
    return [
        element(
            "section",
            element("h3", f"{NAMES[run['run']]}, attempt {run['attempt']}"),
            [_step(step) for step in run["steps"]],
        )
        for run in data["runs"]
    ]


def _step(step: StepRecord) -> Markup:
    total = len(step["findings"])
    failed = sum(not finding["holds"] for finding in step["findings"])
    if failed:
        told = f"{failed} of {plural(total, 'finding')} fail" + ("s" if failed == 1 else "")
    else:
        told = f"{plural(total, 'finding')}" + (
            ", all hold" if total > 1 else ", holds" if total else ""
        )
    summary = element(
        "summary",
        element("span", outcome_mark(step["outcome"]), class_=f"sign {step['outcome']}"),
        element("span", step["name"], class_="name"),
        element("span", told, class_="told failing" if failed else "told"),
    )
    return element(
        "details",
        summary,
        _findings(step["findings"]) if total else None,
        _parts(step),
        _details(step),
        open=bool(failed),
    )


def _findings(findings: Iterable[Finding]) -> Markup:
    names = ("", "claim", "expected", "observed", "source")
    rows = [
        element(
            "tr",
            element("td", "✔" if f["holds"] else "✘", class_="sign"),
            element("td", f["claim"], data_label="claim"),
            element("td", f["expected"], class_="value", data_label="expected"),
            element("td", f["observed"], class_="value", data_label="observed"),
            element("td", f["source"], class_="value source", data_label="source"),
            class_="holds" if f["holds"] else "fails",
        )
        for f in findings
    ]
    head = element("thead", element("tr", [element("th", n, scope="col") for n in names]))
    return element("table", head, element("tbody", rows), class_="findings")


def _parts(step: StepRecord) -> Markup | None:
    if not step["parts"]:
        return None
    items = [
        element("li", part["name"], " ", element("b", duration(part["seconds"])))
        for part in step["parts"]
    ]
    return element("ul", items, class_="parts", aria_label="measured parts")


def _details(step: StepRecord) -> Markup | None:
    rows = []
    for key, value in step["details"].items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1)
        rows.append((element("dt", key), element("dd", element("pre", text))))
    return element("dl", rows, class_="facts") if rows else None
