"""Waiting until an application answers, and asking it everything else."""

import time
from concurrent.futures import ThreadPoolExecutor

from crossfade.errors import Failed
from crossfade.model import Finding
from crossfade.ports import Parts, Work

__all__ = ["ask_all", "time_left", "wait_healthy"]

_ASK_EVERY = 0.01
_LOOK_EVERY = 0.5
_AT_ONCE = 8


def time_left(work: Work) -> float:
    """Seconds of the pause that may still be used before we go back; infinite outside a pause.

    Enough is kept back for starting the old side again within the longest pause accepted."""
    if work.pause_began is None:
        return float("inf")
    limit = max(work.limits.max_pause / 2, work.limits.max_pause - 15)
    return work.pause_began + limit - time.time()


def wait_healthy(work: Work, parts: Parts, timeout: float) -> Finding:
    """Ask for health until it holds.  Raises Failed when the program ends or time runs out."""
    began = time.monotonic()
    looked = began
    while True:
        finding = parts.health.run()
        if finding.holds:
            return finding
        now = time.monotonic()
        over = now - began > timeout
        if over or now - looked > _LOOK_EVERY:
            looked = now
            if not parts.service.look().running:
                raise _failed(parts, "service-died", "was started and ended by itself", finding)
        if time_left(work) <= 0:
            raise _failed(parts, "pause-too-long", "was not healthy within the pause", finding)
        if over:
            raise _failed(parts, "not-healthy", f"is not healthy after {timeout:.0f} s", finding)
        time.sleep(_ASK_EVERY)


def _failed(parts: Parts, code: str, what: str, finding: Finding) -> Failed:
    side = parts.installation.side
    return Failed(
        code,
        f"{parts.installation.application} {parts.installation.version} ({side} side) {what}.",
        where="\n".join([f"{finding.source}: {finding.observed}", *parts.service.log_tail(5)]),
    )


def ask_all(parts: Parts) -> tuple[Finding, ...]:
    """Every check of a side, once, several at the same time.  Raises Failed when the program ended
    meanwhile."""
    with ThreadPoolExecutor(_AT_ONCE) as asking:
        findings = tuple(asking.map(lambda check: check.run(), parts.checks))
    broken = [finding for finding in findings if not finding.holds]
    if broken and not parts.service.look().running:
        raise _failed(parts, "service-died", "was healthy and then ended by itself", broken[0])
    return findings
