"""Files of the system that name an installation, and those that only look like it."""

from __future__ import annotations

import pytest
from tests.finding.apart import Apart
from tests.finding.plain import evidence, installed, kinds

from crossfade.finding import Running, Scope, look
from crossfade.finding._book import Book
from crossfade.finding._mentions import Names, databases
from crossfade.model import Address

NAMES = Names(
    paths=["/opt/app", "/var/lib/app"],
    units=["app.service"],
    ports=[8080],
    hosts=["localhost", "127.0.0.1", "[::1]", "*", "shop1"],
    public=["inv.example.org"],
    accounts=["appuser"],
)


@pytest.mark.parametrize(
    "line",
    [
        "proxy_pass http://127.0.0.1:8080;",
        "proxy_pass http://localhost:8080/app/;",
        "server app1 shop1:8080 check",
        "ProxyPass / http://[::1]:8080/",
        "bind *:8080",
        'Environment="HOME=/opt/app"',
        "/var/lib/app/logs/*.log {",
        "ExecStartPost=/bin/systemctl try-restart app.service",
        "0 3 * * * root systemctl --quiet restart app",
        "postrotate service app reload",
        "server_name inv.example.org;",
        "domains = inv.example.org, www.example.org",
    ],
)
def test_lines_that_name_it(line: str) -> None:
    """Paths, addresses in their forms, unit, public name."""
    assert NAMES.of("/etc/x", line)


@pytest.mark.parametrize(
    "line",
    [
        "http-alt  8080/tcp  webcache",
        "proxy_pass http://10.0.0.9:8080;",
        "proxy_pass http://127.0.0.1:80801;",
        "proxy_pass http://127.0.0.1:18080;",
        "time 12:8080",
        "root /opt/app-other;",
        "root /srv/opt/app;",
        "Requires=my-app.service",
        "systemctl restart app-worker",
        "the app is restarted",
        "server_name dev.inv.example.org;",
        "mail appuser@example.org",
    ],
)
def test_lines_that_only_look_like_it(line: str) -> None:
    """Other ports, hosts, paths, units and names."""
    assert NAMES.of("/etc/x", line) is None


def test_accounts_count_where_rights_are_given() -> None:
    """An account's name is one only in sudo's, cron's and limits' files."""
    line = "appuser soft nofile 65536"
    assert NAMES.of("/etc/security/limits.d/app.conf", line) == "the account appuser"
    assert NAMES.of("/etc/x.conf", line) is None


@pytest.mark.parametrize(
    ("line", "kinds_found"),
    [
        ("url=jdbc:mysql://localhost:3306/openboxes", ["mysql"]),
        ("url=jdbc:mariadb://127.0.0.1/openboxes", ["mysql"]),
        ("DATABASE_URL=postgresql+psycopg2://u:p@localhost/app", ["postgres"]),
        ("DATABASE_URL=postgres://u:p@/app", ["postgres"]),
        ("DB_CONNECTION=mysql", ["mysql"]),
        ("database_type: psycopg2", ["postgres"]),
        ("url=jdbc:mysql://db.example.org/openboxes", []),
        ("# url=jdbc:mysql://localhost/openboxes", []),
        ("the mysql client", []),
    ],
)
def test_servers_that_configuration_names(line: str, kinds_found: list[str]) -> None:
    """Those on the same machine, by their addresses."""
    book = Book(texts={"/etc/app.conf": f"{line}\n"})
    assert list(databases(book, ["shop1"])) == kinds_found


def test_where_such_files_are(host: Apart) -> None:
    """Each place of the system with its component; a comment is no mention, another's site is not
    ours, and a shipped file that happens to name it is none."""
    for path in (
        "/etc/haproxy/conf.d/app.cfg",
        "/etc/apache2/sites-available/app.conf",
        "/etc/caddy/app.caddy",
        "/etc/fail2ban/jail.d/app.local",
        "/etc/logrotate.d/app",
        "/var/spool/cron/crontabs/appuser",
        "/etc/cron.daily/app",
        "/etc/systemd/system/app-backup.timer",
        "/usr/local/bin/app-restart",
        "/etc/default/app",
    ):
        host.put(path, "x /opt/app y\n")
    host.put("/etc/nginx/sites-available/commented", "# root /opt/app;\n")
    host.put("/etc/nginx/sites-available/others", "root /opt/app2;\n")
    host.put("/etc/logrotate.d/app.dpkg-old", "x /opt/app y\n")
    inventory = look(host, installed("/opt/app"))
    told = {
        one.name: (one.component, one.kind.value)
        for one in inventory.found
        if any(seen.detector == "mentions" for seen in one.evidence)
    }
    assert told == {
        "/etc/haproxy/conf.d/app.cfg": ("proxy", "added"),
        "/etc/apache2/sites-available/app.conf": ("proxy", "added"),
        "/etc/caddy/app.caddy": ("proxy", "added"),
        "/etc/default/app": ("unit", "added"),
        "/etc/fail2ban/jail.d/app.local": ("guards", "periphery"),
        "/etc/logrotate.d/app": ("logs", "periphery"),
        "/etc/logrotate.d/app.dpkg-old": ("logs", "hint"),
        "/var/spool/cron/crontabs/appuser": ("jobs", "periphery"),
        "/etc/cron.daily/app": ("jobs", "periphery"),
        "/etc/systemd/system/app-backup.timer": ("jobs", "periphery"),
        "/usr/local/bin/app-restart": ("system", "periphery"),
    }


def test_by_address_name_and_unit(host: Apart) -> None:
    """Nothing but the port, the public name or the unit's name is in the file."""
    host.put("/etc/nginx/sites-available/port", "proxy_pass http://127.0.0.1:18123;\n")
    host.put("/etc/letsencrypt/renewal/inv.conf", "domains = inv.example.org\n")
    host.put("/etc/cron.d/nightly", "0 3 * * * root systemctl restart app.service\n")
    at = installed("/opt/app", address=Address("127.0.0.1", 18123))
    scope = Scope(public=["inv.example.org"])
    inventory = look(host, at, Running("app.service"), scope)
    assert {"/etc/nginx/sites-available/port", "/etc/letsencrypt/renewal/inv.conf"} <= set(
        kinds(inventory)
    )
    details = [seen.detail for seen in evidence(inventory, "/etc/cron.d/nightly")]
    assert "names the unit app.service in line 1" in details
