"""Names through a whole upgrade: lowered, switched, followed, put back; and late comers."""

from __future__ import annotations

import http.client
import json
import time
from pathlib import Path

import pytest
from tests.dns.site import NEW, OLD, explained, named_site
from tests.story.test_ports import who, with_port
from tests.testbed.client import Client
from tests.testbed.nameservers import ZONE, Bind, Knot, PowerDns
from tests.testbed.site import Site, eventually


def come_late(site: Site, name: str) -> str:
    """A client with an old answer in its cache: the version that it gets at the old address."""
    connection = http.client.HTTPConnection(site.gate.host, site.gate.port, timeout=30)
    connection.request("GET", "/version", headers={"Host": name})
    body = json.loads(connection.getresponse().read())
    connection.close()
    return str(body["version"])


def test_forward_and_retired(tmp_path: Path) -> None:
    """From a long TTL to a retired old side; a client never follows.  With BIND and Knot DNS."""
    with named_site(tmp_path, (Bind, Knot), ttl=4, stragglers="20s") as named:
        site = named.site
        site.run("rehearse")
        plan = site.run("plan", ok=False)
        assert plan.code == 4
        assert f"then www.{ZONE} A: 192.0.2.10 -> 192.0.2.20, by RFC 2136" in plan.out
        assert "dns-ttl-long" in plan.out
        refused = explained(site.run("cutover", "--yes", ok=False), "dns-ttl-long", 4)
        assert "next: crossfade dns lower" in refused
        site.run("dns", "lower", "--yes")
        assert [r.ttl for n in (0, 1) if (r := named.says(n))] == [2, 2]
        named.all_say(*OLD)
        eventually(lambda: site.run("plan", ok=False).code == 0)

        with Client(site.gate) as client:
            site.run("cutover", "--yes")
            named.all_say(*NEW)
            status = named.status()
            assert status["names"]["complete"]
            assert status["names"]["followed"] - status["names"]["published"] >= 2
            before = len(client.acknowledged)  # it asks by an address, so it is no straggler
            eventually(lambda: len(client.acknowledged) > before + 20)
            explained(site.run("retire", "--yes", ok=False), "stragglers-unknown", 4)
            assert come_late(site, "www.Example.test:8080") == "2.0"
        assert client.failures == []
        assert client.lost(site.gate) == set()
        said = site.run("status").out
        assert "names: www.example.test A, www.example.test AAAA" in said
        assert "came to the old address: 127.0.0.1 for www.example.test, 1 times" in said
        assert come_late(site, "www.example.test") == "2.0"
        refused = explained(site.run("retire", "--yes", ok=False), "stragglers-come", 4)
        assert "127.0.0.1 asked for www.example.test 2 times" in refused
        assert (site.directory / "app1").exists()

        time_of_last = max(who["last"] for who in named.status()["late"]["who"])
        eventually(lambda: time.time() > time_of_last + 20, timeout=30)
        site.run("retire", "--yes")
        assert [r.ttl for n in (0, 1) if (r := named.says(n))] == [4, 4]
        named.all_say(*NEW)


def test_retired_despite_stragglers(tmp_path: Path) -> None:
    """The named flag skips that, and the journal says so; PowerDNS has the zone.  Who comes late at
    another port is one as well."""
    with (
        named_site(tmp_path, (PowerDns, Bind), stragglers="24h") as named,
        with_port(named.site) as (at, _, _),
    ):
        site = named.site
        site.run("rehearse")
        site.run("cutover", "--yes")
        named.all_say(*NEW)
        explained(site.run("retire", "--yes", ok=False), "stragglers-unknown", 4)
        assert who(at) == "new"
        refused = explained(site.run("retire", "--yes", ok=False), "stragglers-come", 4)
        assert f"127.0.0.1 asked for port {at.port} 1 times" in refused
        site.run("retire", "--yes", "--despite-stragglers")
        began = [e["payload"] for e in site.wired().journal.entries(kind="run-began")]
        assert began[-1]["accepted"] == ["despite-stragglers"]  # type: ignore[index]
        secret = named.servers[0].key
        for path in (site.directory / "state").rglob("*"):
            assert not path.is_file() or secret.encode() not in path.read_bytes(), path


@pytest.mark.whole
def test_back_and_forward_again(tmp_path: Path) -> None:
    """Going back, the names lead to the gate again before the pause; then all of it once more."""
    with named_site(tmp_path) as named:
        site = named.site
        site.run("rehearse")
        site.run("cutover", "--yes")
        status = named.status()
        assert "past the gate" in status["going_back"]
        refused = explained(site.run("rollback", "--yes", ok=False), "would-lose-writes", 4)
        assert "past the gate" in refused
        with Client(site.gate) as client:
            site.run("rollback", "--yes", "--accept-loss")
            named.all_say(*OLD)
            assert site.version() == "1.0"
        # the writes that were accepted to stay behind are not found; everybody was answered
        assert [failure for failure in client.failures if "404" not in failure] == []
        status = named.status()
        assert (status["names"]["lead_to"], status["late"]) == ("old", None)
        site.run("rehearse")
        site.run("cutover", "--yes")
        named.all_say(*NEW)
        assert named.status()["names"]["complete"]


def test_killed_in_the_middle(tmp_path: Path) -> None:
    """Killed right before or after the names were switched: the same verb finishes it."""
    for place in ("before-act", "after-act"):
        with named_site(tmp_path / place) as named:
            site = named.site
            site.run("rehearse")
            point = {"CROSSFADE_CRASH_AT": f"cutover.switch.names.{place}"}
            assert site.run("cutover", "--yes", env=point, ok=False).code == -9
            site.run("cutover", "--yes")
            named.all_say(*NEW)
            status = named.status()
            assert (status["outcome"], status["names"]["complete"]) == ("done", True)
            assert status["names"]["followed"]
