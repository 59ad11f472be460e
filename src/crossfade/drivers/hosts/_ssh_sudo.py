"""Why sudo did not let us be another account."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from typing import Final

from crossfade.errors import Failed

__all__ = ["PROBE", "explained"]

PROBE: Final = 'id -un; exec sudo -n -H -u "$account" -- sh -c :'
"""Prints who we are, and lets sudo say in English what it has against us."""

_PASSWORD: Final = re.compile(r"password is required|terminal is required|no askpass")


def explained(word: str, login: str, said: str, account: str, ask: Sequence[str]) -> Failed:
    """The error for the answer to ``PROBE``.

    word stands in place of its status, login is who we are, said are sudo's last words, and ask
    is the command that opens a session with a terminal there."""
    where = f"sudo -n -u {account}\n{said}".strip()
    if word == "127":
        what = "There is no sudo on that machine. Install it, or log in as the account itself."
        return Failed("sudo-missing", what, where=where)
    edit = shlex.join((*ask, "sudo", "visudo", "-f", "/etc/sudoers.d/crossfade"))
    if _PASSWORD.search(said):
        what = (
            f"sudo wants a password before {login} may act as {account}. It needs none with this "
            f"line among its rules: {login} ALL=({account}) NOPASSWD: ALL"
        )
        return Failed("sudo-needs-password", what, where=where, next=edit)
    what = f"sudo does not let {login} act as {account}."
    return Failed("sudo-refused", what, where=where, next=edit)
