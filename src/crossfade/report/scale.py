"""From data to coordinates: two scales with honest ticks, and thinning that keeps what matters."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass

from crossfade.report.data import Sample

__all__ = ["Linear", "Logarithmic", "thin"]


@dataclass(frozen=True, slots=True)
class Linear:
    """A linear scale from values ``first``..``last`` to coordinates 0..``length``."""

    first: float
    last: float
    length: float

    def at(self, value: float) -> float:
        """The coordinate of a value."""
        return (value - self.first) / (self.last - self.first) * self.length

    def ticks(self, at_most: int) -> list[float]:
        """Round values inside the scale (steps of 1, 2 or 5 times a power of ten)."""
        least = (self.last - self.first) / at_most
        power = 10.0 ** math.floor(math.log10(least))
        step = next(power * m for m in (1, 2, 5, 10) if power * m >= least * (1 - 1e-9))
        begin, end = math.ceil(self.first / step - 1e-9), math.floor(self.last / step + 1e-9)
        return [n * step for n in range(begin, end + 1)]


@dataclass(frozen=True, slots=True)
class Logarithmic:
    """A logarithmic scale upwards: ``last`` is at coordinate 0, ``first`` at ``length``.

    Values below ``first`` (a request of 0.0 ms, say) are drawn at ``first``.
    """

    first: float
    last: float
    length: float

    @classmethod
    def over(cls, values: Sequence[float], length: float) -> Logarithmic:
        """From the power of ten below the least value to a 1, 2 or 5 above the greatest."""
        least = max(min(values, default=1.0), 0.1)
        most = max(max(values, default=10.0), least * 10)
        power = 10.0 ** math.floor(math.log10(most))
        last = next(power * m for m in (1, 2, 5, 10, 20) if power * m > most * 1.05)
        return cls(10.0 ** math.floor(math.log10(least)), last, length)

    def at(self, value: float) -> float:
        """The coordinate of a value."""
        span = math.log(self.last / self.first)
        return self.length * (1 - math.log(max(value, self.first) / self.first) / span)

    def decades(self) -> list[float]:
        """The powers of ten inside the scale, ends included."""
        return [v for v in self._multiples((1,)) if self.first <= v <= self.last]

    def between(self) -> list[float]:
        """The multiples 2 to 9 of those, for fine lines that show that the scale is logarithmic."""
        return [v for v in self._multiples(range(2, 10)) if self.first < v < self.last]

    def _multiples(self, factors: Sequence[int]) -> list[float]:
        powers = range(round(math.log10(self.first)), math.floor(math.log10(self.last)) + 1)
        return [float(f"{factor}e{power}") for power in powers for factor in factors]


def thin(samples: Sequence[Sample], at_most: int = 20_000, slowest: int = 1_000) -> list[Sample]:
    """At most so many samples, in order: every failure, the slowest, an even choice of the rest.

    Failures are never dropped, even where they alone are more than ``at_most``.
    """
    if len(samples) <= at_most:
        return list(samples)
    kept = {i for i, sample in enumerate(samples) if sample.failed}
    kept.update(heapq.nlargest(slowest, range(len(samples)), key=lambda i: samples[i].total_ms))
    rest = [i for i in range(len(samples)) if i not in kept]
    room = max(0, at_most - len(kept))
    kept.update(rest[n * len(rest) // room] for n in range(min(room, len(rest))))
    return [samples[i] for i in sorted(kept)]
