"""Jobs of one machine are switched on or off, looked at, or removed: one command for each act.

The command is a fixed script.  Each job is three or four words of it; the lines of cron's tables,
which may hold secrets, come by its standard input.  Every act looks first and may be done again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from crossfade.errors import Failed
from crossfade.jobs._carry import Job
from crossfade.ports import Host

__all__ = ["act", "order"]

_SCRIPT: Final = r"""
LC_ALL=C; export LC_ALL
verb=$1 mark=$2 wait=$3; shift 3
before="#crossfade $mark: "
wanted=; [ "$verb" != off ] || wanted=$(cat)
put() { # the new text of a file from standard input; mode and owner stay
    new="${1%/*}/.crossfade-new~"
    cp -p -- "$1" "$new" && cat >"$new" && mv -f -- "$new" "$1"
}
marked() { awk -v b="$before" 'index($0, b) == 1 { n++ } END { exit !n }' "$1"; }
timer() {
    case $verb in
    on) systemctl enable --quiet -- "$1"
        [ "$3" != active ] || systemctl start -- "$1" ;;
    off|remove) systemctl disable --quiet -- "$1" 2>/dev/null
        systemctl stop -- "$1" 2>/dev/null ;;
    esac
    is=$(systemctl is-enabled -- "$1" 2>/dev/null) act=$(systemctl is-active -- "$1")
    case $is.$act in
    enabled.active) echo on ;;
    enabled.*) [ "$3" = active ] && echo half || echo on ;;
    *.active) echo half ;;
    *) echo off ;;
    esac
}
lines() {
    [ -f "$1" ] || { echo off; return; }
    case $verb in
    off) text=$(printf '%s\n' "$wanted" | F=$1 B=$before awk '
            NR == FNR { n = index($0, "\t")
                if (substr($0, 1, n - 1) == ENVIRON["F"]) mine[substr($0, n + 1)] = 1
                next }
            $0 in mine { $0 = ENVIRON["B"] $0 }
            { print }' - "$1") && printf '%s\n' "$text" | cmp -s - "$1" ||
            printf '%s\n' "$text" | put "$1" ;;
    on) ! marked "$1" || B=$before awk '
            index($0, ENVIRON["B"]) == 1 { $0 = substr($0, length(ENVIRON["B"]) + 1) }
            { print }' "$1" | put "$1" ;;
    remove) ! marked "$1" || B=$before awk 'index($0, ENVIRON["B"]) != 1' "$1" | put "$1"
        case $1 in /etc/cron.d/*)
            grep -Evq '^[[:space:]]*(#|$|[A-Za-z_]+[[:space:]]*=)' "$1" || rm -f -- "$1" ;;
        esac; echo off; return ;;
    esac
    ! marked "$1" && echo on || echo off
}
file() {
    case $verb in
    on) [ ! -e "$2" ] || mv -f -- "$2" "$1" ;;
    off) [ ! -e "$1" ] || mv -f -- "$1" "$2" ;;
    remove) rm -f -- "$1" "$2" ;;
    esac
    [ -e "$1" ] && echo on || echo off
}
over() { # wait for a unit to end, then end it
    until [ "$wait" -le 0 ]; do
        case $(systemctl show -p ActiveState -p SubState --value -- "$1" | tr '\n' ' ') in
        inactive*|failed*|'active exited '*) break ;;
        esac
        sleep 0.1; wait=$((wait - 1))
    done
    systemctl stop -- "$1" 2>/dev/null
    case $(systemctl is-active -- "$1") in inactive|failed|unknown) ;; *) echo runs ;; esac
}
services=
while [ $# -ge 4 ]; do
    case $1 in
    timer) timer "$2" "$3" "$4"; [ -z "$3" ] || services="$services $3" ;;
    lines) lines "$2" ;;
    file) file "$2" "$3" ;;
    esac
    shift 4
done
case $verb in off|remove) for one in $services; do over "$one"; done ;; esac
:
"""


def order(verb: str, mark: str, jobs: Sequence[Job], wait: float = 0) -> tuple[str, ...]:
    """The command: on, off, look or remove.  wait is for what a timer has started, in seconds."""
    words = ["sh", "-c", _SCRIPT, "sh", verb, mark, str(int(wait * 10))]
    for job in jobs:
        middle = job.service if job.kind == "timer" else job.aside
        words += [job.kind, job.name, middle, "active" if job.active else "inactive"]
    return tuple(words)


def act(host: Host, verb: str, mark: str, jobs: Sequence[Job], wait: float = 0) -> list[str]:
    """Do it.  How each job stands then: on, off or half; and "runs" for each unit that a timer
    started and that did not end."""
    lines = "".join(f"{job.name}\t{line}\n" for job in jobs for line in job.lines)
    argv = order(verb, mark, jobs, wait)
    given = lines.encode("utf-8", "surrogateescape")
    for left in (2, 1, 0):
        try:
            return host.run(argv, stdin=given, timeout=120 + wait).out.decode().split()
        except Failed as failed:  # each act may be done again
            if failed.code != "host-lost" or not left:
                raise
    return []  # not reached
