"""A version's own checker of its configuration, asked about the file that a cutover will have."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import yaml

from crossfade.drivers.checks.telling import Silent, Teller
from crossfade.errors import Failed
from crossfade.model import Finding

__all__ = ["CheckerCheck"]


class CheckerCheck:
    """The checker reads the file on its standard input, and ends with 0 when the program would
    start with it.  text gives the file; it is written nowhere."""

    def __init__(self, name: str, teller: Teller, text: Callable[[], str]) -> None:
        self.name = name
        self._teller = teller
        self._text = text

    def run(self) -> Finding:
        """Ask once.  What it complains of is shown without any value of the file."""
        try:
            text = self._text()
            self._teller.tell(text, hidden=list(_values(text)))
        except (Silent, Failed) as trouble:
            return self._finding(str(trouble), False)
        return self._finding("taken", True)

    def _finding(self, seen: str, holds: bool) -> Finding:
        claim = f"the new version takes {self.name} as the cutover will have it"
        return Finding(claim, "taken", seen, self._teller.side, holds)


def _values(text: str) -> Iterator[str]:
    """Every text that is a value in a YAML file; every word where it is none."""
    try:
        yield from _texts(yaml.safe_load(text))
    except (yaml.YAMLError, ValueError, TypeError):
        yield from text.split()


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _texts(each)
    elif isinstance(value, str):
        yield value
