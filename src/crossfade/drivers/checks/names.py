"""Whether the new side answers to the names that users ask for, as the old one does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from crossfade.drivers.checks.http import HttpCheck
from crossfade.model import Finding
from crossfade.ports import Check

__all__ = ["NamesCheck"]

_MOST = 10
"""So many names are asked for at the most."""


class NamesCheck:
    """Asks both sides' questions once more, with each of the names as ``Host``.

    old and new are the same checks of both sides, of which those over HTTP count.  The old side is
    asked only what the new one does not answer under a name as it should."""

    def __init__(
        self,
        names: Callable[[], Sequence[str]],
        old: Sequence[Check],
        new: Sequence[Check],
    ) -> None:
        self.name = "names"
        self._names = names
        self._pairs = [
            (one, two)
            for one, two in zip(old, new, strict=True)
            if isinstance(one, HttpCheck) and isinstance(two, HttpCheck) and not _says_host(two)
        ]

    def run(self) -> Finding:
        """The finding; it says what is refused, and under which name."""
        names = list(dict.fromkeys(self._names()))[:_MOST]
        claim = "the new side answers to the names that users ask for, as the old one does"
        source = f"the new side's checks, asked as {', '.join(names) or 'nobody was seen to'}"
        refused = next((text for name in names for text in self._refused(name)), "")
        return Finding(claim, "yes", refused or "yes", source, not refused)

    def _refused(self, name: str) -> Iterator[str]:
        for old, new in self._pairs:
            found = _as(name, new).run()
            if not found.holds and new.run().holds and _as(name, old).run().holds:
                yield f"{found.source} as {name}: {found.observed}"


def _as(name: str, check: HttpCheck) -> HttpCheck:
    question = check.question
    return check.asking(replace(question, headers={**question.headers, "Host": name}))


def _says_host(check: HttpCheck) -> bool:
    return any(name.lower() == "host" for name in check.question.headers)
