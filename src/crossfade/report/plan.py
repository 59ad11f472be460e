"""The plan that was followed, and how the configuration differs."""

from __future__ import annotations

from crossfade.model import Reversal
from crossfade.report.data import Configured, Plan, PlannedStep
from crossfade.report.markup import Markup, element
from crossfade.report.words import duration

__all__ = ["configuration", "plan"]


def plan(planned: Plan) -> list[Markup | None]:
    """Warnings, the planned steps, and the facts that the fingerprint covers."""
    warnings = [element("li", text) for text in planned["warnings"]]
    names = ("", "step", "what it does", "going back", "predicted")
    kinds = ("number", "name", "actions", "reversal", "number")
    heads = [element("th", n, class_=k, scope="col") for n, k in zip(names, kinds, strict=True)]
    rows = [_step(number, step) for number, step in enumerate(planned["steps"], 1)]
    world = [(element("dt", k), element("dd", v)) for k, v in planned["world"].items()]
    fingerprint = element("code", planned["fingerprint"])
    covered = element(
        "details",
        element("summary", element("span", "What the fingerprint covers", class_="name")),
        element("dl", world, class_="facts"),
    )
    return [
        element("p", "Fingerprint ", fingerprint, class_="fingerprint"),
        element("ul", warnings, class_="warnings") if warnings else None,
        element(
            "table",
            element("thead", element("tr", heads)),
            element("tbody", rows),
            class_="planned",
        )
        if rows
        else None,
        covered if world else None,
    ]


def _step(number: int, step: PlannedStep) -> Markup:
    actions = [element("li", text) for text in step["actions"]]
    touches = [
        element("li", element("b", "Touches the old side: "), text) for text in step["touches"]
    ]
    touches += [element("li", element("b", "Muted: "), text) for text in step.get("mutes", ())]
    told = element("span", "pause", class_="tag pause") if step["pause"] else None
    seconds = "" if step["seconds"] is None else duration(step["seconds"])
    return element(
        "tr",
        element("td", str(number), class_="number position"),
        element("td", step["name"], " ", told, class_="name"),
        element("td", element("ul", actions, touches), class_="actions"),
        element("td", _price(step["reversal"]), class_="reversal", data_label="going back"),
        element("td", seconds, class_="number", data_label="predicted"),
    )


def _price(reversal: str) -> str:
    try:
        return Reversal[reversal.upper()].words
    except KeyError:
        return reversal


def configuration(configured: Configured | None) -> Markup | None:
    """The unified diff, coloured; its own signs stay, so that it reads without colour too."""
    if configured is None:
        return None
    lines = configured["difference"].rstrip("\n").split("\n")
    if not configured["difference"].strip():
        return element("p", "The configuration was carried over without a difference.")
    body = [element("span", line + "\n", class_=_kind(line)) for line in lines]
    return element("pre", body, class_="difference", tabindex=0)


def _kind(line: str) -> str | None:
    if line.startswith(("+++ ", "--- ", "diff ", "index ")):
        return "file"
    return {"+": "added", "-": "removed", "@": "place"}.get(line[:1])
