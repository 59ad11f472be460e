"""What ssh says when it does not get to a host, as explained errors.

ssh ends with 255 whatever went wrong, so its English sentences (it has no others) are all there is
to go by.  What they do not explain is ``host-unreachable`` with its last words shown.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from typing import Final

from crossfade.errors import Failed

__all__ = ["PASSING", "explained", "silent"]

PASSING: Final = ("host-unreachable", "host-unknown")
"""What may be over in a moment, if the host was reached before: names need the network as well."""

_TABLE: Final = (
    (
        r"Bad configuration option|Bad owner or permissions|Can't open user config|"
        r"bad configuration options|keyword .* extra arguments|Unsupported option",
        "ssh-config-invalid",
        "ssh does not take its configuration.",
    ),
    (
        r"Could not resolve hostname|hostname contains invalid characters",
        "host-unknown",
        "There is no host {0}: its name leads to no address.",
    ),
    (
        r"Permission denied|Too many authentication failures|[Pp]assword has expired|"
        r"No supported authentication methods",
        "host-login-refused",
        "{0} does not let us in.",
    ),
    (
        r"[Cc]onnection refused",
        "host-unreachable",
        "{0} refuses the connection: nothing listens there.",
    ),
    (
        r"timed out|[Tt]imeout",
        "host-unreachable",
        "{0} does not answer in time.",
    ),
    (
        r"No route to host|Network is unreachable",
        "host-unreachable",
        "There is no way to {0} through the network.",
    ),
    (
        r"Connection closed|Connection reset|kex_exchange_identification",
        "host-unreachable",
        "{0} takes connections and ends them before the login.",
    ),
)
_LAST_LINES: Final = 5


def explained(log: str, host: str, ask: Sequence[str]) -> Failed:
    """The error for what ssh wrote when it could not log in to ``host``.

    ``ask`` is a command with which ssh would ask the operator himself about an unknown key."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    offered = _offered(lines)
    said = [line for line in lines if not line.startswith("debug1: ") and set(line) != {"@"}]
    where = "\n".join((shlex.join(ask), *said[-_LAST_LINES:]))
    text = "\n".join(said)
    if "HOST IDENTIFICATION HAS CHANGED" in text or "host key has just been changed" in text:
        return _changed(text, host, offered, where)
    if re.search(r"REVOKED HOST KEY|key .* was revoked", text):
        what = f"The host key of {host} was revoked. It offers {offered}"
        return Failed("host-key-changed", what, where=where)
    if re.search(r"host key is known for|Host key verification failed", text):
        return _unknown(host, offered, where, ask)
    for pattern, code, what in _TABLE:
        if re.search(pattern, text):
            return Failed(code, what.format(host), where=where, next=_until(ask))
    what = f"ssh does not get to {host}."
    return Failed("host-unreachable", what, where=where, next=_until(ask))


def silent(host: str, seconds: float, ask: Sequence[str]) -> Failed:
    """The error for a login that does not come to an end."""
    what = f"{host} did not answer in time: no login within {seconds:g} seconds."
    return Failed("host-unreachable", what, where=shlex.join(ask), next=_until(ask))


def _until(ask: Sequence[str]) -> str:
    return f"{shlex.join(ask)}   (until that works; then the same command again)"


def _offered(lines: Sequence[str]) -> str:
    """Kind and fingerprint of the key that the host showed."""
    for line in lines:
        if found := re.match(r"debug1: Server host key: (\S+) (\S+)", line):
            return f"{found[1]} {found[2]}."
    return "a key that ssh did not show."


def _unknown(host: str, offered: str, where: str, ask: Sequence[str]) -> Failed:
    what = (
        f"The host key of {host}, or of a host on the way to it, is not known here. "
        f"It offers {offered} Compare that with what its console says, then accept it yourself."
    )
    return Failed("host-key-unknown", what, where=where, next=shlex.join(ask))


def _changed(text: str, host: str, offered: str, where: str) -> Failed:
    what = (
        f"The host key of {host} has changed: somebody may stand in between, or it is another "
        f"machine. It offers {offered} Only if you know why, remove the old key."
    )
    file = re.search(r"^Offending .*key in (.+):\d+$", text, re.MULTILINE)
    name = re.search(r"[Hh]ost key for (\S+) has changed", text)
    command = ""
    if file and name:
        command = shlex.join(("ssh-keygen", "-f", file[1], "-R", name[1]))
    return Failed("host-key-changed", what, where=where, next=command)
