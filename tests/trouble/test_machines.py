"""Trouble with the machines below the databases: the disk, the clock, the network."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.testbed.servers import FOLLOWED, KINDS, Pair, debians
from tests.testbed.site import Site, site_at
from tests.testbed.wire import Wire
from tests.trouble.test_on_servers import (
    AFTER_COPY,
    bulk,
    done_after_all,
    loaded,
    old_serves,
    run,
)

from crossfade.testing.servers import MariadbServer, PostgresServer

Make = Callable[..., Site]

LIBRARY = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 400 MB that every account reaches."""
    at = Path(f"/tmp/{tmp_path.parent.name}-{os.getpid()}-disk")
    at.mkdir()
    argv = ("mount", "-t", "tmpfs", "-o", "size=400m,mode=0755", "tmpfs", str(at))
    subprocess.run(argv, check=True)
    yield at
    subprocess.run(("umount", "--lazy", str(at)), check=True)
    at.rmdir()


def server(kind: str, directory: Path, **environment: str) -> Any:
    """A server whose changes can be followed, with words added to its environment."""
    base: Any = PostgresServer if kind == "postgres" else MariadbServer

    class Changed(base):  # type: ignore[misc]
        def environment(self) -> dict[str, str]:
            return {**super().environment(), **environment}

    given = {"major": debians()} if kind == "postgres" else {}
    return Changed(directory, settings=FOLLOWED[kind], **given)


@pytest.mark.one_kind
@pytest.mark.parametrize("kind", KINDS)
def test_new_servers_disk_full_while_loading(small_disk: Path, tmp_path: Path, kind: str) -> None:
    """The copy ends with the server's own words, the old side serves, and with room it works."""
    with (
        server(kind, tmp_path / "a") as old,
        server(kind, small_disk / "b") as new,
        site_at(tmp_path / "site", database=kind, pair=Pair(kind, old, new)) as site,
    ):
        site.run("rehearse")
        bulk(site)
        free = os.statvfs(small_disk)
        ballast = small_disk / "ballast"
        with ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_frsize - 40 * 1024**2)
        with loaded(site):
            result = run(site, {}, "rehearse")
            old_serves(site)
        assert result.code in (5, 6), result.err
        for sentence in ("  × ", "  now:  ", "  next: crossfade "):
            assert sentence in result.err, result.err
        assert "space" in result.err or "full" in result.err, result.err
        ballast.unlink()
        new.start()  # without room for its log a server of PostgreSQL ends
        site.run("doctor", "--fix")
        done_after_all(site)


@pytest.mark.one_kind
@pytest.mark.parametrize("kind", KINDS)
def test_clocks_that_differ(tmp_path: Path, kind: str) -> None:
    """The new server's clock is two hours ahead: nobody compares times of different machines."""
    ahead = {"LD_PRELOAD": str(LIBRARY), "FAKETIME": "+2h", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    with (
        server(kind, tmp_path / "a") as old,
        server(kind, tmp_path / "b", **ahead) as new,
        site_at(tmp_path / "site", database=kind, pair=Pair(kind, old, new)) as site,
    ):
        query = "select extract(epoch from now())" if kind == "postgres" else "select now() + 0"
        hours = (float(new.sql(query)[0][0]) - float(old.sql(query)[0][0])) / 3600
        assert hours > 1
        with loaded(site):
            site.run("rehearse")
            site.run("cutover", "--yes")
            assert site.version() == "2.0"
            site.run("rollback", "--yes")
            assert site.version() == "1.0"


@pytest.mark.whole
def test_network_cut_for_long(make_site: Make) -> None:
    """Longer than any time-out of the servers' or of ours: the feed goes on where it was."""
    seconds = 300  # a minute is what servers wait for each other
    sites = [make_site(database=kind) for kind in KINDS]
    results: list[tuple[int, str]] = []

    def upgrade(site: Site) -> None:
        with Wire(site.between()) as wire:
            site.go_through(wire.address)
            site.run("rehearse")

            def cut() -> None:
                wire.cut()
                time.sleep(seconds)
                wire.mend()

            with loaded(site):
                result = run(site, {AFTER_COPY: cut}, "cutover", "--yes", deeds_take=seconds)
            results.append((result.code, result.err))
            assert site.version() == "2.0", result.err

    threads = [threading.Thread(target=upgrade, args=(site,)) for site in sites]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [code for code, _ in results] == [0, 0], results
