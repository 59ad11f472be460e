"""A whole server: every customisation is found without any list of files, and nothing else."""

from __future__ import annotations

import json

import pytest
from tests.finding.openboxes import AROUND, CUSTOMISED, Layout
from tests.finding.tomcat import archive

from crossfade.finding import ArchiveStock, Candidate, Inventory, Kind, Scope, look, text

FILES = (Kind.MODIFIED, Kind.ADDED, Kind.DELETED, Kind.OVERLAY, Kind.ASSET)
STANDING = r"""
sed -n 's#^overlay \(/[a-z/]*\) overlay .*lowerdir=\1,upperdir=\([^,]*\),.*#\2#p' \
    /proc/self/mounts |
    while read -r upper; do find "$upper" -printf '%p %T@ %C@ %m %U\n'; done | sort
"""
"""All that was written in this machine apart: below it other tests write, and this checkout is."""


@pytest.fixture(scope="module")
def stock(server: Layout) -> ArchiveStock:
    """Tomcat's archive, as somebody has kept it."""
    return ArchiveStock(archive(server.tomcat), "10.1.0")


@pytest.fixture(scope="module")
def inventory(server: Layout, stock: ArchiveStock) -> Inventory:
    """What is found with Tomcat's archive at hand."""
    return look(server.host, server.installation, scope=Scope({"/opt/tomcat": stock}))


def test_every_customisation_is_found(inventory: Inventory) -> None:
    """All files with their kinds, and nothing that was not customised."""
    assert {one.name: one.kind.value for one in inventory.of(*FILES)} == CUSTOMISED


def test_what_is_around_is_listed(inventory: Inventory) -> None:
    """Cron, logrotate, sysctl and sudo, apart from what would be carried."""
    assert {one.name for one in inventory.of(Kind.PERIPHERY)} >= AROUND


def test_what_is_in_no_file(inventory: Inventory) -> None:
    """Variables and arguments of the process, but for those that Tomcat's own scripts pass."""
    variables = {one.name for one in inventory.of(Kind.ENVIRONMENT)}
    assert variables == {"CATALINA_OPTS", "JAVA_HOME", "OB_REGION", "SMTP_PASSWORD"}
    arguments = {one.name: one.shown for one in inventory.of(Kind.ARGUMENT)}
    assert arguments == {
        "-Ddb.password": None,
        "-Dsite.token": None,
        "-I": "/opt/jdk/lib/server.py",
        "-Xmx": "1g",
    }


def test_each_has_its_evidence(inventory: Inventory) -> None:
    """Who has found it, and what was seen."""
    told = {
        one.name: [f"{e.detector}: {e.detail}" for e in one.evidence] for one in inventory.found
    }
    assert told["/opt/tomcat/conf/server.xml"] == [
        "stock-diff: differs from the pristine file (archive 10.1.0)"
    ]
    assert told["/etc/nginx/sites-available/openboxes"][1] == (
        "mentions: /etc/nginx/sites-enabled/openboxes leads to it"
    )
    assert told["/srv/uploads/"] == [
        "references: /home/openboxes/.grails/openboxes-config.properties names it in line 3"
    ]
    assert told["SMTP_PASSWORD"][1] == "references: /etc/default/openboxes sets it in line 1"
    assert told["/opt/tomcat/conf/server.xml.bak"] == [
        "hints: a copy, by its name, of /opt/tomcat/conf/server.xml, which is modified"
    ]


def test_how_files_stand(inventory: Inventory, server: Layout) -> None:
    """Sum, mode, owner and size are those of the file."""
    (unit,) = [one for one in inventory.found if one.name.endswith("setenv.sh")]
    seen = server.host.sh('stat -c \'%a %s %U\' "$1"; sha256sum <"$1"', unit.name).split()
    assert [f"{unit.mode:o}", str(unit.size), unit.owner, unit.sha256, "-"] == seen


def test_no_secret_is_told(inventory: Inventory) -> None:
    """Neither the values in files nor those of the environment, nor the shell's history."""
    assert "planted" not in json.dumps(inventory.as_json()) + text(inventory)
    assert "bash_history" not in json.dumps(inventory.as_json())


def test_nothing_is_changed_there(server: Layout, stock: ArchiveStock) -> None:
    """No file, time or mode differs after a look."""
    before = server.host.sh(STANDING)
    assert "/openboxes-config.properties " in before
    assert "/sites-available/openboxes " in before
    look(server.host, server.installation, scope=Scope({"/opt/tomcat": stock}))
    assert server.host.sh(STANDING) == before


def test_few_commands(server: Layout, stock: ArchiveStock) -> None:
    """A far machine is not asked file by file."""
    server.host.commands.clear()
    look(server.host, server.installation, scope=Scope({"/opt/tomcat": stock}))
    assert len(server.host.commands) < 60


def test_the_coverage_without_pristine_files(server: Layout) -> None:
    """Without the archive its version is told, and the files whose base nobody knows; a file that
    somebody changed is not said to be unchanged."""
    inventory = look(server.host, server.installation)
    told = inventory.coverage.detectors["stock-diff"]
    assert told == "no pristine files of /opt/tomcat (Tomcat 10.1.0) at hand"
    assert "/opt/tomcat/conf/server.xml" in inventory.coverage.without_base
    assert "/opt/tomcat/webapps/openboxes/WEB-INF/web.xml" not in inventory.coverage.without_base
    assert not inventory.coverage.whole
    assert told in text(inventory)


def test_the_base_by_the_nearest_text(server: Layout) -> None:
    """Without the archive, from texts that releases have shipped; the margin is told."""
    pristine = (server.tomcat / "conf/server.xml").read_bytes()
    other = pristine.replace(b"8005", b"8006").replace(b"443", b"444")
    known = [
        Candidate("10.1.0", pristine),
        Candidate("10.1.7", pristine),
        Candidate("9.0.1", other),
    ]
    web = [Candidate("10.1.0", (server.tomcat / "conf/web.xml").read_bytes())]
    scope = Scope(candidates={"conf/server.xml": known, "conf/web.xml": web})
    inventory = look(server.host, server.installation, scope=scope)
    (found,) = [one for one in inventory.found if one.name == "/opt/tomcat/conf/server.xml"]
    assert found.base is not None
    assert (found.base.how, found.base.version, found.kind) == (
        "inferred",
        "10.1.0..10.1.7",
        "modified",
    )
    assert found.base.margin is not None
    assert found.base.margin > 0
    assert "/opt/tomcat/conf/web.xml" not in inventory.coverage.without_base
    assert f"next best {found.base.margin} lines worse" in text(inventory)
