"""What is said to the far shell.  Pure functions: text in, one line of ASCII out.

Only ``bootstrap`` stands among the arguments of ssh and of the far shell.  Everything else (words,
environment, paths) follows on standard input as one line, which the far shell reads byte by byte
and evaluates, so that what comes after the line is the command's own input.  A word that is not
plain ASCII is written as octal numbers, and no byte of it is ever looked at by a shell's parser.

The far shell says on both streams that it is there.  What comes then is the command's, until a line
with a token that nobody else knows: ``TOKEN end STATUS``.  Where sudo comes in between, which may
talk as well, the command's part begins after a line ``TOKEN begin PID``.  There is no such line
otherwise because each small packet may wait until the one before was acknowledged.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

__all__ = [
    "READY",
    "begun",
    "bootstrap",
    "command_line",
    "elevated",
    "ending",
    "far_path",
    "passable",
    "tools_line",
]

READY: Final = b"crossfade-ready "
"""What the far shell says first, followed by its process id."""

_PLAIN: Final = re.compile(rb"[ -~]*")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_READ: Final = 'IFS= read -r _cf && eval "$_cf"'
_SPEAK: Final = "printf '{0} %s\\n' \"$1\" >&3; printf '{0} %s\\n' \"$1\" >&4"
_NOTHING: Final = {"reading": " </dev/null", "feeding": " >/dev/null"}
_SPEAK_BESIDE: Final = "printf '{0} %s\\n' \"$1\" >&4"


def bootstrap(mark: str) -> str:
    """The one command that ssh is given: a shell that reads its orders.  ``mark`` (letters and
    digits) tells it from others in lists of processes.  Every login shell understands it."""
    ready = f"echo {READY.decode()}$$"
    return f"exec sh -c '{ready}; {ready} >&2; {_READ}' crossfade-{mark}"


def elevated(account: str, mark: str) -> str:
    """The order to go on as another account, by sudo and without a password; the orders that
    follow have to come after ``begun``."""
    user, shell = _value("_cf_u", account), f"sh -c '{_READ}' crossfade-{mark}"
    return f'{user}; exec sudo -n -H -u "$_cf_u" -- {shell}\n'


def begun(token: str) -> str:
    """Shell text that says where the command's part begins, and in which session."""
    say = f"printf '{token} begin %s\\n' \"$4\""
    return f"read -r _cf_l </proc/self/stat; set -- ${{_cf_l##*) }}; {say}; {say} >&2; "


def command_line(
    token: str,
    argv: Sequence[str],
    *,
    timeout: float | None,
    env: Mapping[str, str],
    cwd: Path | None,
    streams: str = "",
) -> str:
    """The order to run a command, and to kill its process group after ``timeout`` seconds, if any.

    ``streams`` (``reading`` or ``feeding``) says that its output or its input is a stream of bytes
    with no line of ours in it; those stand among the errors then, and the other one is nothing.
    In place of the status stands ``directory`` or ``timeout`` when there is no such directory, or
    no program to keep the time.  The variables are those of ``passable`` names."""
    speak = (_SPEAK_BESIDE if streams else _SPEAK).format(token)
    first = "exec 4>&2 2>/dev/null" if streams else "exec 3>&1 4>&2 2>/dev/null"
    lines = [first, f"_cf_m() {{ {speak}; }}"]
    if cwd is not None:
        there = _value("_cf_d", far_path(cwd))
        lines.append(f"{there}; cd \"$_cf_d\" || {{ _cf_m 'end directory'; exit; }}")
    lines.append("_cf_t=$(command -v timeout) || { _cf_m 'end timeout'; exit; }")
    inner = [f'{_value("_cf_w", value)}; export {name}="$_cf_w"' for name, value in env.items()]
    inner.append("set --")
    inner += [_added(word) for word in argv]
    inner.append(f"exec 2>&4 3>&- 4>&-{_NOTHING.get(streams, '')}")
    limit = "0" if timeout is None else f"{max(timeout, 0.001):.3f}"  # 0: for ever
    inner.append(f'exec "$_cf_t" -s KILL {limit} "$@"')
    lines += [f"( {'; '.join(inner)} )", '_cf_m "end $?"']
    return "; ".join(lines) + "\n"


def tools_line(token: str, orders: Sequence[str], values: Mapping[str, str]) -> str:
    """The order to work on files with the usual tools: shell text of ours, in which the values
    stand as variables.  The tools speak English, and what they make is private."""
    speak = f"exec 3>&1 4>&2; _cf_m() {{ {_SPEAK.format(token)}; }}"
    given = [_value(name, value) for name, value in values.items()]
    inner = "; ".join(("LC_ALL=C; export LC_ALL; umask 077", *given, *orders))
    return f'{speak}; ( {inner} ) 3>&- 4>&-; _cf_m "end $?"\n'


def ending(pid: int, mark: str, session: int = 0) -> str:
    """Shell text that kills an earlier shell of ours, if it is still that one, with all of its
    session and of that which sudo gave it.  By groups: nobody forks while his group is killed."""
    sessions = "|".join(str(one) for one in (pid, session) if one > 1)
    return (
        f"if grep -q crossfade-{mark} /proc/{pid}/cmdline 2>/dev/null; then "
        'for _cf_f in /proc/[0-9]*/stat; do read -r _cf_l <"$_cf_f" || continue; '
        f'set -- ${{_cf_l##*) }}; case $4 in {sessions}) kill -KILL "-$3";; esac; '
        "done 2>/dev/null; fi"
    )


def passable(name: str) -> bool:
    """Whether a shell can pass on a variable of this name."""
    return _NAME.fullmatch(name) is not None


def far_path(path: Path) -> str:
    """A path that no program takes for an option, and ``cd`` for nothing special."""
    text = str(path)
    return text if text.startswith("/") else f"./{text}"


def _value(name: str, value: str) -> str:
    """Shell text that gives a variable exactly this value.  Raises ValueError for a NUL."""
    raw = os.fsencode(value)
    if b"\0" in raw:
        raise ValueError("embedded null byte")
    if _PLAIN.fullmatch(raw):
        return f"{name}={_quoted(raw)}"
    # the x keeps newlines at the end, which a shell would cut off
    octal = "".join(f"\\0{byte:03o}" for byte in raw)
    return f"{name}=$(printf '%bx' '{octal}'); {name}=${{{name}%x}}"


def _added(word: str) -> str:
    return f'{_value("_cf_w", word)}; set -- "$@" "$_cf_w"'


def _quoted(raw: bytes) -> str:
    return "'" + raw.decode("ascii").replace("'", "'\\''") + "'"
