"""What the look at the old installation finds and no verdict is about: told, so that nobody misses
it on the new side."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crossfade.finding import Found, Inventory
    from crossfade.model import Installation
    from crossfade.ports import Judgement, Rendering, Work
    from crossfade.wiring import WiredSite

__all__ = ["found_on", "out_of_scope", "with_the_rest"]

_TOLD = ("unit", "proxy", "database", "jobs")
"""Components of which something else says what becomes of them."""
_BRING = "bring it to the new side yourself"
_NAME = "name it under configuration in crossfade.yaml"


def found_on(site: WiredSite, work: Work) -> Inventory:
    """Everything that was customised in the old installation.  Raises Failed."""
    from crossfade.finding import Running, look

    service = site.manifest.old.service
    unit = (service.unit or "") if service.driver == "systemd" else ""
    running = Running(unit=unit, account=service.user or "")
    return look(work.old.host, work.old.installation, running)


def with_the_rest(site: WiredSite, work: Work, rendering: Rendering) -> Rendering:
    """A rendering, and what was found that it is not about."""
    from crossfade.configuration import locate
    from crossfade.errors import Failed
    from crossfade.ports import Judgement

    old, recipe = work.old.installation, site.manifest.recipe
    parts = [p for p in recipe.databases if p.name not in old.databases] + list(recipe.files)
    try:
        places = {locate(part, old, work.old.host) for part in parts}
        more = out_of_scope(found_on(site, work), rendering, old, places)
    except Failed as failed:
        why = f"what else belongs to it could not be looked for: {failed.what}"
        more = (Judgement(str(old.config), (), "out-of-scope", why),)
    return replace(rendering, settings=(*rendering.settings, *more))


def out_of_scope(
    found: Inventory, rendering: Rendering, old: Installation, parts: set[Path]
) -> tuple[Judgement, ...]:
    """Files that configuration refers to, or that lie in the old side's configuration directory,
    and that nothing brings over.  parts are the paths of the databases and trees, which go by
    themselves."""
    from crossfade.ports import Judgement

    known = {Path(one.file) for one in rendering.settings}
    known |= {Path(name) for name in rendering.sources.values()}
    return tuple(
        Judgement(one.name, (), "out-of-scope", f"{why}, and nothing brings it: {next}")
        for one, why, next in _candidates(found, old)
        if not any(_within(Path(one.name), part) for part in known | parts)
    )


def _candidates(found: Inventory, old: Installation) -> Iterator[tuple[Found, str, str]]:
    """Each with why it may matter, and what may be done."""
    from crossfade.finding import Kind

    kinds = (Kind.MODIFIED, Kind.ADDED, Kind.OVERLAY, Kind.ASSET)
    for one in found.of(*kinds):
        if one.component in _TOLD or _within(Path(one.name), old.root):
            continue
        if _within(Path(one.name), old.config):
            yield one, "it lies in the old side's configuration directory", _NAME
        elif detectors := {seen.detector for seen in one.evidence} & {"references", "runtime"}:
            which = "configuration refers to it" if "references" in detectors else "it is in use"
            yield one, which, _BRING


def _within(path: Path, part: Path) -> bool:
    return path == part or path.is_relative_to(part)
