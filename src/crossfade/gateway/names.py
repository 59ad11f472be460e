"""The names that users ask for, as their requests say them: the commonest since the gate began."""

from __future__ import annotations

from collections import Counter

__all__ = ["AskedNames"]

_MOST = 200
"""So many are told apart; further ones are not counted: there are machines that try every name."""
_SHOWN = 10
_LONGEST = 255


class AskedNames:
    """Counts them, with their ports, in memory."""

    def __init__(self) -> None:
        self._seen: Counter[bytes] = Counter()

    def __len__(self) -> int:
        return len(self._seen)

    def add(self, host: bytes) -> None:
        """A request for this name has come."""
        if host in self._seen or (len(self._seen) < _MOST and 0 < len(host) <= _LONGEST):
            self._seen[host] += 1

    def commonest(self) -> list[str]:
        """The commonest, first."""
        return [host.decode("ascii", "replace") for host, _ in self._seen.most_common(_SHOWN)]
