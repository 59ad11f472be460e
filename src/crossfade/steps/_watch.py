"""The watch after the switch: is the new side as good as the old one was?

Measured by the gate on both sides alike.  Nothing is compared before enough requests were seen, so
a quiet site is only asked for its health.
"""

import time

from crossfade.model import Finding
from crossfade.ports import Heed, Measured, Parts, TrafficState, Work

__all__ = ["too_bad", "watch"]

_QUICK = 1.0
"""Answers that begin within this time (seconds) are never too slow, whatever they were before: the
first ones after a start fill caches."""
_SLOWEST = 0.95
_SOURCE = "gate's count, before and since the switch"


def watch(work: Work, live: Parts) -> tuple[list[Finding], list[str]]:
    """Stay a while: health, requests that the gate could not get answered, and the comparison.

    Ends early when a limit is passed: every further write would make going back dearer.  A side
    that mostly gives no health answer is too bad as well, also where nobody asks it for anything
    else.  Returns the findings, and what is too bad, in words."""
    before = work.traffic.look()
    until = time.monotonic() + work.limits.watch
    asked = missed = 0
    findings: list[Finding] = []
    with work.timed("watch"):
        while True:
            asked, missed = asked + 1, missed + (not live.health.run().holds)
            after = work.traffic.look()
            findings = _compared(after, work.limits.heed)
            bad = not all(finding.holds for finding in findings)
            if bad or time.monotonic() >= until:
                break
            time.sleep(min(0.5, work.limits.watch / 5))
    failed = after.failed - before.failed if before and after else -1
    claim, seen = "health answers missed after the switch", f"{missed} of {asked}"
    findings.append(Finding(claim, "half of them", seen, "health", 2 * missed <= asked))
    words = [f"{f.claim}: {f.observed}, at most {f.expected}" for f in findings if not f.holds]
    told = Finding.equal("requests that the gate failed", 0, failed, "gate's count while watching")
    return [told, *findings], words


def too_bad(before: Measured, after: Measured, heed: Heed) -> list[Finding]:
    """The comparisons of one side's measures with the other's."""
    was, now = before.client_error_rate, after.client_error_rate
    findings = [
        _rate("went wrong", before.error_rate, after.error_rate, heed.error_rate, after.requests),
        _rate("were answered with 4xx", was, now, heed.client_error_rate, after.requests),
    ]
    if heed.latency is not None and min(before.timed, after.timed) >= heed.least:
        was, now = before.within(_SLOWEST), after.within(_SLOWEST)
        limit = max(_QUICK, heed.latency * was)
        seen = f"{now * 1000:.0f} ms of {after.timed}, before {was * 1000:.0f} ms"
        claim = "time within which 95 % of the answers began"
        findings.append(Finding(claim, f"{limit * 1000:.0f} ms", seen, _SOURCE, now <= limit))
    return findings


def _rate(what: str, before: float, after: float, more: float, requests: int) -> Finding:
    limit = before + more
    seen = f"{after:.1%} of {requests}, before {before:.1%}"
    claim = f"requests that {what} since the switch"
    return Finding(claim, f"{limit:.1%}", seen, _SOURCE, after <= limit)


def _compared(state: TrafficState | None, heed: Heed) -> list[Finding]:
    """The comparison, or why there is none."""
    before, after = (state.before_switch, state.since_switch) if state else (None, None)
    if before is None or after is None:
        return [_not_compared("the gate has not measured both sides")]
    if min(before.requests, after.requests) < heed.least:
        seen = f"{before.requests} before and {after.requests} since, {heed.least} are needed"
        return [_not_compared(seen)]
    return too_bad(before, after, heed)


def _not_compared(why: str) -> Finding:
    claim = "the new side is compared with the old one"
    return Finding(claim, "if enough was seen", f"it is not: {why}", _SOURCE, True)
