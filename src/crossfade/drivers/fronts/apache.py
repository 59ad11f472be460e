"""Apache httpd as a front: its upstreams, its checker and its graceful restart.

A directive is a line; a backslash at its end goes on in the next one, and ``#`` begins a comment
only at the beginning.  Which files belong to it, the server says itself (``-D DUMP_INCLUDES``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from crossfade.drivers.fronts._places import Place, named_in
from crossfade.drivers.fronts._server import ConfiguredFront
from crossfade.errors import Failed

__all__ = ["ApacheFront"]

_LINE = re.compile(r"(?:[^\\\n]|\\.|\\\n)*", re.DOTALL)
_WORD = re.compile(
    r'"((?:[^"\\]|\\.)*)"|\'((?:[^\'\\]|\\.)*)\'|((?:[^\s\\]|\\(?!\n).)+)', re.DOTALL
)
_INCLUDED = re.compile(r"^\s+\((?:\*|\d+)\) (.+)$", re.MULTILINE)
_ANY = ("proxypass", "proxypassmatch", "proxypassreverse", "balancermember", "use", "<proxy")


class ApacheFront(ConfiguredFront):
    """Apache httpd with its main configuration file."""

    programs = ("apache2", "httpd")
    title = "Apache httpd"
    reload_loses = (
        "at each of its reloads, logrotate's too, Apache httpd breaks off kept connections, and a "
        "request that comes on one at that moment fails"
    )

    def usual_check(self) -> tuple[str, ...]:
        """Its own checker; ``apachectl`` knows the variables of the distribution."""
        return ("apachectl", "-f", str(self.file), "-t")

    def usual_reload(self) -> tuple[str, ...]:
        """A graceful restart: children end when their requests have."""
        return ("apachectl", "-f", str(self.file), "-k", "graceful")

    def files(self) -> list[Path]:
        """The main file and all that it includes, by the server's own word."""
        said = self.run((*self.check, "-D", "DUMP_INCLUDES"))
        found = [Path(one) for one in _INCLUDED.findall(said.out.decode("utf-8", "replace"))]
        if self.file not in found:
            raise Failed(
                "front-config-invalid",
                f"The check of {self.name} does not tell which files belong to it.",
                where=f"{' '.join(said.argv)}: no {self.file} among its words",
            )
        return list(dict.fromkeys(found))

    def places(self, text: str) -> Iterator[Place]:
        """Every upstream in a file.  Those of one section or balancer are one group."""
        group = 0
        for name, words in directives(text):
            group += name.startswith("<")
            if name == "define":
                words = words[1:]
            elif name == "rewriterule":
                words = words[1:2] if len(words) > 2 and _proxies(words[2][0]) else []
            elif name not in _ANY:
                continue
            for word, start in words:
                member = group if name == "balancermember" else -1
                if place := named_in(word, start, name.strip("<"), group=member):
                    yield place


def directives(text: str) -> Iterator[tuple[str, list[tuple[str, int]]]]:
    """Every directive: its name in lower case, and its words with where they stand."""
    at = 0
    while at < len(text):
        line = _LINE.match(text, at)
        end = line.end() if line else at
        words = [
            (one[one.lastindex], one.start(one.lastindex))
            for one in _WORD.finditer(text, at, end)
            if one.lastindex
        ]
        if words and not words[0][0].startswith("#"):
            name, rest = words[0][0].lower(), words[1:]
            if name.startswith("<") and rest:
                rest[-1] = (rest[-1][0].rstrip(">"), rest[-1][1])
            yield name, rest
        at = end + 1


def _proxies(flags: str) -> bool:
    given = {flag.strip().lower() for flag in flags.strip("[]").split(",")}
    return bool(given & {"p", "proxy"})
