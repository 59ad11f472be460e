"""The ``command`` check: a program whose exit status and output say whether all is well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from crossfade.errors import Failed
from crossfade.model import Finding
from crossfade.ports import Host

__all__ = ["CommandCheck"]


class CommandCheck:
    """Run a program on a host; it has to end with ``status``.

    With ``equals`` its whole output (white space around it taken away) must be that text, with
    ``contains`` that text must be in it."""

    def __init__(
        self,
        name: str,
        host: Host,
        argv: Sequence[str],
        *,
        timeout: float = 30.0,
        status: int = 0,
        equals: str | None = None,
        contains: str = "",
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.host = host
        self.argv = tuple(argv)
        self.timeout = timeout
        self.status = status
        self.equals = equals
        self.contains = contains
        self.cwd = cwd
        self.env = env

    def run(self) -> Finding:
        """Run it once.  A command that cannot be run makes a finding that does not hold."""
        source = " ".join(self.argv)[:200]
        expected = f"exit status {self.status}" if self.equals is None else self.equals
        if self.contains:
            expected += f", contains {self.contains!r}"
        try:
            done = self.host.run(
                self.argv, timeout=self.timeout, ok=(self.status,), cwd=self.cwd, env=self.env
            )
        except Failed as error:
            last = error.where.strip().splitlines()[-1:] or [""]
            seen = f"{error.what} {last[0]}"[:300]
            return Finding(self.name, expected, seen, source, holds=False)
        said = done.out.decode("utf-8", "replace").strip()
        holds = self.equals in (None, said) and self.contains in said
        observed = expected if holds else said[:200]
        return Finding(self.name, expected, observed, source, holds)
