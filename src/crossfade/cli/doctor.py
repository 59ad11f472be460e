"""``crossfade doctor``: what rehearsal and cutover need of the machines, each lack with its fix;
what a killed run left on servers and machines, and its removal; and machines that no run needs,
which only ``crossfade provision --remove`` removes."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from crossfade.cli._common import Verbs, open_site, verb
from crossfade.errors import CrossfadeError

if TYPE_CHECKING:
    from crossfade.needs import Need

__all__ = ["add", "run"]


def add(verbs: Verbs) -> None:
    """Describe the arguments."""
    parser = verb(
        verbs, "doctor", "show what is lacking on the machines, and what was left; --fix removes it"
    )
    parser.add_argument(
        "--fix", action="store_true", help="settle an interrupted run, and remove what it left"
    )


def run(options: argparse.Namespace) -> int:
    """Show, or mend.  3 when something is lacking, or left and nothing was asked to be done."""
    from crossfade import upkeep

    site = open_site(options)
    if options.fix:
        upkeep.clean_up(site)
    left: list[str] | None = None
    unseen: CrossfadeError | None = None
    try:  # before the needs: asking a container may take a helper, which is none of what was left
        left = [*upkeep.leavings(site)]
    except CrossfadeError as error:
        unseen = error
    machines = site.provisioning.leavings()
    needs = upkeep.checked(site)
    lacking = [need for need in needs if need.lacks and not need.notice]
    if unseen is not None and not lacking:
        raise unseen
    if options.json:
        shown = {"needs": [need.as_json() for need in needs], "left": left, "machines": machines}
        print(json.dumps(shown, ensure_ascii=False, indent=2))
    else:
        print("\n".join([*_needs(needs), *machines, *_left(left)]))
    return 3 if left or lacking or machines else 0


def _needs(needs: tuple[Need, ...]) -> list[str]:
    """Every need, and under each lack what mends it."""
    lines = []
    for need in needs:
        lines.append(f"{_mark(need):7}  {need.words}")
        if need.lacks:
            lines.append(f"         fix: {need.fix}")
    return lines


def _mark(need: Need) -> str:
    if not need.lacks:
        return "ok"
    return "notice" if need.notice else "lacking" if need.stops else "warning"


def _left(left: list[str] | None) -> list[str]:
    if left is None:
        return ["what was left cannot be seen as long as that is lacking"]
    if left:
        return [*left, "next: crossfade doctor --fix"]
    return ["nothing is left on servers and machines"]
