"""The schema: dumped once by pg_dump, restored in two parts around the rows.

Before the rows: roles' objects, types, functions, bare tables.  After them: indexes, constraints,
triggers, rules, policies, publications, event triggers and the contents of materialized views.  An
error of pg_restore always fails.  What Crossfade itself made on the old side is left out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile

from crossfade.drivers.databases.postgres.copying import plain_settings
from crossfade.drivers.databases.postgres.programs import (
    access,
    find_programs,
    run_program,
    server_arguments,
)
from crossfade.model import Endpoint

__all__ = ["after_rows", "before_rows", "chosen", "dump_schema", "refresh_views", "restore"]

_LOCK_PATIENCE = 30  # seconds: longer than any usual DDL of the application
_VIEWS = " MATERIALIZED VIEW DATA "


def dump_schema(old: Endpoint, version: int, to: Path, *, snapshot: str | None = None) -> None:
    """Write everything but rows to the file ``to`` (mode 0600).  Changes nothing.

    version is the old server's.  snapshot is an exported one.  Raises Failed.
    """
    programs = find_programs(version)
    to.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = to.with_name(to.name + ".partial")
    partial.unlink(missing_ok=True)
    partial.touch(mode=0o600)
    with access(old, plain_settings(version)) as by:
        run_program(
            (
                programs.path("pg_dump"),
                *server_arguments(old),
                "--format=custom",
                "--compress=1",
                "--section=pre-data",
                "--section=post-data",
                "--no-subscriptions",
                "--no-tablespaces",
                "--no-security-labels",
                f"--lock-wait-timeout={_LOCK_PATIENCE}s",
                *([f"--snapshot={snapshot}"] if snapshot else []),
                f"--file={partial}",
            ),
            by,
            doing="dump the schema",
            where=str(old),
        )
    partial.replace(to)


def before_rows(new: Endpoint, version: int, dump: Path, *, ours: str = "") -> None:
    """Types, functions, bare tables and their grants.

    version is the new server's; ours is the attempt's tag, whose objects are left out."""
    restore(new, version, dump, chosen(dump, "pre-data", ours), jobs=1)


def after_rows(
    new: Endpoint, version: int, dump: Path, *, jobs: int, memory: int, ours: str = ""
) -> None:
    """Indexes, constraints and all else, in ``jobs`` sessions of ``memory`` bytes each."""
    lines = chosen(dump, "post-data", ours)
    restore(new, version, dump, lines, jobs=jobs, memory=memory)


def refresh_views(new: Endpoint, version: int, dump: Path) -> int:
    """Fill the materialized views again, in the order of their dependencies; returns how many."""
    lines = [line for line in chosen(dump, "post-data", "") if _VIEWS in line]
    if lines:
        restore(new, version, dump, lines, jobs=1)
    return len(lines)


def chosen(dump: Path, section: str, ours: str) -> list[str]:
    """The lines of the dump's table of contents that are to be restored.

    section is pre-data, post-data, or empty for all; ours is the attempt's tag."""
    part = (f"--section={section}",) if section else ()
    listed = run_program(
        (find_programs().path("pg_restore"), "--list", *part, str(dump)),
        None,
        doing="read the dump of the schema",
        where=str(dump),
    ).decode("utf-8", "surrogateescape")
    left_out = _left_out(ours)
    return [
        line
        for line in listed.splitlines()
        if line and not line.startswith(";") and not left_out.search(line)
    ]


def _left_out(ours: str) -> re.Pattern[str]:
    """Matches what Crossfade made on the old side: publications, and the fence of a cutover."""
    tags = "|".join(["crossfade_[0-9a-f]{10}", *([re.escape(ours)] if ours else [])])
    return re.compile(
        rf"^\d+; \d+ \d+ (?:(?:COMMENT - )?PUBLICATION(?: TABLES? IN SCHEMA| TABLE)? .+ (?:{tags})"
        rf"|COMMENT - PUBLICATION (?:{tags})"
        r"|SCHEMA - crossfade_fence|FUNCTION crossfade_fence|EVENT TRIGGER - crossfade_fence"
        r"|TRIGGER .+ crossfade_fence)"
    )


def restore(
    new: Endpoint,
    version: int,
    dump: Path,
    lines: Sequence[str],
    *,
    jobs: int,
    memory: int = 64 << 20,
) -> None:
    """Restore the ``lines`` of a dump's table of contents in ``jobs`` sessions.  Raises Failed."""
    settings = plain_settings(version) | {
        "synchronous_commit": "off",
        "maintenance_work_mem": f"{memory >> 10}kB",
        "client_min_messages": "warning",
    }
    with TemporaryFile() as chosen, access(new, settings) as by:
        chosen.write("\n".join([*lines, ""]).encode("utf-8", "surrogateescape"))
        chosen.flush()
        run_program(
            (
                find_programs().path("pg_restore"),
                *server_arguments(new),
                "--exit-on-error",
                "--no-tablespaces",
                "--use-list=/dev/stdin",
                f"--jobs={jobs}",
                str(dump),
            ),
            by,
            doing="restore the schema",
            where=str(new),
            stdin=chosen.fileno(),
        )
