"""``crossfade backups``: the old sides' backups that cutovers kept, and fetching one of them."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

from crossfade.cli._common import Verbs, open_site, verb
from crossfade.errors import UsageError

if TYPE_CHECKING:
    from crossfade.ports import KeptBackup
    from crossfade.wiring import WiredSite

__all__ = ["add", "run"]


def add(verbs: Verbs) -> None:
    """Describe the arguments."""
    parser = verb(
        verbs, "backups", "the backups of old sides that cutovers kept; --fetch copies one"
    )
    parser.add_argument(
        "--fetch", metavar="NAME", help="copy this backup, or the newest, and compare the copy"
    )
    parser.add_argument("--to", type=Path, metavar="DIRECTORY", help="where --fetch copies it to")


def run(options: argparse.Namespace) -> int:
    """List them, newest first; or fetch one.  5 when what was fetched is not what was kept."""
    site = open_site(options)
    if (options.fetch is None) != (options.to is None):
        what = "--fetch and --to belong together."
        next = "crossfade backups --fetch newest --to DIRECTORY"
        raise UsageError("options-apart", what, where="backups", next=next)
    if options.fetch is not None:
        return _fetch(site, options)
    kept = site.backups.listed()
    on = site.backups.machine
    if options.json:
        shown = [{"path": str(backup.path), "machine": on, **backup.about} for backup in kept]
        print(json.dumps(shown, ensure_ascii=False, indent=2))
    else:
        where = _at(site.backups.place, on)
        print("\n".join(_show(one, on) for one in kept) or f"no backup is kept in {where}")
    return 0


def _fetch(site: WiredSite, options: argparse.Namespace) -> int:
    to = Path(options.to).absolute()
    backup, findings = site.fetch_backup(options.fetch, to)
    databases = backup.about["databases"]
    restore = {name: list(said["restore"]) for name, said in databases.items()}
    if options.json:
        found = [finding.as_json() for finding in findings]
        print(json.dumps({"path": str(to), "findings": found, "restore": restore}, indent=2))
    else:
        lines = [str(to)]
        lines += [
            f"{'ok ' if f.holds else 'BAD'}  {f.claim}: {f.observed} differs" for f in findings
        ]
        for name, commands in restore.items():
            lines += [f"restore database {name}, in that directory:", *(f"  {c}" for c in commands)]
        print("\n".join(lines))
    return 0 if all(finding.holds for finding in findings) else 5


def _at(place: Path, machine: str) -> str:
    return f"{place} on {machine}" if machine else str(place)


def _show(backup: KeptBackup, machine: str) -> str:
    about = backup.about
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(backup.made))
    what = [f"database {name}" for name in about["databases"]]
    what += [f"tree {name}" for name in about["trees"]]
    what.append("configuration")
    size = f"{about['bytes'] / 1e6:.1f} MB"
    proven = f"restored and compared ({len(about['verified'])} findings)"
    return (
        f"{when}  {backup.upgrade} {backup.attempt}  {size}  {proven}: {', '.join(what)}\n"
        f"  {_at(backup.path, machine)}"
    )
