"""The account of an upgrade: who serves, what going back costs, and the data of the report.

Built from the journal, the gate's own word, and its record of requests.  The report's modules are
loaded when a report is made, so that ``status`` answers at once.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import crossfade
from crossfade.engine import history
from crossfade.engine.attempt import VERBS
from crossfade.engine.journal import SqliteJournal
from crossfade.engine.lease import holder
from crossfade.engine.work import AttemptWork
from crossfade.errors import CrossfadeError
from crossfade.manifest import Manifest
from crossfade.model import Run, Side
from crossfade.ports import Limits, Names, Traffic, TrafficState

if TYPE_CHECKING:
    from crossfade.report import ReportData

__all__ = ["Accountable", "account", "status", "write_report"]

OUTCOMES = {
    Run.REHEARSAL: {"done": "rehearsed", "failed": "rehearsal-failed"},
    Run.CUTOVER: {"done": "done", "went-back": "went-back"},
    Run.ROLLBACK: {"done": "rolled-back", "went-back": "went-back"},
    Run.RETIRE: {"done": "retired", "went-back": "done"},
}
NEXT = {
    "planned": "crossfade rehearse",
    "rehearsed": "crossfade cutover",
    "rehearsal-failed": "crossfade rehearse",
    "went-back": "crossfade rehearse",
    "rolled-back": "crossfade rehearse",
    "done": "crossfade retire",
    "retired": "nothing is left to do",
}


class Accountable(Protocol):
    """What an account is made from; ``wiring.WiredSite`` is one."""

    @property
    def manifest(self) -> Manifest:
        """The site's manifest, with its recipe."""

    @property
    def journal(self) -> SqliteJournal:
        """The record of this upgrade."""

    @property
    def traffic(self) -> Traffic:
        """The gate."""

    @property
    def names(self) -> Names | None:
        """The names in the DNS, if the site has some."""

    def limits(self) -> Limits:
        """What the operator accepts."""

    def again(self, label: str) -> AttemptWork:
        """Work for an attempt that was begun before."""

    def provisioned(self) -> list[dict[str, str]]:
        """The machines that upgrades have made for the sides: side, name, address, state."""


def status(site: Accountable) -> dict[str, Any]:
    """How things stand, as plain data: live, sentence, going_back, running, runs, machines,
    names, next."""
    state = _look(site)
    records = list(history.runs(site.journal))
    outcome = _outcome(records)
    price, sentence = _price(site, state, records)
    held = holder(site.journal.connect())
    return {
        "live": str(state.side) if state else "old",
        "sentence": _serves(site, state),
        "going_back": f"{price}: {sentence}",
        "running": held[0] if held else "",
        "runs": [{"label": r.label, "outcome": r.outcome} for r in records],
        "machines": site.provisioned(),
        "outcome": outcome,
        "gate": None
        if state is None
        else {
            "held": state.held,
            "in_flight": state.in_flight,
            "waiting": state.waiting,
            "writes_since_switch": state.writes_since_switch,
            "failed": state.failed,
        },
        "names": dict(site.names.state()) if site.names else None,
        "late": _late(state),
        # what did not end is gone on with, or settled, by the same command
        "next": _next_of_names(site, state)
        or NEXT.get(outcome)
        or f"crossfade {VERBS[records[-1].run]}",
    }


def _late(state: TrafficState | None) -> dict[str, Any] | None:
    """Who still comes to the gate's address, the last first; None when nobody counts them."""
    if state is None or not state.late_since:
        return None
    return {"since": state.late_since, "who": [asdict(late) for late in state.late]}


def _next_of_names(site: Accountable, state: TrafficState | None) -> str:
    """What has to be done about the names before anything else."""
    if site.names is None or state is None:
        return ""
    if not site.names.complete(state.side):
        return "crossfade dns switch"
    waits = state.side is Side.NEW and site.names.state()["followed"] is None
    return "crossfade dns wait" if waits else ""


def _look(site: Accountable) -> TrafficState | None:
    """The gate's state in the words of this upgrade: its side is the one with that address."""
    state, old = site.traffic.look(), site.manifest.old.address
    if state and state.side is Side.NEW and state.targets[Side.NEW] == old:
        return replace(state, side=Side.OLD)
    return state


