"""How ssh gets to know the host keys that a provisioner told: a configuration of our own."""

from __future__ import annotations

import os
from pathlib import Path

from crossfade.ports import MadeMachine

__all__ = ["forget", "ssh_config"]


def ssh_config(machine: MadeMachine, place: Path, given: Path | None) -> Path | None:
    """An ssh configuration below ``place`` that knows the machine's keys, and for all else says
    what the given or the operator's own one says; the given one when no key was told.

    The file is written when it is missing or differs."""
    if not machine.host_keys:
        return given
    known, config = _files(machine, place)
    others = [given] if given else [Path.home() / ".ssh/config", Path("/etc/ssh/ssh_config")]
    lines = (
        f"Host {machine.address}",
        f"  HostKeyAlias {machine.name}",
        f"  UserKnownHostsFile {_quoted(known).replace('%', '%%')}",
        "  GlobalKnownHostsFile /dev/null",
        "Match all",
        *(f"  Include {_quoted(other)}" for other in others),
    )
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    keys = "".join(f"{machine.name} {key}\n" for key in machine.host_keys)
    for path, text in ((known, keys), (config, "\n".join(lines) + "\n")):
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
            partial.write_text(text, encoding="utf-8")
            partial.chmod(0o600)
            partial.replace(path)
    return config


def forget(machine: MadeMachine, place: Path) -> None:
    """Remove both files; fine when they are gone."""
    for path in _files(machine, place):
        path.unlink(missing_ok=True)


def _files(machine: MadeMachine, place: Path) -> tuple[Path, Path]:
    return place / f"{machine.name}.known_hosts", place / f"{machine.name}.ssh"


def _quoted(path: Path) -> str:
    """A path as one word of an ssh configuration."""
    text = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
