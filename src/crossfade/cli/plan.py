"""``crossfade plan``: what each step would do, and what could go wrong.  Changes nothing."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from crossfade.cli._common import Verbs, open_site, verb

if TYPE_CHECKING:
    from crossfade.model import Plan

__all__ = ["add", "run", "show"]


def add(verbs: Verbs) -> None:
    """Describe the arguments."""
    verb(verbs, "plan", "show what each step will do, what it needs, and what it touches")


def run(options: argparse.Namespace) -> int:
    """Print the cutover's plan and what would stop the rehearsal or the cutover.

    0 when nothing would, 3 when questions about settings do, 4 when something else does."""
    from crossfade.model import Run
    from crossfade.upgrade import preview

    site = open_site(options)
    rehearsal, cutover = (preview(site, run) for run in (Run.REHEARSAL, Run.CUTOVER))
    if options.json:
        plans = {"rehearsal": rehearsal.as_json(), "cutover": cutover.as_json()}
        print(json.dumps(plans, indent=2))
    else:
        print(show(cutover))
        for mute in (mute for step in rehearsal.steps for mute in step.mutes):
            print(f"muted in the rehearsal: {mute}")
        if rehearsal.problems:
            print("the rehearsal would be refused:")
            print("\n".join(_problems(rehearsal)))
        elif not cutover.problems:
            verb = "rehearse" if cutover.predicted_pause is None else "cutover"
            print(f"next: crossfade {verb}")
    codes = {problem.code for problem in (*cutover.problems, *rehearsal.problems)}
    return 0 if not codes else 3 if codes == {"configuration-questions"} else 4


def show(plan: Plan) -> str:
    """A plan for people."""
    old, new = plan.old, plan.new
    lines = [f"{new.application}: {old.version} at {old.address} -> {new.version} at {new.address}"]
    if "old.running" in plan.world:
        lines.append(f"the old side says: {plan.world['old.running']}")
    for number, step in enumerate(plan.steps, 1):
        lines.append(f"\n{number}. {step.name}" + ("   (inside the pause)" if step.pause else ""))
        lines += [f"     {action}" for action in step.actions]
        lines += [f"     muted: {mute}" for mute in step.mutes]
        lines += [f"     touches the old side: {touch}" for touch in step.touches]
        lines.append(f"     going back after it costs: {step.reversal.words}")
    lines.append("")
    for name, (needed, free) in plan.disk.items():
        lines.append(f"disk at {name}: {needed / 1e6:.1f} MB needed, {free / 1e6:.0f} MB free")
    if any(step.pause for step in plan.steps):
        pause = "unknown before a rehearsal"
        if plan.predicted_pause is not None:
            pause = f"{plan.predicted_pause:.1f} s, from the last rehearsal"
        lines.append(f"predicted pause: {pause}")
    if plan.world:
        lines.append(f"fingerprint: {plan.fingerprint}")
    lines += [f"warning: {warning}" for warning in plan.warnings]
    return "\n".join([*lines, *_problems(plan)])


def _problems(plan: Plan) -> list[str]:
    lines = []
    for problem in plan.problems:
        finding = problem.finding
        lines.append(f"problem: {problem.code}: {finding.claim}: {finding.observed}")
        lines.append(f"    next: {problem.next}")
    return lines
