"""A realistic upgrade as report data: 200 requests a second and a pause of 1.2 seconds.

``python -m tests.report.sample report.html`` writes it as HTML, to look at.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Literal, TypeAlias

from crossfade.report import ReportData, Sample, as_html
from crossfade.report.data import Finding, Part, PlannedStep, Requests, RunRecord, StepRecord

HOLD = 1_795_442_592.0
PAUSE = 1.212
RATE = 200.0

StepOutcome: TypeAlias = Literal["done", "failed", "undone", "skipped", "running"]

PARTS = {
    "stop": [("hold", 0.0, 0.004), ("drain", 0.004, 0.068), ("stop old", 0.072, 0.31)],
    "sync": [
        ("fence", 0.384, 0.012),
        ("final copy", 0.398, 0.151),
        ("media difference", 0.401, 0.088),
        ("digests", 0.551, 0.102),
        ("start new", 0.655, 0.382),
        ("checks", 1.039, 0.118),
    ],
    "switch": [("commit", 1.158, 0.019), ("switch", 1.178, 0.006), ("release", 1.185, 0.027)],
}


def finding(claim: str, seen: str = "yes", source: str = "", holds: bool = True) -> Finding:
    """A finding that holds, unless told otherwise."""
    expected = seen if holds else f"not {seen}"
    return Finding(claim=claim, expected=expected, observed=seen, source=source, holds=holds)


FINDINGS = {
    "install": [
        finding("The new version is installed", "1.163.2", "env/bin/python -m synapse --version")
    ],
    "configure": [
        finding("homeserver.yaml keeps every key that the plan does not rewrite", "41 keys"),
        finding("The signing key is the same", "fp 3f2a91c0", "keyed fingerprint"),
    ],
    "backup": [finding("The backup's integrity check passes", "ok", "PRAGMA integrity_check")],
    "restore": [finding("The copy has every table", "161 tables", "sqlite_schema on both sides")],
    "check": [finding("The new side answers as healthy", "200 OK", "GET /health")],
    "stop": [
        finding("No request is in flight", "0", "the gate's counter"),
        finding("The old side refuses a write", "connection refused", "PUT on 127.0.0.1:28008"),
    ],
    "sync": [
        finding(
            "Both sides have the same rows",
            "161 parts, 48,211 rows, 5f0c2b7e90aa41d3",
            "digest of every table",
        ),
        finding("The media trees are equal", "212 parts, 9c81ee02", "digest of the tree"),
        finding("The new side answers as healthy", "200 OK", "GET /health"),
        finding("Synapse reports the new version", "1.163.2", "GET /_matrix/federation/v1/version"),
    ],
    "switch": [
        finding("Traffic goes to the new side", "new", "the gate's status"),
        finding("The old side served nothing after the drain", "0", "the gate's counter"),
    ],
}


def samples(before: float = 22.0, after: float = 22.0) -> list[Sample]:
    """Requests at RATE: log-normal latencies, a hold at HOLD, and a paced release after PAUSE."""
    chance = random.Random(1)
    found, arrived = [], HOLD - before
    waiting = 0
    while arrived < HOLD + PAUSE + after:
        arrived += chance.expovariate(RATE)
        took = 4.0 * chance.lognormvariate(0, 0.55) + (chance.random() < 0.01) * 180
        since = arrived - HOLD
        held = 0.0
        if 0 <= since < PAUSE:
            waiting += 1
            held = (PAUSE - since) * 1000 + waiting * 0.25
            took += held + chance.random() * 12
        side = "old" if since < 0 else "new"
        if side == "new" and since < PAUSE + 4:
            took += 9 * chance.random() / (1 + max(0.0, since - PAUSE) * 2)
        method = "GET" if chance.random() < 0.6 else "PUT"
        found.append(Sample(round(arrived, 4), round(took, 2), round(held, 2), 200, side, method))
    return found


def step(
    name: str,
    began: float,
    seconds: float,
    outcome: StepOutcome = "done",
    hold: float | None = None,
) -> StepRecord:
    """A step with its usual findings; ``hold`` (an epoch) puts it into a pause."""
    parts = [
        Part(name=part, began=(hold or began) + first, seconds=took)
        for part, first, took in (PARTS.get(name, []) if hold is not None else [])
    ]
    return StepRecord(
        name=name,
        began=began,
        ended=began + seconds,
        outcome=outcome,
        in_pause=hold is not None,
        parts=parts,
        findings=FINDINGS.get(name, []),
        details={},
    )


def run(name: Literal["rehearsal", "cutover"], began: float, steps: list[StepRecord]) -> RunRecord:
    """A run of these steps that went well."""
    return RunRecord(
        run=name,
        attempt=1,
        began=began,
        ended=steps[-1]["ended"],
        outcome="done",
        error=None,
        unmuted=name == "rehearsal",
        steps=steps,
    )


def rehearsal(began: float) -> RunRecord:
    """A rehearsal of 41 seconds."""
    lengths = {"install": 21.4, "configure": 0.21, "backup": 1.9, "restore": 2.6, "check": 7.3}
    steps = []
    at = began
    for name, seconds in lengths.items():
        steps.append(step(name, at, seconds))
        at += seconds + 0.05
    return run("rehearsal", began, steps)


def cutover(hold: float) -> RunRecord:
    """A cutover whose pause began at ``hold``."""
    steps = [
        step("install", hold - 8.2, 0.12),
        step("configure", hold - 8.0, 0.24),
        step("backup", hold - 7.7, 3.1),
        step("restore", hold - 4.5, 4.2),
        step("stop", hold - 0.01, 0.393, hold=hold),
        step("sync", hold + 0.384, 0.773, hold=hold),
        step("switch", hold + 1.158, 10.1, hold=hold),
    ]
    steps[-1]["details"] = {"writes": {"acknowledged": 3412, "found": 3412, "lost": 0}}
    return run("cutover", hold - 8.2, steps)


def planned(name: str, action: str, reversal: str, pause: bool, *touches: str) -> PlannedStep:
    """A step of the plan."""
    return PlannedStep(
        name=name,
        actions=[action],
        reversal=reversal,
        touches=list(touches),
        pause=pause,
        seconds=0.4 if pause else None,
    )


PLAN = [
    planned("install", "Install matrix-synapse 1.163.2 into new/env.", "free", False),
    planned("configure", "Carry homeserver.yaml; rewrite 4 keys.", "free", False),
    planned("backup", "Back up homeserver.db (38 MB) while Synapse writes.", "free", False),
    planned("restore", "Copy the backup and 50 media files (12 MB).", "free", False),
    planned("check", "Start 1.163.2 on the copy and ask it 6 questions.", "free", False),
    planned("stop", "Hold, drain, stop Synapse 1.100.0 and fence it.", "restart", True, "stops it"),
    planned("sync", "Final copy, digests, migrations, start and check.", "restart", True),
    planned("switch", "Commit, point the gate at 127.0.0.1:28009, release.", "loses_writes", True),
    planned("retire", "Archive and remove the old side.", "impossible", False),
]

DIFFERENCE = """\
--- old/homeserver.yaml
+++ new/homeserver.yaml
@@ -12,7 +12,7 @@
 # The port that the gate knows.
 listeners:
