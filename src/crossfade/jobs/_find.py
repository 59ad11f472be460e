"""The jobs that a machine runs at set times for an installation: cron's, and systemd's timers.

A job is found when the file that starts it names one of the directories of the installation, or its
unit; those that we may not read are not.  Reads only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from crossfade.ports import Host
from crossfade.recipes import mentions

__all__ = ["CRON", "TIMER", "Found", "find", "is_comment"]

CRON: Final = "cron job in"
TIMER: Final = "timer"
# One line each: kind, file or timer, what of it, text; with tabs between them.  Where systemd does
# not run (sd_booted(3)) no timer does, and systemctl would look through all files for a second.
_LOOK: Final = r"""
LC_ALL=C; export LC_ALL
for f in /etc/crontab /etc/cron.d/* /etc/cron.hourly/* /etc/cron.daily/* /etc/cron.weekly/* \
    /etc/cron.monthly/* /etc/periodic/*/* /var/spool/cron/crontabs/* /var/spool/cron/*; do
    [ -f "$f" ] && [ -r "$f" ] || continue
    head -c 65536 "$f" | while IFS= read -r line || [ -n "$line" ]; do
        printf 'cron job in\t%s\tline\t%s\n' "$f" "$line"
    done
    if [ -h "$f" ] || [ "$(wc -c <"$f")" -gt 65536 ]; then
        printf 'cron job in\t%s\todd\t\n' "$f"
    fi
done
printf 'account\t\t\t%s\n' "$(id -u)"
[ -d /run/systemd/system ] || exit 0
systemctl list-unit-files --type=timer --state=enabled --no-legend --no-pager 2>/dev/null |
while read -r timer rest; do
    unit=$(systemctl show -p Unit --value -- "$timer" 2>/dev/null)
    printf 'timer\t%s\tunit\t%s\n' "$timer" "$unit"
    printf 'timer\t%s\tactive\t%s\n' "$timer" "$(systemctl is-active -- "$timer")"
    for what in "$timer" "$unit"; do
        systemctl show -p FragmentPath -p DropInPaths --value -- "$what" 2>/dev/null | tr ' ' '\n' |
            while IFS= read -r file; do printf 'timer\t%s\tfile\t%s\n' "$timer" "$file"; done
        systemctl cat -- "$what" 2>/dev/null | while IFS= read -r line || [ -n "$line" ]; do
            printf 'timer\t%s\ttext of %s\t%s\n' "$timer" "$what" "$line"
        done
    done
done; :
"""


@dataclass
class Found:
    """A job: its kind, its file or timer, and what was read of it, by name, in lines."""

    kind: str
    where: str
    root: bool
    seen: dict[str, list[str]] = field(default_factory=dict)

    @property
    def words(self) -> str:
        """Such as "timer app-purge.timer"."""
        return f"{self.kind} {self.where}"

    def text(self, name: str) -> str:
        """Lines joined, each with its end."""
        return "".join(f"{line}\n" for line in self.seen.get(name, ()))

    def named(self, places: Sequence[Path], unit: str) -> bool:
        """Whether it works for the installation."""
        for name, lines in self.seen.items():
            if name == "unit" and unit and lines == [unit]:
                return True
            if name != "line" and not name.startswith("text of "):
                continue
            for line in lines:
                if is_comment(line):
                    continue
                if any(mentions(line, str(place)) for place in places):
                    return True
                words = line.replace("=", " ").split()
                if self.kind == TIMER and unit and unit in words:
                    return True
        return False


def is_comment(line: str) -> bool:
    """Whether nobody acts on it: a shebang is none."""
    return line.lstrip().startswith(("#", ";")) and not re.match("#!", line)


def find(host: Host, places: Sequence[Path], unit: str = "") -> list[Found]:
    """The jobs on ``host`` that name one of the places, or the unit."""
    told = host.run(("sh", "-c", _LOOK), ok=(0, 1)).out.decode("utf-8", "surrogateescape")
    found: dict[tuple[str, str], Found] = {}
    root = "\naccount\t\t\t0\n" in f"\n{told}"
    for line in told.split("\n"):
        kind, where, name, text = (*line.split("\t", 3), "", "", "")[:4]
        if kind in (CRON, TIMER):
            job = found.setdefault((kind, where), Found(kind, where, root))
            job.seen.setdefault(name, []).append(text)
    return [job for job in found.values() if job.named(places, unit)]
