"""What is said to the shell in a container.  Pure functions: each gives the one line of orders for
a token.  It tells the process, then ``go`` or why nothing was begun."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from crossfade.drivers.hosts._ssh_shell import _added, _value, far_path

__all__ = ["command_order", "tools_order"]


def command_order(
    argv: Sequence[str], *, timeout: float, env: Mapping[str, str], cwd: Path | None
) -> Callable[[str], str]:
    """The orders to run a command, whose process group is killed after ``timeout`` seconds.

    It gives up with the word ``directory`` or ``timeout`` when there is no such directory, or no
    program to keep the time."""

    def order(token: str) -> str:
        parts = [f"echo '{token} pid '$$ >&2"]
        if cwd is not None:
            give_up = f"{{ echo '{token} directory' >&2; exit 1; }}"
            parts.append(f'{_value("_cf_d", far_path(cwd))}; cd "$_cf_d" 2>/dev/null || {give_up}')
        give_up = f"{{ echo '{token} timeout' >&2; exit 1; }}"
        parts.append(f"_cf_t=$(command -v timeout) || {give_up}")
        parts += [
            f'{_value("_cf_w", value)}; export {name}="$_cf_w"' for name, value in env.items()
        ]
        parts += ["set --", *(_added(word) for word in argv)]
        parts.append(f"echo '{token} go' >&2")
        parts.append(f'exec "$_cf_t" -s KILL {max(timeout, 0.001):.3f} "$@"')
        return "; ".join(parts) + "\n"

    return order


def tools_order(text: str, values: Mapping[str, str]) -> Callable[[str], str]:
    """The orders to work on files with the usual tools: shell text of ours, in which the values
    stand as variables."""

    def order(token: str) -> str:
        given = [_value(name, value) for name, value in values.items()]
        said = f"echo '{token} pid '$$ >&2; echo '{token} go' >&2"
        parts = (said, "LC_ALL=C; export LC_ALL; umask 077")
        return "; ".join((*parts, f"token={token}", "earlier=", *given, text)) + "\n"

    return order
