"""``crossfade config``: what becomes of the old side's configuration, setting by setting."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING

from crossfade.cli._beyond import found_on, with_the_rest
from crossfade.cli._common import Verbs, open_site, verb
from crossfade.cli._review import answered, one, overview, question

if TYPE_CHECKING:
    from crossfade.errors import UsageError
    from crossfade.ports import Rendering, Work
    from crossfade.wiring import WiredSite

__all__ = ["add", "run"]

_WHAT = {
    "scan": "everything that was customised in the old installation, and where that is known from",
    "show": "the difference that the new side gets, secrets masked",
    "plan": "what happens to every setting, and what only you can decide",
    "review": "decide it, one question after another",
    "why": "all that is known of one setting",
    "undo": "take the answer about a setting back, or with --all every answer",
}


def add(verbs: Verbs) -> None:
    """Describe the arguments."""
    parser = verb(verbs, "config", "what becomes of the old side's configuration")
    parser.add_argument(
        "what",
        choices=list(_WHAT),
        help="; ".join(f"{name}: {what}" for name, what in _WHAT.items()),
    )
    parser.add_argument(
        "setting", nargs="?", help="for why and undo: a setting's name, or the end of it"
    )
    parser.add_argument("--all", action="store_true", help="for undo: every answer")
    parser.add_argument(
        "--rehearsal",
        action="store_true",
        help="for show: what the rehearsal gets, with what it mutes, instead of the cutover's",
    )


def run(options: argparse.Namespace) -> int:
    """0 when all is decided, 3 while a question is open, 4 for what cannot be carried."""
    from crossfade.model import Run
    from crossfade.upgrade import before_any_step

    site = open_site(options)
    if options.what == "scan":
        return _scan(options, site)
    with before_any_step(site):
        rehearsal = options.rehearsal and options.what == "show"
        work = site.begin(Run.REHEARSAL if rehearsal else Run.CUTOVER)
        rendering = work.configuration.render(work.new.installation, muted=rehearsal)
        if options.what == "show":
            return _show(options, rendering)
        rendering = with_the_rest(site, work, rendering)
        if options.what == "why":
            return _why(options, rendering)
        if options.what == "undo":
            return _undone(options, work, rendering)
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
    broken = _told(options, rendering) if not rendering.questions else False
    return 3 if rendering.questions else 4 if broken else 0


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
    if options.json:
        findings = [finding.as_json() for finding in rendering.findings]
        shown = {"difference": rendering.difference, "findings": findings}
        print(json.dumps(shown | {"mutes": [one.as_json() for one in rendering.mutes]}, indent=2))
    else:
        print(rendering.difference, end="")
        for mute in rendering.mutes:
            print(f"muted: {mute.words}")
    return 4 if _told(options, rendering) else 0


def _told(options: argparse.Namespace, rendering: Rendering) -> bool:
    """Say what keeps the files from being carried; whether anything does."""
    broken = [finding for finding in rendering.findings if not finding.holds]
    for finding in broken:
        words = f"problem: {finding.claim}: {finding.observed} ({finding.source})"
        print(words, file=sys.stderr if options.json else sys.stdout)
    return bool(broken)


def _why(options: argparse.Namespace, rendering: Rendering) -> int:
    """Print what is known of the settings that the word names."""
    from crossfade.configuration import is_named

    word = options.setting or ""
    found = [one for one in rendering.settings if is_named(one.file, one.setting, word)]
    if not word or not found:
        raise _unknown("verdict", word)
    if options.json:
        print(json.dumps([setting.as_json() for setting in found], indent=2))
    else:
        print("\n\n".join(map(one, found)))
    return 0


def _undone(options: argparse.Namespace, work: Work, rendering: Rendering) -> int:
    """Take answers back, and write the questions down that are open again."""
    word = options.setting or ""
    if not word and not options.all:
        raise _unknown("answer", word)
    names = work.configuration.take_back(rendering.settings, word)
    if word and not names:
        raise _unknown("answer", word)
    rendering = work.configuration.render(work.new.installation)
    work.configuration.ask(rendering.settings)
    if options.json:
        print(json.dumps(names, indent=2))
    else:
        print("\n".join(f"taken back: {name}" for name in names) or "there is no answer")
        if rendering.questions:
            print("next: crossfade config review")
    return 0


def _unknown(what: str, word: str) -> UsageError:
    from crossfade.errors import UsageError

    return UsageError(
        "setting-unknown",
        f"No {what} is about a setting called {word}." if word else "Which setting?",
        where="the old side's configuration",
        next="crossfade config plan",
    )


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
