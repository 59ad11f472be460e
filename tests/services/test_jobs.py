"""Cron jobs and timers of an installation are found, and others are not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.testbed.machines import Machine

from crossfade.drivers.hosts.ssh import SshHost
from crossfade.jobs import jobs_of

TIMER = "[Timer]\nOnCalendar=daily\n[Install]\nWantedBy=timers.target\n"
FILES = {
    "/etc/cron.d/cf-app": "# /srv/none\n30 4 * * * app /srv/app/bin/purge --all\n",
    "/etc/cron.d/cf-other": "30 4 * * * app /srv/app-2/bin/purge\n",
    "/etc/cron.d/cf-quiet": "# 30 4 * * * app /srv/app/bin/purge\n",
    "/etc/cron.daily/cf 'daily": "#!/bin/sh\ncd /var/lib/app && ls\n",
    "/etc/systemd/system/cf-mail.timer": TIMER,
    "/etc/systemd/system/cf-mail.service": "[Service]\nExecStart=/srv/app/bin/mail\n",
    "/etc/systemd/system/cf-wake.timer": TIMER.replace("daily", "daily\nUnit=app.service"),
    "/etc/systemd/system/cf-off.timer": "[Timer]\nOnCalendar=daily\nUnit=cf-mail.service\n",
}
FOUND = {
    "cron job in /etc/cron.d/cf-app",
    "cron job in /etc/cron.daily/cf 'daily",
    "timer cf-mail.timer",
    "timer cf-wake.timer",
}


@pytest.fixture
def host(machines: tuple[Machine, Machine]) -> Iterator[SshHost]:
    """A machine with jobs, which are removed in the end."""
    made = SshHost(machines[0].name, config=machines[0].config)
    for name, text in FILES.items():
        made.write(Path(name), text.encode(), mode=0o644)
    made.run(("systemctl", "daemon-reload"))
    made.run(("systemctl", "enable", "--quiet", "cf-mail.timer", "cf-wake.timer"))
    yield made
    made.run(("systemctl", "disable", "--quiet", "cf-mail.timer", "cf-wake.timer"))
    for name in FILES:
        made.remove(Path(name))
    made.run(("systemctl", "daemon-reload"))
    made.close()


def test_jobs(host: SshHost) -> None:
    """By a directory of the installation, or its unit; nothing by comments, by longer names, or of
    what is off."""
    places = [Path("/srv/app"), Path("/var/lib/app")]
    assert set(jobs_of(host, places, "app.service")) == FOUND
    assert set(jobs_of(host, places)) == FOUND - {"timer cf-wake.timer"}
    assert jobs_of(host, [Path("/srv/elsewhere")], "else.service") == []
