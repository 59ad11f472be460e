"""Whether bytes between two machines are compressed: only where the link is the slower one."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from crossfade.ports import Host

__all__ = ["WORTH_A_TRIAL", "Squeeze", "squeeze_for"]

_SAMPLE: Final = 1 << 20
WORTH_A_TRIAL: Final = 16 << 20
"""For fewer bytes, the trial would take longer than it can save."""

_WAYS: Final = {
    "zstd": ("zstd -1 -c -q", "zstd -d -c -q", 15e6),
    "gzip": ("gzip -1", "gzip -d", 8e6),
}
"""How to compress, how to expand, and the rate of a link, in bytes a second, below which a small
processor is sure to keep up."""

_HAS: Final = "for one in zstd gzip; do command -v $one >/dev/null 2>&1 && echo $one; done; :"

# Both end with the status of the command, or with that of the compressor if only it failed.
_OUT: Final = r"""
exec 4>&1
s=$({ { "$@" 3>&- 4>&-; echo $? >&3; } | { %s 3>&- >&4 || echo 1 >&3; }; } 3>&1)
exit "$((${s##*[!0-9]} + 0))"
"""
_INTO: Final = r"""
s=$({ { %s 3>&- || echo 1 >&3; } | { "$@" 3>&- >/dev/null || echo $? >&3; }; } 3>&1)
exit "$((${s##*[!0-9]} + 0))"
"""


@dataclass(frozen=True, slots=True)
class Squeeze:
    """One program that both machines have: ``out`` compresses, ``into`` expands."""

    out: str
    into: str

    def reader(self, argv: Sequence[str]) -> tuple[str, ...]:
        """The same command, with its output compressed."""
        return ("sh", "-c", _OUT % self.out, "crossfade", *argv)

    def writer(self, argv: Sequence[str]) -> tuple[str, ...]:
        """The same command, which takes compressed input."""
        return ("sh", "-c", _INTO % self.into, "crossfade", *argv)


Join = Callable[[Host, Sequence[str], Host, Sequence[str]], None]


def squeeze_for(old: Host, new: Host, join: Join) -> Squeeze | None:
    """How to send bytes; None for as they are.

    A megabyte that nobody can compress is sent by ``join`` first, as a trial.  Only a link that
    seems slow is tried again, against a stream of nothing.  Raises what the hosts raise."""
    if old is new:
        return None
    quick = _SAMPLE / max(most for *_, most in _WAYS.values())
    first = _seconds(old, new, _SAMPLE, join)
    if first < quick:
        return None
    one, two = (set(h.run(("sh", "-c", _HAS)).out.decode().split()) for h in (old, new))
    both = [way for name, way in _WAYS.items() if name in one & two]
    if not both:
        return None
    nothing = _seconds(old, new, 0, join)
    again = min(first, _seconds(old, new, _SAMPLE, join))
    out, into, most = both[0]
    slow = _SAMPLE / max(again - nothing, 1e-3) < most
    return Squeeze(out, into) if slow else None


def _seconds(old: Host, new: Host, count: int, join: Join) -> float:
    began = time.monotonic()
    join(old, ("head", "-c", str(count), "/dev/urandom"), new, ("sh", "-c", "cat >/dev/null"))
    return time.monotonic() - began
