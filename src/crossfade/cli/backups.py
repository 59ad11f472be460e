"""``crossfade backups``: the old sides' backups that cutovers kept."""

from __future__ import annotations

import argparse
import json
import time
from typing import TYPE_CHECKING

from crossfade.cli._common import Verbs, open_site, verb

if TYPE_CHECKING:
    from crossfade.ports import KeptBackup

__all__ = ["add", "run"]


def add(verbs: Verbs) -> None:
    """Describe the arguments."""
    verb(verbs, "backups", "the backups of old sides that cutovers kept")


def run(options: argparse.Namespace) -> int:
    """List them, newest first."""
    backups = open_site(options).backups
    kept = backups.listed()
    if options.json:
        shown = [{"path": str(backup.path), **backup.about} for backup in kept]
        print(json.dumps(shown, ensure_ascii=False, indent=2))
    else:
        print("\n".join(map(_show, kept)) or f"no backup is kept in {backups.place}")
    return 0


def _show(backup: KeptBackup) -> str:
    about = backup.about
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(backup.made))
    what = [f"database {name}" for name in about["databases"]]
    what += [f"tree {name}" for name in about["trees"]]
    what.append("configuration")
    size = f"{about['bytes'] / 1e6:.1f} MB"
    proven = f"restored and compared ({len(about['verified'])} findings)"
    return (
        f"{when}  {backup.upgrade} {backup.attempt}  {size}  {proven}: {', '.join(what)}\n"
        f"  {backup.path}"
    )