def _serves(site: Accountable, state: TrafficState | None) -> str:
    manifest = site.manifest
    if state is None:
        return f"No gate runs at {manifest.traffic.listen}, so nobody is served there."
    version = manifest.old.version if state.side is Side.OLD else manifest.new.version
    held = "; requests are held right now" if state.held else ""
    return f"The {state.side} side ({version}) serves at {manifest.traffic.listen}{held}."


def _price(
    site: Accountable, state: TrafficState | None, records: list[history.Record]
) -> tuple[str, str]:
    """What going back costs now (promise P8)."""
    if state is None or state.side is Side.OLD:
        return "free", "the old side serves; there is nothing to go back from"
    machine = next((m for m in site.provisioned() if m["side"] == "old"), None)
    going = machine is not None and machine["state"] != "made"
    if going or any(r.run is Run.RETIRE and r.outcome == "done" for r in records):
        return "impossible", "the old side is retired; its archive is all that is left"
    writes = state.writes_since_switch
    past = site.names is not None and site.names.past_the_gate()
    if writes == 0 and not past:
        return "a restart", "no write was acknowledged by the new side since the switch"
    count = f"{writes} write{'s' if writes != 1 else ''}"
    if past:
        count += " and those that came past the gate"
    lossless, words = _way_back(site, records)
    if lossless:
        return "a restart", f"{count} since the switch go along to the old side; {words}"
    return count, (
        f"{count} acknowledged by the new side since the switch would stay behind "
        f"(they are exported first); and a restart of the old side{'; ' if words else ''}{words}"
    )


def _way_back(site: Accountable, records: list[history.Record]) -> tuple[bool, str]:
    """Whether a reverse feed keeps the old side whole, in the databases' own words."""
    try:
        carriers = site.again(records[-1].label).carriers
        ways = {name: carrier.way_back() for name, carrier in carriers.items()}
    except CrossfadeError as error:
        return False, f"the databases could not be asked: {error.what}"
    told = "; ".join(way.words for way in ways.values())
    return bool(ways) and all(way.lossless for way in ways.values()), told


def _outcome(records: list[history.Record]) -> str:
    if not records:
        return "planned"
    record = records[-1]
    error = record.ended["payload"].get("error") if record.ended else None
    if error and error.get("exit_code") == 6:
        return "recovery-failed"
    return OUTCOMES[record.run].get(record.outcome, "interrupted")


def account(site: Accountable) -> ReportData:
    """Everything that the report shows."""
    manifest, state = site.manifest, _look(site)
    records = list(history.runs(site.journal))
    price, sentence = _price(site, state, records)
    cutover = next((r for r in reversed(records) if r.run is Run.CUTOVER and r.done("stop")), None)
    latest = records[-1].began["payload"]["plan"] if records else {}
    return cast(
        "ReportData",
        {
            "crossfade": crossfade.__version__,
            "upgrade": site.journal.upgrade,
            "application": manifest.recipe.application,
            "title": manifest.recipe.title,
            "old_version": manifest.old.version,
            "new_version": manifest.new.version,
            "made_at": time.time(),
            "outcome": _outcome(records),
            "live": str(state.side) if state else "old",
            "listen": str(manifest.traffic.listen),
            "going_back": {"price": price, "sentence": sentence},
            "pause": _pause(site, cutover) if cutover else None,
            "runs": [_run(record) for record in records],
            "requests": _requests(site, cutover, state) if cutover else None,
            "plan": {
                "fingerprint": latest.get("fingerprint", ""),
                "steps": [_planned(step) for step in latest.get("steps", [])],
                "warnings": latest.get("warnings", []),
                "world": latest.get("world", {}),
            },
            "configuration": _configuration(records),
            "stands": _stands(records),
            "files": {"state": str(manifest.state)},
        },
    )


def _stands(records: list[history.Record]) -> list[str]:
    """What the last run said that it left on machines."""
    told = [
        entry["payload"]["details"].get("stands", [])
        for entry in (records[-1].entries if records else ())
        if entry["kind"] == "step-done"
    ]
    return list(told[-1]) if told else []


