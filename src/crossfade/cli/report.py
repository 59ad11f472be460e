"""``crossfade report``: the whole story, for the terminal, as JSON and as HTML."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from crossfade.cli._common import Verbs, open_site, verb

if TYPE_CHECKING:
    from crossfade.wiring import WiredSite

__all__ = ["add", "after", "run"]


def add(verbs: Verbs) -> None:
    """Describe the arguments."""
    verb(verbs, "report", "write report.html and report.json, and print a summary")


def run(options: argparse.Namespace) -> int:
    """Write both files; print the summary, or with --json the data."""
    site = open_site(options)
    _print(site, options)
    return 0


@contextmanager
def after(site: WiredSite, options: argparse.Namespace) -> Iterator[None]:
    """Write the report when the block ends, also by an error; print the summary if not."""
    from crossfade.account import write_report
    from crossfade.engine import history

    before = len(list(history.runs(site.journal)))
    try:
        yield
    except BaseException:
        try:
            if len(list(history.runs(site.journal))) > before:
                _, path = write_report(site)
                print(f"report: {path}", file=sys.stderr)
        except Exception as error:  # noqa: BLE001 - the first trouble is what matters
            print(f"the report could not be written: {error}", file=sys.stderr)
        raise
    _print(site, options)


def _print(site: WiredSite, options: argparse.Namespace) -> None:
    from crossfade.account import write_report
    from crossfade.report import as_json, as_text

    data, path = write_report(site)
    if options.json:
        print(as_json(data), end="")
        return
    width, colour = shutil.get_terminal_size().columns, sys.stdout.isatty()
    print(as_text(data, width=width, colour=colour), end="")
    print(f"report: {path}")
