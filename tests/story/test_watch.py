"""The watch after the switch: a new side that is much worse is left again, at the agreed price."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from tests.testbed.site import Site

Make = Callable[..., Site]


@contextmanager
def users(site: Site, *, write: bool = False) -> Iterator[None]:
    """Two of them read a note all the time, whatever the answer is; and now and then one writes."""
    over = threading.Event()

    def work() -> None:
        count = 0
        while not over.wait(0.005):
            connection = http.client.HTTPConnection(site.gate.host, site.gate.port, timeout=60)
            if count % 10 == 0 and write:
                connection.request("POST", "/notes", f'{{"id": "w{count}", "text": "a"}}')
            else:
                connection.request("GET", "/notes/n0")
            connection.getresponse().read()
            connection.close()
            count += 1

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def test_a_bad_new_side_is_left_again(make_site: Make) -> None:
    """It fails its users: without writes it goes back by itself; with some only when that was
    accepted, and they are exported; otherwise it says so, and stays."""
    site = make_site()
    site.write_manifest(broken="users", limits={"watch": 60}, extra="watch: {least: 30}\n")
    site.run("rehearse")
    with users(site):
        back = site.run("cutover", "--yes", ok=False)
    assert back.code == 5, back.err
    assert "error: watch-limit-passed" in back.err
    assert "requests that went wrong since the switch: 100.0% of" in back.err
    assert "The old side (1.0) serves" in back.err
    account = site.run("status", "--json").json
    assert (account["outcome"], account["live"]) == ("rolled-back", "old")

    with users(site, write=True):
        told = site.run("cutover", "--yes", ok=False)
    assert told.code == 3, told.err
    assert "acknowledged writes behind" in told.err
    assert "next: crossfade rollback --accept-loss" in told.err
    assert "The new side (2.0) serves" in told.err
    assert site.version() == "2.0"
    again = site.run("cutover", "--yes", ok=False)
    assert again.code == 4, "it was said once; now it is the operator's"
    site.run("rollback", "--yes", "--accept-loss")

    with users(site, write=True):
        back = site.run("cutover", "--yes", "--accept-loss", ok=False)
    assert back.code == 5, back.err
    assert site.version() == "1.0"
    labels = [run["label"] for run in site.run("status", "--json").json["runs"]]
    assert labels[-2:] == ["cutover-3", "rollback-3"]
    left = list((site.directory / "state").rglob("left-behind/main/note.jsonl"))
    assert left, "what stays behind is exported"


def test_a_new_side_that_turns_everybody_away(make_site: Make) -> None:
    """Its health is fine and nothing is broken, but it answers its users with 403, as MLflow 3 does
    where they come by a name that it was not told."""
    site = make_site()
    site.write_manifest(broken="host", limits={"watch": 60}, extra="watch: {least: 30}\n")
    site.run("rehearse")
    with users(site):
        back = site.run("cutover", "--yes", ok=False)
    assert back.code == 5, back.err
    assert "requests that were answered with 4xx since the switch: 100.0% of" in back.err
    assert "The old side (1.0) serves" in back.err


def test_a_new_side_that_is_not_well(make_site: Make) -> None:
    """Too few requests to compare, but it says itself that it is not well: left again."""
    site = make_site()
    site.write_manifest(broken="sick", limits={"watch": 5}, extra="watch: {least: 100000}\n")
    site.run("rehearse")
    with users(site):
        back = site.run("cutover", "--yes", ok=False)
    assert back.code == 5, back.err
    assert "health answers missed after the switch" in back.err
    assert "The old side (1.0) serves" in back.err


@pytest.mark.whole
@pytest.mark.parametrize(
    "point",
    [
        "cutover.switch.watch.after-act",
        "rollback.hand-back.before-act",
        "rollback.hand-back.stop.after-act",
        "rollback.hand-back.commit.after-act",
        "rollback.hand-back.after-record",
    ],
)
def test_killed_on_the_way_back(make_site: Make, point: str) -> None:
    """The same command goes on: it goes back, says so, and begins nothing new."""
    site = make_site(limits={"watch": 60})
    site.write_manifest(broken="users", limits={"watch": 60}, extra="watch: {least: 30}\n")
    site.run("rehearse")
    with users(site):
        killed = site.run("cutover", "--yes", env={"CROSSFADE_CRASH_AT": point}, ok=False)
        assert killed.code == -9, killed.err
        back = site.run("cutover", "--yes", ok=False)
    assert back.code == 5, back.err
    assert "error: watch-limit-passed" in back.err
    assert site.version() == "1.0"
    status = site.run("status", "--json").json
    assert (status["outcome"], status["live"]) == ("rolled-back", "old")
    runs = [run["label"] for run in status["runs"]]
    assert [label for label in runs if label.startswith("cutover")] == ["cutover-1"]
    site.write_manifest(limits={"watch": 1})
    site.run("rehearse")
    site.run("cutover", "--yes")
    assert site.version() == "2.0", "what was heeded is not heeded again"
