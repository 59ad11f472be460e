"""What a process of ours is, and how it is begun and signalled."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from crossfade.drivers import procfs
from crossfade.errors import Failed
from crossfade.manifest import resolve

__all__ = ["MARK", "ProcessSpec", "signal_all", "spawn"]

MARK = "CROSSFADE_SERVICE"
"""In the environment of every process that we start, and so of all its children."""
_PASSED_ON = ("PATH", "HOME", "LANG", "LANGUAGE", "TZ", "USER", "LOGNAME", "SHELL", "TMPDIR")


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """What to run and where: command (argv), working directory, log file, and the mark.

    environment is added to a small part of ours; its values may be secret references (env:, file:,
    relative to ``base``), which are resolved only when the program is started.  preload names
    Python modules whose import needs no data; it makes a held start possible for commands of the
    form ``python -m module …``.
    address and pid_file help to find a process that we did not start; with ``strict`` one that
    listens there counts only when it runs our very command.
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

    @classmethod
    def load(cls, path: Path) -> ProcessSpec:
        """Read a description that ``ProcessService`` kept."""
        data = json.loads(path.read_text(encoding="utf-8"))
        data["command"], data["preload"] = tuple(data["command"]), tuple(data["preload"])
        return cls(**data)


def spawn(
    spec: ProcessSpec, argv: tuple[str, ...], *, stdin: int, pass_fds: tuple[int, ...] = ()
) -> subprocess.Popen[bytes]:
    """Begin a command in a session of its own, with its output appended to the log.

    Raises Failed when it cannot be run."""
    log = Path(spec.log)
    log.parent.mkdir(parents=True, exist_ok=True)
    mine = {k: v for k, v in os.environ.items() if k in _PASSED_ON or k.startswith("LC_")}
    given = {name: resolve(value, Path(spec.base)) for name, value in spec.environment.items()}
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        return subprocess.Popen(
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
