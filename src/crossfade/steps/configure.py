"""Step 2: carry the old side's custom configuration over, rewritten where it must differ."""

from pathlib import Path
from shlex import quote

from crossfade.errors import Failed, NeedsYou
from crossfade.model import Evidence, Finding, PlannedStep, Problem, Reversal, Run, Side
from crossfade.ports import Rendering, Work

__all__ = ["follow", "name", "point_straight", "preview", "reversal", "run", "undo"]

name = "configure"
reversal = Reversal.FREE
OURS = ".crossfade-made-this"


def preview(work: Work) -> PlannedStep:
    """Which files would be carried, and what the application would do to the outside.  Writes
    nothing but the questions about settings, below the site's state."""
    problems: list[Problem] = []
    warnings: list[str] = []
    muted = _is_muted(work)
    rendering = work.configuration.render(work.new.installation, muted=muted)
    problems += [
        Problem("configuration-unproven", finding, _shown(muted))
        for finding in rendering.findings
        if not finding.holds
    ]
    if rendering.questions:
        where = str(work.configuration.ask(rendering.settings))
        problems.append(
            Problem("configuration-questions", _asked(rendering, where), "crossfade config review")
        )
    problems += _in_the_way(work)
    if work.run is Run.REHEARSAL:
        silent = _silent(work, rendering)
        if muted and not silent.holds:
            problems.append(Problem("effects-not-muted", silent, "crossfade rehearse --unmuted"))
        elif not silent.holds:
            first = work.configuration.active_effects(rendering)[0]
            warnings.append(f"rehearsed UNMUTED: the copy may act on the outside ({first})")
    return PlannedStep(
        name,
        tuple(f"write {new}, from {old}" for new, old in rendering.sources.items()),
        reversal,
        problems=tuple(problems),
        warnings=tuple(warnings),
        mutes=tuple(mute.words for mute in rendering.mutes),
    )


def run(work: Work) -> Evidence:
    """Make the new side's places afresh and write the configuration into them."""
    if (state := work.traffic.look()) and state.side is Side.NEW:
        raise Failed("new-side-serves", "The new side serves already; its data is not replaced.")
    clear(work)
    muted = _is_muted(work)
    rendering = work.straight = work.configuration.render(work.new.installation, muted=muted)
    if rendering.questions:
        where = str(work.configuration.ask(rendering.settings))
        asked = _asked(rendering, where)
        what = f"{asked.claim}: {asked.observed}."
        raise NeedsYou("configuration-questions", what, where=where, next="crossfade config review")
    findings = [*rendering.findings, *_of_rehearsal(work, rendering)]
    for place in _places(work):
        work.new.host.make_directory(place)
        work.new.host.write(place / OURS, work.label.encode())
    held = work.new.held
    written = work.configuration.render(held, muted=muted) if held else rendering
    _write(work, written)
    work.new.service.own([*_places(work), *map(Path, written.files)])
    details: dict[str, object] = {"difference": rendering.difference}
    if rendering.mutes:
        mutes = details["mutes"] = [mute.words for mute in rendering.mutes]
        work.tell(f"muted in this rehearsal: {'; '.join(mutes)}")
    return Evidence(name, (*findings, _written(work, written)), details)


def _is_muted(work: Work) -> bool:
    return work.run is Run.REHEARSAL and not work.unmuted


def _shown(muted: bool) -> str:
    return "crossfade config show --rehearsal" if muted else "crossfade config show"


def _of_rehearsal(work: Work, rendering: Rendering) -> list[Finding]:
    """What holds of a rehearsal's configuration only.  Raises Failed, before anything is written,
    when the copy would act on the outside: what the new version brings may be active as well."""
    if work.run is not Run.REHEARSAL:
        return []
    muted = _is_muted(work)
    agrees = work.configuration.agrees(work.new.installation, muted=muted)
    if not muted:
        return [agrees]
    silent = _silent(work, rendering)
    if not silent.holds:
        what = f"The copy would act on the outside: {silent.observed}."
        where = silent.source
        next = "crossfade rehearse --unmuted"
        raise Failed("effects-not-muted", what, where=where, next=next)
    return [silent, agrees]


def _silent(work: Work, rendering: Rendering) -> Finding:
    """The finding that no effect is active, judged on what is written."""
    effects = work.configuration.active_effects(rendering)
    mutes = "; ".join(mute.words for mute in rendering.mutes)
    seen = "; ".join(effects) or f"muted ({mutes or 'nothing was active'})"
    return Finding("the rehearsal sends nothing out", "muted", seen, "recipe", not effects)


