"""Reads go on during the pause: to the old side, which is fenced; then to the new one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from tests.testbed import WHOLE
from tests.testbed.client import Client
from tests.testbed.servers import KINDS
from tests.testbed.site import Site

Make = Callable[..., Site]


class Reader(threading.Thread):
    """Asks for the version all the time.  seen are the answers, longest the longest wait for one,
    failures everything else."""

    def __init__(self, site: Site) -> None:
        super().__init__()
        self.site = site
        self.seen: list[str] = []
        self.failures: list[str] = []
        self.longest = 0.0
        self.over = threading.Event()

    def run(self) -> None:
        """Ask until told to end."""
        while not self.over.wait(0.02):
            began = time.monotonic()
            try:
                status, found = self.site.ask("/notes/n0")
                assert (status, found) == (200, {"text": "text 0"})
                self.seen.append(self.site.version())
            except (OSError, AssertionError, ValueError) as error:
                self.failures.append(repr(error))
            self.longest = max(self.longest, time.monotonic() - began)


def with_reads(site: Site, *, slow: float) -> None:
    """A check that takes so long in a cutover, and reads in the pause."""
    site.write_manifest(extra=site.check(f"[ $1 = rehearsal ] || sleep {slow}"))
    text = site.manifest.read_text()
    text = text.replace("traffic: {", "traffic: {reads_in_pause: true, ")
    site.manifest.write_text(text)


@pytest.mark.parametrize("kind", KINDS if WHOLE else KINDS[:1])
def test_reads_go_on(make_site: Make, kind: str) -> None:
    """Writes wait for the whole pause, reads only for its end; nobody sees an older state again;
    nothing is lost, and a cutover that fails inside the pause is taken back as always."""
    site = make_site(database=kind)
    with_reads(site, slow=6)
    site.run("rehearse")
    reader = Reader(site)
    with Client(site.gate) as client:
        reader.start()
        done = site.run("cutover", "--yes", "--json").json
        reader.over.set()
        reader.join()
    assert (done["outcome"], site.version()) == ("done", "2.0")
    assert done["requests"]["served_by_old_after_drain"] == 0
    assert client.failures == []
    assert reader.failures == []
    assert client.lost(site.gate) == set()
    switch = reader.seen.index("2.0")
    assert set(reader.seen[:switch]) == {"1.0"}
    assert set(reader.seen[switch:]) == {"2.0"}, "once new, always new"
    assert client.longest > 6, "a write waits for the check that takes so long"
    assert reader.longest < client.longest / 2, "a read does not"
    steps = {step["name"]: step for step in done["runs"][-1]["steps"]}
    claims = [finding["claim"] for finding in steps["stop"]["findings"]]
    assert "the old side answers behind the fence" in claims
    parts = [part["name"] for part in steps["sync"]["parts"]]
    assert parts[-2:] == ["drain reads", "stop"]
    claims = [finding["claim"] for finding in steps["sync"]["findings"]]
    assert "the old side's address is silent" in claims


@pytest.mark.whole
def test_a_failure_while_reads_pass_goes_back(make_site: Make) -> None:
    """The old side was never stopped, so it serves at once; who waited is served by it."""
    site = make_site(database="postgres")
    with_reads(site, slow=0)
    site.run("rehearse")
    site.check("[ $1 = rehearsal ] || exit 1")
    with Client(site.gate) as client:
        failed = site.run("cutover", "--yes", ok=False)
    assert failed.code == 5, failed.err
    assert site.version() == "1.0"
    assert client.failures == []
    assert client.lost(site.gate) == set()


def test_refused_where_it_cannot_be(make_site: Make) -> None:
    """By name: a kind of database that a running program does not read behind its fence, and a
    recipe that says that reads write."""
    site = make_site()
    with_reads(site, slow=0)
    refused = site.run("rehearse", ok=False)
    assert refused.code == 4
    assert "reads-cannot-pass" in refused.err
    assert "database main can be read" in refused.err
    site.recipe.write_text(f"{site.recipe.read_text()}writes_on_reads: who was last seen\n")
    refused = site.run("plan", ok=False)
    assert refused.code == 2
    assert "traffic.reads_in_pause: cannot be: Notes writes on reads (who was last" in refused.err
    site.write_manifest()
