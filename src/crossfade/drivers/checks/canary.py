"""The canary check: what the old side seals with a key of the site, the new side can read."""

from __future__ import annotations

import hmac
import secrets

from crossfade.drivers.checks.telling import Silent, Teller
from crossfade.model import Finding
from crossfade.recipes import Fingerprints

__all__ = ["CanaryCheck"]


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
                raise Silent(f"{self._make.side} printed {'the word' if sealed else 'nothing'}")
            said = self._read.tell(sealed)
        except Silent as silent:
            return self._finding(expected, str(silent), False)
        holds = hmac.compare_digest(said.encode(), word.encode())
        seen = f"fingerprint {prints.of(said)}" if said else "nothing"
        return self._finding(expected, seen, holds)

    def _finding(self, expected: str, seen: str, holds: bool) -> Finding:
        claim = f"the new side reads what the old one sealed: {self.name} ({self.what})"
        return Finding(claim, expected, seen, f"{self._make.side}, {self._read.side}", holds)
