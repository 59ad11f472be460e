"""``crossfade config``: what becomes of the old side's configuration, setting by setting."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from crossfade.cli._beyond import found_on, with_the_rest
from crossfade.cli._common import Verbs, open_site, verb
from crossfade.cli._review import answered, one, overview, question

if TYPE_CHECKING:
    from crossfade.ports import Judgement, Rendering, Work
    from crossfade.wiring import WiredSite

__all__ = ["add", "run"]

_WHAT = {
    "scan": "everything that was customised in the old installation, and where that is known from",
    "show": "the difference that the new side gets, secrets masked",
    "plan": "what happens to every setting, and what only you can decide",
    "review": "decide it, one question after another",
    "why": "all that is known of one setting",
}


def add(verbs: Verbs) -> None:
    """Describe the arguments."""
    parser = verb(verbs, "config", "what becomes of the old side's configuration")
    parser.add_argument(
        "what",
        choices=list(_WHAT),
        help="; ".join(f"{name}: {what}" for name, what in _WHAT.items()),
    )
    parser.add_argument("setting", nargs="?", help="for why: a setting's name, or the end of it")


def run(options: argparse.Namespace) -> int:
    """0 when all is decided, 3 while a question is open; ``show``: 4 for what is not carried."""
    from crossfade.model import Run
    from crossfade.upgrade import before_any_step

    site = open_site(options)
    if options.what == "scan":
        return _scan(options, site)
    with before_any_step(site):
        work = site.begin(Run.CUTOVER)
        rendering = work.configuration.render(work.new.installation)
        if options.what == "show":
            return _show(options, rendering)
        rendering = with_the_rest(site, work, rendering)
        if options.what == "why":
            return _why(options, rendering)
        if rendering.questions:
            where = work.configuration.ask(rendering.settings)
            if options.what == "review" and sys.stdin.isatty() and not options.no_input:
                rendering = with_the_rest(site, work, _reviewed(work, rendering))
            elif not options.json:
                print(f"the questions are in {where}, to be filled in", file=sys.stderr)
    if options.json:
        print(json.dumps([setting.as_json() for setting in rendering.settings], indent=2))
    else:
        print(overview(rendering))
    return 3 if rendering.questions else 0


def _scan(options: argparse.Namespace, site: WiredSite) -> int:
    """Look at the old installation; what was found, and what could be looked at."""
    from crossfade.finding import text
    from crossfade.model import Run
    from crossfade.upgrade import before_any_step

    with before_any_step(site):
        found = found_on(site, site.begin(Run.CUTOVER))
    print(json.dumps(found.as_json(), indent=2) if options.json else text(found), end="")
    return 0


def _show(options: argparse.Namespace, rendering: Rendering) -> int:
    """Print the difference and every finding that does not hold; 4 when there is one."""
    broken = [finding for finding in rendering.findings if not finding.holds]
    if options.json:
        findings = [finding.as_json() for finding in rendering.findings]
        difference = rendering.difference
        print(json.dumps({"difference": difference, "findings": findings}, indent=2))
    else:
        print(rendering.difference, end="")
        for finding in broken:
            print(f"problem: {finding.claim}: {finding.observed} ({finding.source})")
    return 4 if broken else 0


def _why(options: argparse.Namespace, rendering: Rendering) -> int:
    """Print what is known of the settings that the word names."""
    from crossfade.errors import UsageError

    word = options.setting or ""
    found = [setting for setting in rendering.settings if _named(setting, word)]
    if not word or not found:
        raise UsageError(
            "setting-unknown",
            f"No verdict is about a setting called {word}." if word else "Which setting?",
            where="the old side's configuration",
            next="crossfade config plan",
        )
    if options.json:
        print(json.dumps([setting.as_json() for setting in found], indent=2))
    else:
        print("\n\n".join(map(one, found)))
    return 0


def _named(setting: Judgement, word: str) -> bool:
    name = ".".join(setting.setting)
    return word in (name, f"{Path(setting.file).name} {name}") or name.endswith(f".{word}")


def _reviewed(work: Work, rendering: Rendering) -> Rendering:
    """Ask one question after another; every answer is kept at once."""
    asked = rendering.questions
    for number, setting in enumerate(asked, 1):
        print(f"\n{number} of {len(asked)}\n{question(setting)}", file=sys.stderr)
        answer = answered(setting, lambda prompt: input(prompt))
        if answer is None:
            break
        if answer.choice:
            work.configuration.answer(rendering.settings, setting, answer.choice, answer.value)
    return work.configuration.render(work.new.installation)