def _planned(step: Mapping[str, Any]) -> dict[str, Any]:
    names = ("name", "actions", "reversal", "touches", "pause", "seconds")
    return {name: step[name] for name in names}


def _pause(site: Accountable, cutover: history.Record) -> dict[str, Any] | None:
    began = _detail(cutover, "stop", "pause_began")
    ended = _detail(cutover, "switch", "pause_ended")
    if ended is None:
        undone = [e for e in cutover.entries if e["kind"] == "step-undone" and e["name"] == "stop"]
        ended = undone[-1]["at"] if undone else None
    if began is None or ended is None:
        return None
    return {
        "began": began,
        "ended": ended,
        "seconds": round(ended - began, 4),
        "predicted": cutover.began["payload"]["plan"]["predicted_pause_seconds"],
        "limit": site.limits().max_pause,
    }


def _detail(record: history.Record, step: str, name: str) -> float | None:
    """What a step noted when it was first run through: it may have been finished a second time."""
    for entry in record.entries:
        if entry["name"] == step and entry["kind"] in ("step-done", "step-failed"):
            value = entry["payload"]["details"].get(name)
            if value is not None:
                return float(value)
    return None


def _run(record: history.Record) -> dict[str, Any]:
    return {
        "run": str(record.run),
        "attempt": int(record.label.rpartition("-")[2]),
        "began": record.began["at"],
        "ended": record.ended["at"] if record.ended else None,
        "outcome": record.outcome,
        "error": _error(record),
        "unmuted": bool(record.began["payload"].get("unmuted")),
        "steps": list(_steps(record).values()),
    }


def _error(record: history.Record) -> dict[str, str] | None:
    error = record.ended["payload"].get("error") if record.ended else None
    return {n: error[n] for n in ("code", "what", "where", "now", "next")} if error else None


def _steps(record: history.Record) -> dict[str, dict[str, Any]]:
    steps: dict[str, dict[str, Any]] = {}
    pauses = {s["name"] for s in record.began["payload"]["plan"]["steps"] if s["pause"]}
    for entry in record.entries:
        name, kind, payload = entry["name"], entry["kind"], entry["payload"]
        if kind == "step-began" or (kind.startswith("step-") and name not in steps):
            steps[name] = {
                "name": name,
                "began": entry["at"],
                "ended": None,
                "outcome": "running",
                "in_pause": name in pauses,
                "parts": [],
                "findings": [],
                "details": {},
            }
        if kind in ("step-done", "step-failed"):
            details = {k: v for k, v in payload["details"].items() if k != "difference"}
            steps[name] |= {
                "ended": entry["at"],
                "outcome": kind.removeprefix("step-"),
                "parts": payload["parts"],
                "findings": payload["findings"],
                "details": details,
            }
        elif kind == "step-undone" and steps[name]["outcome"] != "failed":
            steps[name] |= {"outcome": "undone", "ended": steps[name]["ended"] or entry["at"]}
    return steps


def _requests(
    site: Accountable, cutover: history.Record, state: TrafficState | None
) -> dict[str, Any] | None:
    record = site.again(cutover.label).directory / "requests.csv"
    if not record.exists():
        return None
    from crossfade.report import read_record

    samples = read_record(record)
    return {
        "total": len(samples),
        "failed": sum(sample.failed for sample in samples),
        "served_by_old_after_drain": state.served_after_drain if state else 0,
        "longest_ms": max((sample.total_ms for sample in samples), default=0.0),
        "held": sum(sample.held for sample in samples),
        "samples": samples,
    }


def _configuration(records: list[history.Record]) -> dict[str, str] | None:
    for record in reversed(records):
        evidence = record.done("configure")
        if evidence and evidence["details"].get("difference"):
            return {"difference": evidence["details"]["difference"]}
    return None


def write_report(site: Accountable) -> tuple[ReportData, Path]:
    """Write report.json and report.html below the state directory; returns the HTML's path."""
    from crossfade.report import as_html, as_json

    data = account(site)
    directory = site.manifest.state / "report"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, text in (("report.json", as_json(data)), ("report.html", as_html(data))):
        partial = directory / f"{name}.partial"
        partial.write_text(text, encoding="utf-8")
        partial.chmod(0o600)
        partial.replace(directory / name)
    return data, directory / "report.html"
