"""``crossfade plan``: what each step would do, and what could go wrong.  Changes nothing."""

from __future__ import annotations

import argparse
import json

from crossfade.cli._common import Verbs, open_site, verb

__all__ = ["add", "run", "show"]


def add(verbs: Verbs) -> None:
    """Describe the arguments."""
    verb(verbs, "plan", "show what each step will do, what it needs, and what it touches")


def run(options: argparse.Namespace) -> int:
    """Print the plan.  0 when it could be carried out, 4 when something is in the way."""
    from crossfade.model import Plan, Run
    from crossfade.upgrade import preview

    site = open_site(options)
    plans = {run: preview(site, run, unmuted=True) for run in (Run.REHEARSAL, Run.CUTOVER)}
    plan: Plan = plans[Run.CUTOVER]
    if options.json:
        print(json.dumps({str(run): plan.as_json() for run, plan in plans.items()}, indent=2))
    else:
        print(show(plan))
    return 4 if plan.problems else 0


def show(plan: object) -> str:
    """The plan for people."""
    from crossfade.model import Plan

    assert isinstance(plan, Plan)  # noqa: S101 - lazy import for a quick --help
    old, new = plan.old, plan.new
    lines = [f"{new.application}: {old.version} at {old.address} -> {new.version} at {new.address}"]
    for number, step in enumerate(plan.steps, 1):
        lines.append(f"\n{number}. {step.name}" + ("   (inside the pause)" if step.pause else ""))
        lines += [f"     {action}" for action in step.actions]
        lines += [f"     touches the old side: {touch}" for touch in step.touches]
        lines.append(f"     going back after it costs: {step.reversal.words}")
    lines.append("")
    for name, (needed, free) in plan.disk.items():
        lines.append(f"disk at {name}: {needed / 1e6:.1f} MB needed, {free / 1e6:.0f} MB free")
    pause = "unknown before a rehearsal"
    if plan.predicted_pause is not None:
        pause = f"{plan.predicted_pause:.1f} s, from the last rehearsal"
    lines += [f"predicted pause: {pause}", f"fingerprint: {plan.fingerprint}"]
    lines += [f"warning: {warning}" for warning in plan.warnings]
    for problem in plan.problems:
        finding = problem.finding
        lines.append(f"problem: {problem.code}: {finding.claim}: {finding.observed}")
        lines.append(f"    next: {problem.next}")
    if not plan.problems:
        lines.append(
            "next: crossfade rehearse"
            if plan.predicted_pause is None
            else "next: crossfade cutover"
        )
    return "\n".join(lines)
