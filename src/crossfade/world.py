"""The facts of an upgrade that must be in its cutover what they were in its rehearsal."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

import crossfade
from crossfade.configuration import facts
from crossfade.manifest import HostSpec, Manifest
from crossfade.ports import Work

__all__ = ["world"]


def world(manifest: Manifest, work: Work) -> Mapping[str, str]:
    """The facts that must not change between rehearsal and cutover.

    Raises Failed when a machine cannot be reached, or lacks what is needed there."""
    for parts in (work.old, work.new):
        parts.host.connect()
        parts.service.look()  # raises what would stop us from working with it
    named = manifest.recipe  # with what only the manifest names
    seen = {
        "crossfade": crossfade.__version__,
        "recipe": sha256(manifest.recipe.source.read_bytes()).hexdigest()[:16],
        "named": sha256(repr((named.configuration, named.files)).encode()).hexdigest()[:16],
        "checks": sha256(repr(manifest.checks).encode()).hexdigest()[:16],
        "listen": str(manifest.traffic.listen),
        "reads_in_pause": str(manifest.traffic.reads_in_pause),
        "installed": work.new.install.fingerprint(),
    }
    if work.traffic.ports:
        seen["ports"] = ", ".join(f"{p.listen} {p.old} {p.new}" for p in work.traffic.ports)
    for name, spec in (("old", manifest.old), ("new", manifest.new)):
        seen |= {
            f"{name}.version": spec.version,
            f"{name}.host": _host_in_words(spec.host),
            f"{name}.root": str(spec.root),
            f"{name}.config": str(spec.config),
            f"{name}.data": str(spec.data),
            f"{name}.address": str(spec.address),
        }
    for name, carrier in work.carriers.items():
        plan = carrier.preview()
        facts = {"strategy": plan.strategy, **plan.facts}
        seen |= {f"database {name} {fact}": value for fact, value in facts.items()}
    version = next(iter(work.old.checks), None)
    seen["old.running"] = version.run().observed if version else ""
    seen |= _configuration(work)
    seen |= work.old.jobs.facts()
    return seen


def _configuration(work: Work) -> dict[str, str]:
    """The old side's files that are taken whole, and what people decided about the others: what is
    changed in these meanwhile is merged in as well, or asked about."""
    rendering = work.configuration.render(work.new.installation)
    merged = {rendering.sources[path] for path in rendering.merged}
    seen = {
        f"configuration {name}": "merged" if name in merged else digest
        for name, digest in facts(work.configuration.originals()).items()
    }
    answers = sorted(
        f"{one.binding} {one.answer} {one.given}".rstrip()
        for one in rendering.settings
        if one.decided
    )
    if answers:
        seen["decisions"] = sha256("\n".join(answers).encode()).hexdigest()[:16]
    return seen


def _host_in_words(host: HostSpec) -> str:
    """The machine as the plan remembers it; a container with how it is made."""
    if host.driver != "docker":
        return f"{host.name} ({host.machine})" if host.machine else host.name
    mounts = [f"{path}={source}" for path, source in host.mounts]
    return " ".join((host.name, host.image, str(host.listens), *mounts, *host.command))
