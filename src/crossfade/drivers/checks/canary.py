"""The canary check: what the old side seals with a key of the site, the new side can read."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from crossfade.errors import Failed
from crossfade.model import Finding
from crossfade.ports import Host
from crossfade.recipes import Fingerprints, looks_secret

__all__ = ["CanaryCheck", "Teller"]

_LONGEST = 120.0
"""Seconds that a program may take."""
_LARGEST = 1 << 20
_QUIET = {"PYTHONDONTWRITEBYTECODE": "1"}
"""So that a Python program leaves nothing in a side's directories."""


@dataclass(frozen=True, slots=True)
class Teller:
    """A program of one side that turns what it is told into what it prints.

    side is for people ("old side's make").  environment is read right before the program runs,
    for it may hold secrets."""

    side: str
    host: Host
    argv: tuple[str, ...]
    cwd: Path
    environment: Callable[[], Mapping[str, str]]

    def tell(self, text: str) -> str:
        """What it prints, white space around it taken away.  Raises _Silent.

        text goes through its standard input, and neither that nor what it prints is ever shown."""
        try:
            done = self.host.run(
                self.argv,
                stdin=text.encode(),
                timeout=_LONGEST,
                ok=tuple(range(-64, 255)),
                env={**self.environment(), **_QUIET},
                cwd=self.cwd,
            )
        except Failed as failed:
            raise _Silent(f"{self.side}: {failed.what}") from None
        if done.status:
            said = _last_line(done.err.decode(errors="replace"), (text, done.out.decode("latin-1")))
            raise _Silent(f"{self.side} ended with status {done.status}{said}")
        return done.out[:_LARGEST].decode(errors="replace").strip()


class _Silent(Exception):
    """A program did not give what it should; says why."""


class CanaryCheck:
    """A random word, sealed by the old side's program, must be read by the new side's.

    Neither the word nor the sealed text is on a command line or is ever shown."""

    def __init__(self, name: str, what: str, make: Teller, read: Teller) -> None:
        self.name = name
        self.what = what
        self._make = make
        self._read = read

    def run(self) -> Finding:
        """Seal and read once.  Programs that fail make a finding that does not hold."""
        word = secrets.token_hex(16)
        prints = Fingerprints(secrets.token_bytes(32))
        expected = f"fingerprint {prints.of(word)}"
        try:
            sealed = self._make.tell(word)
            if not sealed or sealed == word:
                raise _Silent(f"{self._make.side} printed {'the word' if sealed else 'nothing'}")
            said = self._read.tell(sealed)
        except _Silent as silent:
            return self._finding(expected, str(silent), False)
        holds = hmac.compare_digest(said.encode(), word.encode())
        seen = f"fingerprint {prints.of(said)}" if said else "nothing"
        return self._finding(expected, seen, holds)

    def _finding(self, expected: str, seen: str, holds: bool) -> Finding:
        claim = f"the new side reads what the old one sealed: {self.name} ({self.what})"
        return Finding(claim, expected, seen, f"{self._make.side}, {self._read.side}", holds)


def _last_line(text: str, hidden: Sequence[str]) -> str:
    """The last line of what a program complained of, without what was told or looks secret."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return ""
    said = {piece for each in hidden for piece in each.split() if len(piece) > 3}
    words = [
        "…"
        if looks_secret(word.strip(".,:;\"'()")) or any(piece in word for piece in said)
        else word
        for word in lines[-1].split()
    ]
    return f": {' '.join(words)[:200]}"
