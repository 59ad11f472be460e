"""Jobs that a machine runs at set times for an installation: cron's and systemd's timers.

They are found and told, not handed over.  A job is found when the file that starts it names one of
the directories of the installation, or its unit; those that we may not read are not.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from crossfade.configuration import mentions
from crossfade.ports import Host

__all__ = ["jobs_of"]

# One line each: kind, tab, file or timer, tab, text.
_LOOK: Final = r"""
LC_ALL=C; export LC_ALL
for f in /etc/crontab /etc/cron.d/* /etc/cron.hourly/* /etc/cron.daily/* /etc/cron.weekly/* \
    /etc/cron.monthly/* /etc/periodic/*/* /var/spool/cron/crontabs/* /var/spool/cron/*; do
    [ -f "$f" ] && [ -r "$f" ] || continue
    head -c 65536 "$f" |
        while IFS= read -r line; do printf 'cron job in\t%s\t%s\n' "$f" "$line"; done
done
command -v systemctl >/dev/null || exit 0
systemctl list-unit-files --type=timer --state=enabled --no-legend --no-pager 2>/dev/null |
while read -r timer rest; do
    unit=$(systemctl show -p Unit --value -- "$timer" 2>/dev/null)
    systemctl cat -- "$timer" "$unit" 2>/dev/null |
        while IFS= read -r line; do printf 'timer\t%s\t%s\n' "$timer" "$line"; done
done; :
"""


def jobs_of(host: Host, places: Sequence[Path], unit: str = "") -> list[str]:
    """The jobs on ``host`` that name one of the places, or the unit, each in words such as "timer
    app-purge.timer".  Reads only."""
    told = host.run(("sh", "-c", _LOOK), ok=(0, 1)).out.decode("utf-8", "replace")
    found: dict[str, None] = {}
    for line in told.splitlines():
        kind, _, rest = line.partition("\t")
        where, _, text = rest.partition("\t")
        if text.lstrip().startswith("#"):
            continue
        named = any(mentions(text, str(place)) for place in places)
        if named or (kind == "timer" and unit and unit in text.replace("=", " ").split()):
            found[f"{kind} {where}"] = None
    return list(found)
