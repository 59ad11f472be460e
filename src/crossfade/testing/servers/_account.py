"""Whom a scratch server runs as: an unprivileged account when we are root, otherwise ourselves."""

from __future__ import annotations

import os
import pwd
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from crossfade.errors import Failed

__all__ = ["Account", "choose_account", "give"]

_NAMES = {"postgres": ("postgres", "nobody"), "mysql": ("mysql", "nobody")}
"""For each kind of server the account that Debian's package makes, and one that always exists."""


class _ForPopen(TypedDict, total=False):
    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True, slots=True)
class Account:
    """An account by name and numbers.  With ``switch`` it is another one than ours."""

    name: str
    uid: int
    gid: int
    switch: bool

    def for_popen(self) -> _ForPopen:
        """The arguments for ``subprocess`` that make a process run as this account."""
        if not self.switch:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def reaches(self, directory: Path) -> bool:
        """Whether this account can go into an existing directory, found by trying."""
        if not self.switch:
            return os.access(directory, os.X_OK)
        command = ("test", "-x", f"{directory}/.")
        return subprocess.run(command, check=False, **self.for_popen()).returncode == 0


def choose_account(kind: str) -> Account:
    """The account for a kind of server (postgres, mysql) on this machine."""
    uid = os.geteuid()
    if uid != 0:
        return Account(f"uid {uid}", uid, os.getegid(), switch=False)
    for name in _NAMES[kind]:
        with suppress(KeyError):
            entry = pwd.getpwnam(name)
            return Account(name, entry.pw_uid, entry.pw_gid, switch=True)
    raise Failed(
        "server-does-not-start",
        f"There is no account for a {kind} server, which does not run as root.",
        where="/etc/passwd: " + ", ".join(_NAMES[kind]),
    )


def give(path: Path, account: Account) -> None:
    """Make the account the owner of one file or directory."""
    if account.switch:
        os.chown(path, account.uid, account.gid)
