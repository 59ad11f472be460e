"""Something that a run needs of a machine, and whether it is there."""

from __future__ import annotations

from dataclasses import dataclass

from crossfade.errors import CrossfadeError, Failed
from crossfade.model import Finding, Problem

__all__ = ["Need"]


@dataclass(frozen=True, slots=True)
class Need:
    """code is what the lack is called, fix the command that mends it.  stops says that a run would
    fail half way without it; otherwise it is only told.  notice says that a run is as good without
    it, only slower: nothing is lacking then.  trouble is why a machine could not be asked at all,
    which says more than the finding."""

    code: str
    finding: Finding
    fix: str = ""
    stops: bool = True
    notice: bool = False
    trouble: Failed | None = None

    @classmethod
    def of_trouble(cls, claim: str, error: CrossfadeError, fix: str = "crossfade plan") -> Need:
        """The lack that an error tells; fix is for one that names no next command."""
        last = error.where.strip().splitlines()[-1:]
        seen = Finding(claim, "it can", " ".join((error.what, *last)), "asking it", holds=False)
        trouble = error if isinstance(error, Failed) else None
        return cls(error.code, seen, error.next or fix, trouble=trouble)

    @classmethod
    def of_problem(cls, problem: Problem) -> Need:
        """The lack that a plan's problem tells."""
        return cls(problem.code, problem.finding, problem.next)

    @property
    def lacks(self) -> bool:
        """Whether it is not there."""
        return not self.finding.holds

    @property
    def problem(self) -> Problem:
        """The lack as a problem of the plan."""
        return Problem(self.code, self.finding, self.fix)

    @property
    def words(self) -> str:
        """It in one line."""
        return f"{self.finding.claim}: {self.finding.observed}"

    def as_json(self) -> dict[str, object]:
        """Plain data for ``--json``; the fix only of what is lacking."""
        fix = self.fix if self.lacks else ""
        how = {"stops": self.stops, "notice": self.notice}
        return {"code": self.code, **self.finding.as_json(), **how, "fix": fix}