-  - port: 28008
+  - port: 28009
     type: http
     bind_addresses: ["127.0.0.1"]
@@ -31,5 +31,5 @@
 database:
   name: sqlite3
   args:
-    database: /srv/chat/old/homeserver.db
+    database: /srv/chat/new/homeserver.db
"""


def requests(found: list[Sample]) -> Requests:
    """What a gate would have counted over these samples."""
    return Requests(
        total=len(found),
        failed=sum(sample.failed for sample in found),
        served_by_old_after_drain=0,
        longest_ms=max(sample.total_ms for sample in found),
        held=sum(sample.held_ms > 0 for sample in found),
        samples=found,
    )


def report(around: float = 22.0) -> ReportData:
    """An upgrade of Synapse that went well; ``around`` seconds recorded before and after."""
    return ReportData(
        crossfade="0.1.0",
        upgrade="synapse-7f3a",
        application="synapse",
        title="Matrix Synapse",
        old_version="1.100.0",
        new_version="1.163.2",
        made_at=HOLD + 60,
        outcome="done",
        live="new",
        listen="127.0.0.1:8008",
        going_back={
            "price": "3,412 writes",
            "sentence": "Going back would leave 3,412 writes behind; they are exported first.",
        },
        pause={
            "began": HOLD,
            "ended": HOLD + PAUSE,
            "seconds": PAUSE,
            "predicted": 1.154,
            "limit": 10.0,
        },
        runs=[rehearsal(HOLD - 300), cutover(HOLD)],
        requests=requests(samples(around, around)),
        plan={
            "fingerprint": "8a41c0de77f21b3c",
            "steps": PLAN,
            "warnings": ["The rehearsal runs unmuted: this recipe declares no side effects."],
            "world": {
                "old.version": "1.100.0",
                "new.version": "1.163.2",
                "configuration/homeserver.yaml": "d2f1b3c95c0e8a77",
                "gate": "127.0.0.1:8008",
            },
        },
        configuration={"difference": DIFFERENCE},
        stands=["program /opt/synapse-1.163 on chat2", "unit synapse.service on chat2"],
        files={"backup": "/srv/chat/upgrade/backup/homeserver.db"},
    )


def broken() -> ReportData:
    """The same upgrade, gone back because the new side failed a check inside the pause."""
    data = report()
    run = data["runs"][-1]
    stop, sync, switch = run["steps"][-3:]
    wrong = finding("The new side answers as healthy", "500 Server Error", "GET /health", False)
    sync |= {"outcome": "failed", "findings": [*sync["findings"][:2], wrong]}
    stop |= {"outcome": "undone"}
    at = sync["ended"]
    switch |= {"outcome": "skipped", "began": at or 0.0, "ended": at, "parts": [], "findings": []}
    switch |= {"details": {}}
    run["outcome"] = "went-back"
    run["error"] = {
        "code": "check-failed",
        "what": "The new version fails its check: GET /health answered 500 instead of 200.",
        "where": "step sync, new side, this host; last line of the log: no such table: rooms_v2",
        "now": "The old side serves again since 03:23:13 UTC; nothing was lost.",
        "next": "crossfade rehearse",
    }
    found = [s._replace(side="old") for s in samples()]
    found[4500] = found[4500]._replace(status=502, side="-", total_ms=940.0)
    found[4700] = found[4700]._replace(status=0, side="old", total_ms=5000.0)
    data |= {"outcome": "went-back", "live": "old", "requests": requests(found)}
    data["going_back"] = {"price": "free", "sentence": "The old side serves; nothing was changed."}
    return data


if __name__ == "__main__":
    made = broken() if "--broken" in sys.argv else report()
    Path(sys.argv[1]).write_text(as_html(made), encoding="utf-8")
