"""Asking through what stands before the gate, to see which way requests go."""

from __future__ import annotations

import time
from secrets import token_hex

from crossfade.drivers.fronts._asking import ask
from crossfade.drivers.fronts.way import Way
from crossfade.errors import Failed
from crossfade.manifest import FrontSpec
from crossfade.model import Finding

__all__ = ["AskedFront"]

_IN_A_ROW = 5
_PATIENCE = 15.0


class AskedFront:
    """What all fronts have in common: a URL that the application answers through them."""

    spec: FrontSpec
    way: Way
    name: str
    title: str

    def answer(self) -> int:
        """How the application answers through the server.  Raises Failed(front-not-serving)."""
        answer = ask(self.spec.url, self.spec.at, "none")
        if isinstance(answer, str) or answer >= 500:
            raise Failed(
                "front-not-serving",
                f"{self.title} does not serve the application at {self.spec.url}: {answer}.",
                where=f"{self.name}, asked at {self.spec.at or self.spec.url}",
            )
        return answer

    def gate_must_pass(self, answer: int) -> None:
        """The gate itself answers as the old side does, before anybody is sent to it."""
        path = "/" + self.spec.url.partition("://")[2].partition("/")[2]
        asked = zip(self.way.schemes, (self.way.old, self.way.gate), strict=True)
        direct, gate = (ask(f"{way}://{address}{path}", None, "none") for way, address in asked)
        if isinstance(gate, str) or (gate >= 500 and gate != direct):
            raise Failed(
                "gate-does-not-pass",
                f"The gate at {self.way.gate} does not pass requests on: {gate}; the old side "
                f"itself says {direct}.",
                where=f"asked for {path}; through {self.title} the answer is {answer}",
                next="crossfade gate status",
            )

    def read_back(self, through: bool, answer: int | None) -> Finding:
        """Requests go by the gate, or past it, some times in a row; with the answer of before, or
        where there was none, with one that is no failure."""
        token, until = token_hex(8), time.monotonic() + _PATIENCE
        row, wrong = 0, ""
        before = self._count(token, through)
        while row < _IN_A_ROW and (row or time.monotonic() < until):  # slow is not wrong
            said = ask(self.spec.url, self.spec.at, token)
            count = self._count(token, through)
            came, before = count > before, count
            fine = said == answer or (answer is None and isinstance(said, int) and said < 500)
            row = row + 1 if fine and came is through else 0
            if not row:
                wrong = f"{said}, {'by' if came else 'past'} the gate"
                time.sleep(0.1)
        way = "by" if through else "past"
        claim = f"requests through {self.title} go {way} the gate"
        claim += ", and are answered" if answer is None else f", and are answered with {answer}"
        seen = f"{row} of {_IN_A_ROW} in a row"
        if row < _IN_A_ROW:
            seen += f"; the last was answered with {wrong}"
        source = f"GET {self.spec.url}, the gate's count"
        return Finding(claim, f"{_IN_A_ROW} in a row", seen, source, row == _IN_A_ROW)

    def _count(self, token: str, through: bool) -> int:
        """How many requests with the token came by the gate; by one that does not run, none."""
        try:
            return self.way.expect(token)
        except Failed:
            if through:
                raise
            return 0
