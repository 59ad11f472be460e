"""Cron jobs and timers of an installation are found, and others are not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.testbed.machines import Machine

from crossfade.drivers.hosts.local import LocalHost
from crossfade.drivers.hosts.ssh import SshHost
from crossfade.errors import Failed
from crossfade.jobs import HandedOver, Handover, Move, find
from crossfade.model import Side

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
FILES_OFF = (
    *("/etc/cron.d/cf-app", "/etc/cron.daily/cf 'daily", "cf-mail.timer", "cf-wake.timer"),
)
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
    made.run(("systemctl", "disable", "--quiet", "cf-mail.timer", "cf-wake.timer"), ok=(0, 1))
    for name in FILES:
        made.remove(Path(name))
    made.run(("systemctl", "daemon-reload"))
    made.close()


def test_jobs(host: SshHost) -> None:
    """By a directory of the installation, or its unit; nothing by comments, by longer names, or of
    what is off."""
    places = [Path("/srv/app"), Path("/var/lib/app")]

    def found(places: list[Path], unit: str = "") -> set[str]:
        return {job.words for job in find(host, places, unit)}

    assert found(places, "app.service") == FOUND
    assert found(places) == FOUND - {"timer cf-wake.timer"}
    assert found([Path("/srv/elsewhere")], "else.service") == set()


def test_both_sides_on_one_machine(host: SshHost, tmp_path: Path) -> None:
    """Every kind is carried under a name of its own, switched off and on, and removed; what is
    somebody else's in the same files stays, with mode and owner.  Each act may be done twice."""
    table, user = Path("/etc/crontab"), Path("/var/spool/cron/crontabs/root")
    shared = host.read(table)
    line = "5 4 * * * root /srv/app/bin/tidy --dry%run\n"
    host.write(table, shared + line.encode(), mode=0o644)
    host.write(user, b"A=1\n@daily /srv/app/bin/mine 'x  y'\n7 * * * * /srv/else\n", mode=0o600)
    host.write(Path("/etc/cron.daily/cf-two"), b"#!/srv/app/bin/sh\n:\n", mode=0o755)
    places = {"/srv/app": "/srv/app2", "/var/lib/app": "/var/lib/app2"}
    move = Move("up_1", places, ("app.service", "app-2.0.service"), "2.0", "1.0")
    here = LocalHost()
    both = Handover(
        tmp_path / "jobs.json",
        "app",
        list(map(Path, places)),
        move,
        lambda: host,
        lambda: host,
        here,
    )
    old, new = (HandedOver(side, host, both) for side in (Side.OLD, Side.NEW))
    try:
        before = _state(host)
        carried, told = old.found()
        assert len(carried) == 6
        assert told == ["cron job in /etc/cron.d/cf-app (the new side is without the account app)"]
        new.carry()
        assert not any(line.startswith("cf-") and "2.0" in line for line in _state(host))
        for _ in range(2):
            assert all(finding.holds for finding in (*old.switch(False), *new.switch(True)))
            text = host.read(table).decode()
            assert text == shared.decode() + "#crossfade up_1: " + line
            assert host.run(("stat", "-c", "%a %U", str(user))).out == b"600 root\n"
            assert b"@daily root /srv/app2/bin/mine 'x  y'" in host.read(
                Path("/etc/cron.d/app-root-2-0")
            )
            shebang = host.read(Path("/etc/cron.daily/cf-two-2-0"))
            assert shebang.startswith(b"#!/srv/app2/bin/sh\n")
            wake = host.run(("systemctl", "show", "-p", "Unit", "cf-wake-2.0.timer")).out
            assert wake == b"Unit=app-2.0.service\n"
            assert host.run(("systemctl", "is-enabled", "cf-mail.timer"), ok=(1,)).status == 1
        for _ in range(2):
            assert all(finding.holds for finding in (*new.switch(False), *old.switch(True)))
        assert host.read(table) == shared + line.encode()
        stuck = Path("/etc/cron.daily/cf-two-2-0")
        host.make_directory(stuck)
        with pytest.raises(Failed) as failed:
            new.remove()
        assert failed.value.code == "job-does-not-stop"
        host.remove(stuck)
        new.remove()
        assert _state(host) == before
        assert not new.known()
        new.carry()
        old.switch(False)
        new.switch(True)
        old.retire(tmp_path / "archive")
        assert host.read(table) == shared
        assert b"/srv/else" in host.read(user)
        assert b"/srv/app/" not in host.read(user)
        assert (tmp_path / "archive/jobs/etc/crontab").exists()
        assert not host.exists(Path("/etc/systemd/system/cf-mail.timer"))
        assert host.exists(Path("/etc/systemd/system/cf-mail-2.0.timer"))
    finally:
        new.remove()
        old.switch(True)
        host.write(table, shared, mode=0o644)
        for name in (user, Path("/etc/cron.daily/cf-two")):
            host.remove(name)


def test_new_side_that_can_have_none(host: SshHost, tmp_path: Path) -> None:
    """Those of the old side are only switched off, also one that starts the old program; on again
    when it goes back; and a record of an upgrade that went back does not stay."""
    places = {"/srv/app": "/opt/app", "/var/lib/app": "/data"}
    both = Handover(
        tmp_path / "jobs.json",
        "app",
        list(map(Path, places)),
        Move("up_1", places, ("app.service", "")),
        lambda: host,
        lambda: pytest.fail("nothing is asked of the new side"),
        LocalHost(),
        "the new side is a container",
    )
    old, new = (HandedOver(side, host, both) for side in (Side.OLD, Side.NEW))
    before = _state(host)
    ending, why = old.ending()
    assert sorted(ending) == [
        "/etc/cron.daily/cf 'daily",
        "1 of the lines of /etc/cron.d/cf-app",
        "cf-mail.timer",
        "cf-wake.timer",
    ]
    assert why == "the new side is a container"
    assert old.found() == ([], [])
    try:
        new.carry()
        assert _state(host) == before
        for _ in range(2):
            assert [finding.holds for finding in old.switch(False)] == [True]
        assert new.switch(True) == []
        assert find(host, list(map(Path, places)), "app.service") == []
        assert sorted(old.known()) == [*FILES_OFF]
        assert len(old.revival()) == 1
    finally:
        assert [finding.holds for finding in old.switch(True)] == [True]
    assert _state(host) == before
    assert new.remove() == []
    assert (old.known(), both.record.exists()) == ([], False)


def _state(host: SshHost) -> set[str]:
    """Every file where jobs stand, with its mode and content; and the timers that are on."""
    order = (
        "find /etc/cron* /var/spool/cron /etc/systemd/system -type f -printf '%m %u %p ' "
        "-exec sha256sum {} \\; ; systemctl list-unit-files --type=timer --state=enabled "
        "--no-legend --no-pager | grep cf-"
    )
    return set(host.run(("sh", "-c", order), ok=(0, 1)).out.decode().splitlines())
