"""The ``command`` check: a program whose exit status 0 means that all is well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from crossfade.errors import Failed
from crossfade.model import Finding
from crossfade.ports import Host

__all__ = ["CommandCheck"]


class CommandCheck:
    """Run a program on a host.  With ``equals`` its first line must also be that text."""

    def __init__(
        self,
        name: str,
        host: Host,
        argv: Sequence[str],
        *,
        timeout: float = 30.0,
        equals: str | None = None,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.host = host
        self.argv = tuple(argv)
        self.timeout = timeout
        self.equals = equals
        self.cwd = cwd
        self.env = env

    def run(self) -> Finding:
        """Run it once.  A command that cannot be run makes a finding that does not hold."""
        source = " ".join(self.argv)[:200]
        expected = "exit status 0" if self.equals is None else self.equals
        try:
            done = self.host.run(self.argv, timeout=self.timeout, cwd=self.cwd, env=self.env)
        except Failed as error:
            last = error.where.strip().splitlines()[-1:] or [""]
            return Finding(
                self.name, expected, f"{error.what} {last[0]}"[:300], source, holds=False
            )
        lines = done.out.decode("utf-8", "replace").strip().splitlines()
        observed = (lines[0] if lines else "") if self.equals is not None else "exit status 0"
        return Finding(self.name, expected, observed, source, holds=observed == expected)
