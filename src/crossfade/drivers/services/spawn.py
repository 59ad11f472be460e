"""What a process of ours is, and how it is begun and signalled."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from crossfade.drivers import procfs
from crossfade.errors import Failed
from crossfade.manifest import resolve

__all__ = ["MARK", "PASSED_ON", "ProcessSpec", "signal_all", "spawn"]

MARK = "CROSSFADE_SERVICE"
"""In the environment of every process that we start, and so of all its children."""
PASSED_ON = ("PATH", "HOME", "LANG", "LANGUAGE", "TZ", "USER", "LOGNAME", "SHELL", "TMPDIR")


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """What to run and where: command (argv), working directory, log file, and the mark.

    environment is added to a small part of ours; its values may be secret references (env:, file:,
    relative to ``base``), which are resolved only when the program is started.  Arguments never
    hold secrets.
    address and pid_file help to find a process that we did not start; with ``strict`` one that
    listens there counts only when it runs our very command.
    migrate is a command that must end with 0 before the program starts, within ``migrate_at_most``
    seconds; leave it out for a side that serves already.

    hold_by says how the start is prepared before the pause: ``holder``, ``preload``, ``off``, or
    empty for what the rest of the spec allows.
    preload names Python modules whose import needs no data, for commands ``python -m module …``.
    doors maps a name to (listen, target), both host:port: the program is started before the pause
    with held_command (empty: the same command) and held_environment (on top of environment), in
    which a door's address stands for its target's; it waits there until ``start``.  sends_on names
    the doors that stand before their target in a list of hosts (module ``sending_on``).
    migrate_doors names the doors that are the migration's; they are opened first, and the others
    only after it has ended.  held_migrate and held_migrate_environment are its variants.
    ready_within is how many seconds the program has to reach its doors, hold_at_most how many its
    first connection waits there.  A program that cannot wait is started plainly by ``start``.
    """

    mark: str
    command: tuple[str, ...]
    directory: str
    log: str
    environment: Mapping[str, str]
    preload: tuple[str, ...] = ()
    address: str = ""
    pid_file: str = ""
    strict: bool = False
    base: str = ""
    migrate: tuple[str, ...] = ()
    migrate_at_most: float = 3600.0
    hold_by: str = ""
    doors: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    sends_on: tuple[str, ...] = ()
    migrate_doors: tuple[str, ...] = ()
    held_command: tuple[str, ...] = ()
    held_environment: Mapping[str, str] = field(default_factory=dict)
    held_migrate: tuple[str, ...] = ()
    held_migrate_environment: Mapping[str, str] = field(default_factory=dict)
    ready_within: float = 120.0
    hold_at_most: float = 300.0

    def held_by(self, *, running: bool) -> str:
        """``holder``, ``preload`` or ``off``.  No holder for a program that runs: a second one
        beside it would be in its way."""
        python = len(self.command) > 2 and self.command[1] == "-m"
        able = {"holder": self.doors and not running, "preload": self.preload and python}
        wanted = (self.hold_by,) if self.hold_by else ("holder", "preload")
        return next((way for way in wanted if able.get(way)), "off")

    def plain(self) -> ProcessSpec:
        """The same without doors and migration: for one that starts again what served before."""
        return replace(
            self,
            migrate=(),
            doors={},
            migrate_doors=(),
            held_command=(),
            held_environment={},
            held_migrate=(),
            held_migrate_environment={},
        )

    @classmethod
    def load(cls, path: Path) -> ProcessSpec:
        """Read a description that ``ProcessService`` kept."""
        data = json.loads(path.read_text(encoding="utf-8"))
        lists = {name: tuple(value) for name, value in data.items() if isinstance(value, list)}
        return cls(**{**data, **lists})


def spawn(
    spec: ProcessSpec,
    argv: tuple[str, ...],
    *,
    stdin: int = subprocess.DEVNULL,
    pass_fds: tuple[int, ...] = (),
    extra: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Begin a command in a session of its own, with its output appended to the log.

    extra goes on top of the spec's environment; references in it are resolved as well.

    Raises Failed when it cannot be run."""
    log = Path(spec.log)
    log.parent.mkdir(parents=True, exist_ok=True)
    mine = {k: v for k, v in os.environ.items() if k in PASSED_ON or k.startswith("LC_")}
    asked = {**spec.environment, **(extra or {})}
    given = {name: resolve(value, Path(spec.base)) for name, value in asked.items()}
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        child = subprocess.Popen(
            argv,
            stdin=stdin,
            stdout=descriptor,
            stderr=descriptor,
            cwd=spec.directory,
            env={**mine, **given, MARK: spec.mark},
            start_new_session=True,
            pass_fds=pass_fds,
        )
    except OSError as error:
        raise Failed(
            "service-does-not-start",
            f"The program cannot be run: {error.strerror or error}.",
            where=" ".join(argv),
        ) from error
    finally:
        os.close(descriptor)
    _wait_until_marked(child)
    return child


def _wait_until_marked(child: subprocess.Popen[bytes]) -> None:
    """Popen returns a moment before the kernel shows the new environment, by which we find it."""
    environment = Path(f"/proc/{child.pid}/environ")
    while child.poll() is None:
        with suppress(OSError):
            if environment.read_bytes():
                return
        time.sleep(0.001)


def signal_all(pids: set[int], signum: signal.Signals) -> None:
    """Signal the processes, whole groups where the leader is one of them (never our own)."""
    groups = {pid for pid in pids if procfs.group_of(pid) == pid and pid != os.getpgrp()}
    for group in groups:
        try:
            os.killpg(group, signum)
        except ProcessLookupError:
            continue
    for pid in pids:
        if procfs.group_of(pid) not in groups and procfs.alive(pid):
            try:
                os.kill(pid, signum)
            except ProcessLookupError:
                continue
