"""The ``npm`` install: packages with their programs below ``root``, by the host's own npm.

The packages' own scripts are run, because many need them to be whole; they run as the account that
installs.  npm's cache is kept below ``root`` while it works, so that nothing stays in a home.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final

from crossfade.drivers.installs._deeds import (
    BEGAN,
    NOTE,
    check_packages,
    in_the_way,
    note_of,
    run,
    shell,
    where,
)
from crossfade.errors import Failed
from crossfade.ports import Host, Progress

__all__ = ["FIND", "NpmInstall", "check_node", "suits"]

_WORD: Final = r"[A-Za-z0-9_][A-Za-z0-9._~-]*"
_FORM: Final = re.compile(rf"(?:@{_WORD}/)?{_WORD}(?:@[~^]?[A-Za-z0-9][A-Za-z0-9._+-]*)?", re.ASCII)
_RULE: Final = re.compile(r"(>=|<=|>|<|=)?(\d+(?:\.\d+){0,2})", re.ASCII)
FIND: Final = "command -v npm >/dev/null && command -v node >/dev/null && exec node --version; :"
_FINGERPRINT: Final = """
cd -- "$1" && [ -f "$2" ] || exit 0
cat -- "$2" && printf '\\0' && cat package-lock.json
"""


class NpmInstall:
    """Packages of the npm registry at ``root``; their programs are in ``node_modules/.bin``.

    packages are ``name@version``; node are the versions of Node.js that will do, such as ``>=18``.
    """

    def __init__(self, host: Host, root: Path, packages: Sequence[str], *, node: str = "") -> None:
        check_packages(packages, _FORM, "name@version or @scope/name@version")
        self.host = host
        self.root = root
        self.packages = tuple(packages)
        self.node = node

    def describe(self) -> tuple[str, ...]:
        """What will be done."""
        place, names = where(self.host, str(self.root)), ", ".join(self.packages)
        if self.done():
            return (f"{names} is installed at {place}",)
        using = f" with Node.js {self.node}" if self.node else ""
        return (f"install {names} by npm{using} at {place}, and run the packages' own scripts",)

    def done(self) -> bool:
        """Whether just these packages were installed there, to the end."""
        return note_of(self.host, self.root / NOTE) == self._wanted()

    def _wanted(self) -> str:
        return "\n".join((*sorted(self.packages), f"node {self.node}".strip(), ""))

    def install(self, progress: Progress | None = None) -> None:
        """Install into the final place.  A broken earlier try of ours is replaced.

        Raises Failed: node-missing, node-unsuitable, install-in-the-way, and what npm says."""
        if self.done():
            return
        if self.host.exists(self.root) and not self._is_ours():
            raise in_the_way(self.host, self.root, "an installation of ours")
        check_node(self.host, shell(self.host, FIND).decode(), self.node)
        self.host.remove(self.root)
        self.host.make_directory(self.root.parent, mode=0o755)
        self.host.make_directory(self.root, mode=0o755)
        self.host.write(self.root / BEGAN, self._wanted().encode(), mode=0o644)
        about = json.dumps({"private": True, "description": "installed by crossfade"}) + "\n"
        self.host.write(self.root / "package.json", about.encode(), mode=0o644)
        cache = self.root / ".npm-cache"
        argv = (
            *("npm", "install", "--prefix", str(self.root), "--cache", str(cache)),
            *("--no-audit", "--no-fund", "--no-update-notifier", "--no-progress", "--no-global"),
            *(
                "--logs-max=0",
                "--save-exact",
                "--package-lock",
                "--omit=dev",
                "--ignore-scripts=false",
            ),
            *("--", *self.packages),
        )
        run(self.host, argv, cwd=self.root, place=self.root)
        self.host.remove(cache)
        self.host.write(self.root / NOTE, self._wanted().encode(), mode=0o644)
        self.host.remove(self.root / BEGAN)

    def _is_ours(self) -> bool:
        return any(self.host.exists(self.root / name) for name in (NOTE, BEGAN))

    def fingerprint(self) -> str:
        """16 hex digits over package-lock.json; empty when not done."""
        found = shell(self.host, _FINGERPRINT, str(self.root), NOTE)
        note, _, lock = found.partition(b"\0")
        return sha256(lock).hexdigest()[:16] if note == self._wanted().encode() else ""

    def remove(self) -> None:
        """Remove what we installed or began to install."""
        if self._is_ours():
            self.host.remove(self.root)


def check_node(host: Host, told: str, rules: str) -> None:
    """Look at what the host answered to ``FIND``.  Raises Failed: node-missing, node-unsuitable."""
    found = told.strip().removeprefix("v")
    if not found:
        what = "The machine that gets the new version has not both node and npm."
        fix = "apt-get install nodejs npm"
        raise Failed("node-missing", what, where=where(host, "node"), next=fix)
    if rules and not suits(found, rules):
        what = f"Node.js {found} is there, and the recipe asks for {rules}."
        raise Failed("node-unsuitable", what, where=where(host, "node"))


def suits(version: str, rules: str) -> bool:
    """Whether a version holds to all rules: ``>=18 <21``; a bare ``18`` means any 18."""
    return all(_holds(version, rule) for rule in rules.split())


def _holds(version: str, rule: str) -> bool:
    found = _RULE.fullmatch(rule)
    if not found:
        return False
    asked = [int(number) for number in found[2].split(".")]
    given = [int(number) for number in re.findall(r"\d+", version)[:3]]
    sign = found[1] or "="
    if sign in {"=", "<=", ">"}:  # as far as it is told: 18.4 is an 18, and not above 18
        given = given[: len(asked)]
    asked += [0] * (len(given) - len(asked))
    return {
        "=": given == asked,
        ">=": given >= asked,
        "<=": given <= asked,
        ">": given > asked,
        "<": given < asked,
    }[sign]
