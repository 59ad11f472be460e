"""Records, servers and times in words for people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from crossfade.errors import Failed
from crossfade.ports import DnsAnswer, DnsRecord

__all__ = ["behind", "duration", "many", "moment"]


def behind(
    record: DnsRecord, answers: Sequence[DnsAnswer], missing: Sequence[DnsAnswer], patience: float
) -> Failed:
    """The error that names the servers that do not say so, with what they say."""
    serials = [answer.serial for answer in answers if answer.serial is not None]
    told = []
    for answer in missing:
        if answer.trouble:
            told.append(f"{answer.server}: {answer.trouble}")
            continue
        says = f"{many(answer.record.values)} (TTL {answer.record.ttl} s)" if answer.record else ""
        told.append(f"{answer.server} says {says or 'nothing'}, serial {answer.serial}")
    rest = f"others have serial {', '.join(map(str, sorted({*serials})))}" if serials else ""
    return Failed(
        "dns-server-behind",
        f"{len(missing)} of {len(answers)} name servers do not say {record.words} "
        f"after {duration(patience)}.",
        where="\n".join([*told, rest]).strip(),
        next="crossfade dns wait",
    )


def many(values: Sequence[str]) -> str:
    """Values as a list in a sentence."""
    return " and ".join(values)


def moment(at: float) -> str:
    """A wall-clock time for people."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def duration(seconds: float) -> str:
    """Seconds for people: ``1 day``, ``2 h 5 min``, ``40 s``."""
    left = max(0, round(seconds))
    if left >= 86400 and left % 86400 == 0:
        return "1 day" if left == 86400 else f"{left // 86400} days"
    hours, minutes, rest = left // 3600, left % 3600 // 60, left % 60
    parts = [f"{n} {unit}" for n, unit in ((hours, "h"), (minutes, "min"), (rest, "s")) if n]
    return " ".join(parts[:2]) or "0 s"
