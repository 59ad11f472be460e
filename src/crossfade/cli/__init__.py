"""The command line: one file a verb.  Data goes to stdout, progress and errors to stderr.

Each verb module has ``add(verbs)``, which describes its arguments, and ``run(options)``, which
returns an exit code.  Heavy imports happen inside ``run``, so that ``--help`` is quick.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from types import FrameType
from typing import NoReturn

import crossfade
from crossfade.errors import CrossfadeError, Interrupted

__all__ = ["main"]

VERBS = (
    "init",
    "plan",
    "provision",
    "rehearse",
    "cutover",
    "status",
    "backups",
    "rollback",
    "retire",
    "report",
    "doctor",
    "config",
    "gate",
    "dns",
    "schema",
    "demo",
)
_EXIT_CODES = """\
exit codes:
  0 done             1 a bug of ours           2 usage or manifest      3 needs you
  4 refused, nothing changed                   5 failed, went back, the old side serves
  6 recovery failed, a person is needed        7 lease held by another  130 interrupted, resumable
"""


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line.  Returns the exit code; prints errors as four sentences."""
    options = _parser().parse_args(words)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        code: int = import_module(f"crossfade.cli.{options.verb}").run(options)
        sys.stdout.flush()  # here, where a reader that went away is no error
    except KeyboardInterrupt:
        return _fail(Interrupted("interrupted", "Stopped by you."), options)
    except CrossfadeError as error:
        return _fail(error, options)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="crossfade",
        description="Upgrade a self-hosted application in parallel: the new version beside the old "
        "one, rehearsed on a copy, switched in one short pause, with a way back.",
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"crossfade {crossfade.__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb in VERBS:
        import_module(f"crossfade.cli.{verb}").add(verbs)
    return parser


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _fail(error: CrossfadeError, options: argparse.Namespace) -> int:
    if not error.now and error.exit_code in (2, 3, 4):  # refused before any step
        error.now = "Nothing was changed."
    if getattr(options, "json", False):
        print(json.dumps({"error": error.as_json()}, ensure_ascii=False, indent=2))
    red, plain = ("\x1b[31m", "\x1b[0m") if sys.stderr.isatty() else ("", "")
    lines = [f"{red}error: {error.code}{plain}", f"  × {error.what}"]
    lines += [f"  │ {line}" for line in error.where.splitlines()]
    if error.now:
        lines.append(f"  now:  {error.now}")
    if error.next:
        lines.append(f"  next: {error.next}")
    print("\n".join(lines), file=sys.stderr)
    return error.exit_code
