"""A machine that systemd has booted: the unit, its drop-in and its process as they are for real."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.finding.apart import put, sh
from tests.finding.openboxes import data, program
from tests.finding.plain import evidence, installed, kinds, one
from tests.finding.tomcat import archive
from tests.testbed.machines import Machine

from crossfade.drivers.hosts.ssh import SshHost
from crossfade.finding import ArchiveStock, Inventory, Kind, Scope, look, text
from crossfade.model import Address

PORT = 8190
UNIT = (
    "[Service]\nUser=openboxes\nWorkingDirectory=/opt/tomcat\n"
    "EnvironmentFile=-/etc/default/openboxes\n"
    "ExecStart=/opt/tomcat/bin/catalina.sh run\n[Install]\nWantedBy=multi-user.target\n"
)
DROP_IN = "[Service]\nEnvironment=JAVA_HOME=/opt/jdk\nEnvironment=MAIL_PASSWORD=planted-in-unit\n"


@pytest.fixture(scope="module")
def inventory(machines: tuple[Machine, Machine], tomcat: Path) -> Iterator[Inventory]:
    """What is found on it, over ssh, with neither a unit nor a process named."""
    machine = machines[0]
    host = SshHost(machine.name, config=machine.config)
    program(host, tomcat, PORT)
    data(host)
    put(host, "/etc/systemd/system/openboxes.service", UNIT)
    put(host, "/etc/systemd/system/openboxes.service.d/java.conf", DROP_IN)
    put(host, "/etc/default/openboxes", "OB_REGION=EU-West\n")
    put(host, "/etc/nginx/sites-available/ob", f"proxy_pass http://127.0.0.1:{PORT};\n")
    put(host, "/etc/mysql/conf.d/zz-ob.cnf", "[mysqld]\ninnodb_buffer_pool_size = 2G\n")
    put(host, "/etc/cron.d/ob", "0 5 * * * root systemctl restart openboxes\n")
    sh(host, "systemctl daemon-reload; systemctl enable --now openboxes.service")
    wait = "until grep -q ':1FFE .* 0A ' /proc/net/tcp /proc/net/tcp6; do sleep 0.1; done"
    sh(host, wait)
    try:
        stock = ArchiveStock(archive(tomcat), "10.1.0")
        at = installed(
            *("/opt/tomcat", "/opt/tomcat/conf", "/srv/uploads"),
            address=Address(machine.address, PORT),
        )
        yield look(host, at, scope=Scope({"/opt/tomcat": stock}))
    finally:
        sh(host, "systemctl disable --now openboxes.service")
        sh(host, "rm -r /etc/systemd/system/openboxes.service* /opt/tomcat /opt/jdk /etc/nginx")
        sh(host, "rm -r /srv/uploads /srv/branding /home/openboxes /etc/mysql /etc/cron.d/ob")
        sh(host, "rm /etc/default/openboxes; sed -i /^openboxes:/d /etc/passwd")
        sh(host, "systemctl daemon-reload")
        host.close()


def test_everything_is_found(inventory: Inventory) -> None:
    """By the address alone: the process, from it the unit and its drop-in, and all the rest."""
    wanted = {
        "/opt/tomcat/conf/server.xml": "modified",
        "/opt/tomcat/conf/keystore.jks": "added",
        "/opt/tomcat/bin/setenv.sh": "added",
        "/opt/tomcat/lib/mysql-connector-j.jar": "added",
        "/opt/tomcat/webapps/docs/": "deleted",
        "/opt/tomcat/webapps/openboxes/WEB-INF/classes/messages.properties": "modified",
        "/etc/systemd/system/openboxes.service": "added",
        "/etc/systemd/system/openboxes.service.d/java.conf": "added",
        "/etc/default/openboxes": "added",
        "/home/openboxes/.grails/openboxes-config.properties": "overlay",
        "/opt/jdk/": "asset",
        "/srv/uploads/": "asset",
        "/srv/branding/logo.png": "asset",
        "/etc/nginx/sites-available/ob": "added",
        "/etc/mysql/conf.d/zz-ob.cnf": "added",
    }
    files = (Kind.MODIFIED, Kind.ADDED, Kind.DELETED, Kind.OVERLAY, Kind.ASSET)
    assert {found.name: found.kind.value for found in inventory.of(*files)} == wanted
    assert kinds(inventory, "/etc/cron.d/ob") == {"/etc/cron.d/ob": "periphery"}
    assert inventory.coverage.processes == 1


def test_what_the_unit_gives(inventory: Inventory) -> None:
    """This machine's root may not see what other accounts' processes have open: that is told.
    Variables and arguments are found all the same, with where they are set."""
    assert inventory.coverage.detectors["runtime"].endswith(" has open cannot be seen")
    variables = {found.name for found in inventory.of(Kind.ENVIRONMENT)}
    assert variables == {"CATALINA_OPTS", "JAVA_HOME", "MAIL_PASSWORD", "OB_REGION"}
    told = [seen.detail for seen in evidence(inventory, "MAIL_PASSWORD")]
    assert told[1:] == ["/etc/systemd/system/openboxes.service.d/java.conf sets it in line 3"]
    assert one(inventory, "JAVA_HOME").shown == "/opt/jdk"
    assert {"-Ddb.password", "-Xmx"} <= {found.name for found in inventory.of(Kind.ARGUMENT)}
    assert "planted" not in text(inventory) + repr(inventory)