def _asked(rendering: Rendering, where: str) -> Finding:
    """The finding that people have to decide something."""
    names = [
        f"{Path(one.file).name} {'.'.join(one.setting) or 'as a whole'}"
        for one in rendering.questions
    ]
    seen = f"{len(names)} open: {', '.join(names[:5])}{', …' if len(names) > 5 else ''}"
    claim = "every setting of the configuration is decided"
    return Finding(claim, "no question", seen, where, False)


def point_straight(work: Work) -> None:
    """What waits in a held start has read its configuration; every other start finds the
    databases' own addresses there, not the doors."""
    if work.new.held:
        muted = _is_muted(work)
        straight = work.straight or work.configuration.render(work.new.installation, muted=muted)
        _write(work, straight)


def follow(work: Work) -> list[Finding]:
    """What was changed on the old side since its configuration was carried, now that it is stopped:
    merged in as well.  Raises Failed for what only people can decide, or a rehearsal can show, and
    where somebody edited the new side's files."""
    _look_for_hands(work)
    before = work.straight
    claim = "the old side's configuration is as it was carried"
    same = [Finding.equal(claim, "the same", "the same", "old side's files")]
    if before is None or work.configuration.originals() == before.originals:
        return same
    after = work.configuration.render(work.new.installation)
    if after.files == before.files:
        return same
    changed = [path for path, file in after.files.items() if before.files.get(path) != file]
    names = ", ".join(sorted(after.sources.get(path, path) for path in changed))
    if after.questions:
        where = str(work.configuration.ask(after.settings))
        asked = _asked(after, where)
        what = f"The configuration was changed while it was carried: {asked.observed}."
        raise Failed("configuration-questions", what, where=where, next="crossfade config review")
    broken = [finding.claim for finding in after.findings if not finding.holds]
    if broken or set(before.files) != set(after.files) or not after.merged.issuperset(changed):
        what = f"The configuration was changed while it was carried: {names}."
        where = "\n".join(broken) or "a file that is taken whole"
        raise Failed("configuration-drifted", what, where=where, next="crossfade rehearse")
    work.tell(f"changed on the old side since it was carried, and merged: {names}")
    work.straight = after
    _write(work, after)
    work.new.service.stop(timeout=5.0)  # what waits in a held start has read the other one
    return [Finding(claim, "the same, or merged", f"merged: {names}", "old side's files", True)]


def _look_for_hands(work: Work) -> None:
    """What somebody edited on the new side since we wrote it is kept, below the run's directory.
    Raises Failed, but for a held start: what waits there may have written its own files."""
    host, changed = work.new.host, []
    for path, written in work.written.items():
        there = host.read(Path(path)) if host.exists(Path(path)) else b""
        if there != written:
            changed.append(path)
            work.here.write(work.directory / "edited" / path.lstrip("/"), there, mode=0o600)
    if not changed:
        return
    what = f"The new side's configuration is not as it was written: {', '.join(changed)}."
    kept = f"what was found there is kept in {work.directory / 'edited'}"
    if work.new.held:
        work.tell(f"{what}  It is written again; {kept}.")
        return
    next = "crossfade cutover   (first make the same edit on the old side)"
    raise Failed("new-side-edited", what, where=kept, next=next)


def _write(work: Work, rendering: Rendering) -> None:
    for target, (content, mode) in rendering.files.items():
        work.new.host.write(Path(target), content, mode=mode)
    work.written = {target: content for target, (content, _) in rendering.files.items()}


def undo(work: Work) -> Evidence:
    """Remove what was made for the new side."""
    clear(work)
    gone = not any(work.new.host.exists(place / OURS) for place in _places(work))
    return Evidence(name, (Finding.equal("the new side's places are gone", True, gone, "host"),))


def clear(work: Work) -> None:
    """Remove the new side's data and configuration, but only what we made."""
    work.new.service.stop(timeout=5.0)
    work.new.service.remove()
    work.new.jobs.remove()
    for place in _places(work):
        if work.new.host.exists(place / OURS):
            work.new.host.remove(place)


def _places(work: Work) -> list[Path]:
    installation = work.new.installation
    return sorted({installation.config, installation.data})


def _written(work: Work, rendering: Rendering) -> Finding:
    same = sum(
        work.new.host.read(Path(target)) == content
        for target, (content, _) in rendering.files.items()
    )
    return Finding.equal(
        "files read back as written", len(rendering.files), same, "new side's files"
    )


def _in_the_way(work: Work) -> list[Problem]:
    host = work.new.host.name
    there = "" if host == work.here.name else f"on {host}; "
    return [
        Problem(
            "new-place-in-use",
            Finding(
                "the new side's place is ours or absent",
                "ours or absent",
                f"foreign: {place}",
                "host",
                False,
            ),
            f"mv {quote(str(place))} {quote(f'{place}.away')}   "
            f"({there}or name another place in crossfade.yaml)",
        )
        for place in _places(work)
        if work.new.host.exists(place) and not work.new.host.exists(place / OURS)
    ]
