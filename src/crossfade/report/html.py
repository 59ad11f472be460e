"""The report as one self-contained HTML file, without a script and without any request."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from importlib.resources import files

from crossfade.report.data import ReportData
from crossfade.report.facts import headline, last_run, next_command, writes
from crossfade.report.latency import AROUND, Picture, picture
from crossfade.report.markup import Markup, element
from crossfade.report.plan import configuration, plan
from crossfade.report.timeline import evidence, timeline, trouble
from crossfade.report.words import count, date, duration, plural

__all__ = ["as_html"]


def as_html(data: ReportData) -> str:
    """The whole report.  Encode it as UTF-8; it reads nothing from anywhere else.

    The policy in its head forbids everything but this file's own style sheet, by its digest.
    """
    style = Markup(files("crossfade.report").joinpath("report.css").read_text("utf-8"))
    digest = b64encode(sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    name = f"{data['title']} {data['old_version']} → {data['new_version']}"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", f"{name}: upgrade report"),
        element("style", style),
    )
    body = element("body", _header(data), element("main", _sections(data)), _footer(data))
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def _header(data: ReportData) -> Markup:
    versions = (data["old_version"], element("span", " → ", class_="arrow"), data["new_version"])
    return element(
        "header",
        element("p", "Upgrade report", class_="kind"),
        element("h1", data["title"], " ", element("span", versions, class_="versions")),
        element("p", headline(data), class_=f"outcome {data['outcome']}"),
        element("p", f"{date(data['made_at'])} · upgrade {data['upgrade']}", class_="when"),
    )


def _sections(data: ReportData) -> list[Markup]:
    run = last_run(data)
    error = run["error"] if run and run["outcome"] != "done" else None
    found: list[tuple[str, str, object]] = [
        ("", "numbers", [_numbers(data), trouble(error) if error else None]),
        ("Requests across the cutover", "requests", _requests(data)),
        ("Going back", "back", _going_back(data)),
        ("Runs and steps", "runs", timeline(data)),
        ("Evidence", "evidence", evidence(data)),
        ("Plan", "plan", plan(data["plan"])),
        ("Configuration", "configuration", configuration(data["configuration"])),
    ]
    return [_section(title, name, content) for title, name, content in found if content]


def _section(title: str, name: str, content: object) -> Markup:
    heading = element("h2", title) if title else None
    return element("section", heading, content, id=name)  # type: ignore[arg-type]


def _numbers(data: ReportData) -> Markup | None:
    """The headline numbers: the pause, the requests, and the two that have to be zero."""
    tiles = []
    if pause := data["pause"]:
        predicted = pause["predicted"]
        told = "not predicted" if predicted is None else f"predicted {duration(predicted)}"
        over = " bad" if pause["seconds"] > pause["limit"] else ""
        note = f"{told}, limit {duration(pause['limit'])}"
        tiles.append(_tile("Pause", duration(pause["seconds"]), note, over))
    if seen := data["requests"]:
        longest = f"{count(seen['held'])} held, longest {duration(seen['longest_ms'] / 1000)}"
        tiles.append(_tile("Requests", count(seen["total"]), longest))
        tiles.append(_zero("Failed requests", seen["failed"], "of all that the gate saw"))
        after = seen["served_by_old_after_drain"]
        tiles.append(_zero("Old after the drain", after, "requests that it served"))
    if found := writes(data):
        known = found.acknowledged
        note = "acknowledged writes" if known is None else f"of {count(known)} acknowledged"
        tiles.append(_zero("Lost writes", found.lost, note))
    return element("dl", tiles, class_="tiles") if tiles else None


def _tile(name: str, value: str, note: str, kind: str = "") -> Markup:
    terms = (element("dt", name), element("dd", value, class_="value"))
    return element("div", terms, element("dd", note, class_="note"), class_=f"tile{kind}")


def _zero(name: str, number: int, note: str) -> Markup:
    return _tile(name, count(number), note, " bad" if number else " good")


def _requests(data: ReportData) -> list[Markup]:
    drawing = picture(data)
    if drawing is None:
        return []
    before = f"{AROUND:.0f} s"
    thinned = (
        f" Of the {count(drawing.in_window)} requests in this window {count(drawing.drawn)} are "
        "drawn: every failed one, the slowest 1,000, and an even choice of the others."
        if drawing.drawn < drawing.in_window
        else ""
    )
    caption = (
        f"Every request from {before} before the pause to {before} after it, at its time of "
        "arrival and with its whole latency on a logarithmic scale. The shaded band is the pause: "
        "requests that arrive in it wait at the gate and are then answered. Below, the parts of "
        f"the pause, magnified.{_rows_told(drawing)}{thinned}"
    )
    return [
        element(
            "figure",
            _legend(drawing),
            element("div", drawing.svg, class_="picture"),
            element("figcaption", caption),
        )
    ]


def _rows_told(drawing: Picture) -> str:
    """How far the magnified parts explain the pause."""
    if not drawing.rows:
        return ""
    left_out = (
        f", the {drawing.rows} longest of them shown," if drawing.rows < drawing.phases else ""
    )
    seconds = duration(drawing.covered)
    return (
        f" {plural(drawing.phases, 'measured part').capitalize()}{left_out} cover {seconds} of it."
    )


def _legend(drawing: Picture) -> Markup:
    kinds = [
        ("old", "answered by the old side", drawing.old),
        ("new", "answered by the new side", drawing.new),
        ("gate", "answered by the gate", drawing.gate),
        ("failed", "failed (5xx or no answer)", drawing.failed),
    ]
    items = [
        element("li", _swatch(kind), name, " ", element("b", count(number)))
        for kind, name, number in kinds
        if number or kind != "gate"
    ]
    return element("ul", items, class_="legend")


def _swatch(kind: str) -> Markup:
    shape = "M3 3L11 11M11 3L3 11" if kind == "failed" else "M7 7h0"
    mark = element("path", d=shape)
    return element("svg", mark, width=14, height=14, aria_hidden="true", class_=f"swatch {kind}")


def _going_back(data: ReportData) -> Markup:
    back = data["going_back"]
    following = next_command(data)
    step = ("Next: ", element("code", following)) if following else None
    stands = [element("li", one) for one in data["stands"]]
    files = [(element("dt", name), element("dd", path)) for name, path in data["files"].items()]
    return element(
        "div",
        element("p", "Price of going back now: ", element("strong", back["price"]), class_="price"),
        element("p", _capital(back["sentence"])) if back["sentence"] else None,
        element("p", step, class_="next") if step else None,
        element("p", "What stands on machines now:") if stands else None,
        element("ul", stands, class_="stands") if stands else None,
        element("dl", files, class_="facts files") if files else None,
    )


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def _footer(data: ReportData) -> Markup:
    return element("footer", f"Made by Crossfade {data['crossfade']}. All times are UTC.")
