"""The names that users ask for, as their requests say them: the commonest since the gate began."""

from __future__ import annotations

import re
from collections import Counter

__all__ = ["AskedNames"]

_MOST = 200
"""So many are told apart; further ones are not counted: there are machines that try every name."""
_SHOWN = 10
_SHARE = 20
"""One request in so many has to ask for a name that is told: strangers try what is nobody's."""
_NAME = re.compile(rb"[A-Za-z0-9._:\[\]-]{1,255}")


class AskedNames:
    """Counts them, with their ports, in memory."""

    def __init__(self) -> None:
        self._seen: Counter[bytes] = Counter()

    def __len__(self) -> int:
        return len(self._seen)

    def add(self, host: bytes) -> None:
        """A request for this name has come."""
        if host in self._seen or (len(self._seen) < _MOST and _NAME.fullmatch(host)):
            self._seen[host] += 1

    def commonest(self) -> list[str]:
        """The commonest, first."""
        least = self._seen.total() / _SHARE
        common = self._seen.most_common(_SHOWN)
        return [host.decode("ascii") for host, count in common if count >= least]
