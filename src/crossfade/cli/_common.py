"""What the verbs share: options, progress for people, opening the site, questions."""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossfade.errors import NeedsYou

if TYPE_CHECKING:
    from crossfade.ports import Progress
    from crossfade.wiring import WiredSite

__all__ = ["Console", "confirm", "copies", "open_site", "rate", "seconds", "verb"]

Verbs = Any  # argparse's subparsers action has no public name


def verb(
    verbs: Verbs, name: str, help: str, *, changes: bool = False, site: bool = True
) -> argparse.ArgumentParser:
    """A verb's parser with the options that all (or all that change things) have."""
    parser: argparse.ArgumentParser = verbs.add_parser(name, help=help, description=help)
    if site:
        parser.add_argument(
            "-f",
            "--file",
            type=Path,
            default=Path("crossfade.yaml"),
            metavar="FILE",
            help="the manifest (default: crossfade.yaml)",
        )
    parser.add_argument("--json", action="store_true", help="print JSON for machines")
    parser.add_argument("--no-input", action="store_true", help="never ask; fail instead")
    if changes:
        parser.add_argument("--dry-run", action="store_true", help="say what would be done")
        parser.add_argument("-y", "--yes", action="store_true", help="do not ask for confirmation")
    return parser


def seconds(text: str) -> float:
    """A duration such as ``10s``, ``2m`` or ``1.5`` (seconds)."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h)?", text)
    if not match or float(match[1]) <= 0:
        raise argparse.ArgumentTypeError(f"not a duration: {text!r} (try 10s)")
    return float(match[1]) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[match[2] or "s"]


def rate(text: str) -> float:
    """A rate such as ``20M`` (a second) in bytes a second."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kKMG])B?(?:/s)?", text)
    if not match or float(match[1]) <= 0:
        raise argparse.ArgumentTypeError(f"not a rate: {text!r} (try 20M)")
    return float(match[1]) * {"k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9}[match[2]]


def copies(parser: argparse.ArgumentParser) -> None:
    """The options of verbs that copy databases."""
    parser.add_argument(
        "--copy-rate",
        type=rate,
        metavar="RATE",
        help="bytes a second for databases on servers, and for trees and SQLite files between "
        "machines (20M); without it the old server's latency decides, or the link",
    )


def open_site(
    options: argparse.Namespace, *, max_pause: float | None = None, copy_rate: float | None = None
) -> WiredSite:
    """The site that the options name, with progress on stderr."""
    from crossfade.wiring import open_site as open_wired

    return open_wired(options.file, teller=Console(), max_pause=max_pause, copy_rate=copy_rate)


def confirm(options: argparse.Namespace, question: str, typed: str = "", *, more: str = "") -> None:
    """Ask; with ``typed`` that very word must be typed.  ``more`` are words after the verb.

    Raises NeedsYou when the answer is no."""
    if options.yes:
        return
    if options.no_input or not sys.stdin.isatty():
        raise NeedsYou(
            "not-confirmed",
            f"{question}  Nobody is there to ask.",
            next=f"crossfade {options.verb} {more}--yes",
        )
    print(f"{question}  Type {typed or 'yes'} to go on: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip() != (typed or "yes"):
        raise NeedsYou("not-confirmed", "You said no.", next="crossfade status")


class Console:
    """Progress on stderr: a line for each thing done, a bar for long work on a terminal."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def say(self, text: str) -> None:
        """One line, with the time since we started."""
        print(f"{time.monotonic() - self._began:7.1f}s  {text}", file=sys.stderr, flush=True)

    def _lines(self, what: str) -> Progress:
        said = time.monotonic()

        def tell(done: int, total: int | None) -> None:
            nonlocal said
            if time.monotonic() - said >= 5:
                said = time.monotonic()
                self.say(f"… {what}: {done / total:.0%}" if total else f"… {what}: {done}")

        return tell

    @contextmanager
    def bar(self, what: str) -> Iterator[Progress]:
        """A bar on a terminal; elsewhere a line now, and one whenever five seconds have passed."""
        if not sys.stderr.isatty():
            self.say(f"… {what}")
            yield self._lines(what)
            return
        from rich.console import Console as Terminal
        from rich.progress import Progress as Bars

        with Bars(console=Terminal(stderr=True), transient=True) as bars:
            task = bars.add_task(what, total=None)
            yield lambda done, total: bars.update(task, completed=done, total=total)
