"""Real applications behind what stands in front of them: three cutovers in a row, under load.

They take minutes, so only ``make test-whole`` runs them (``conftest.py``)."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
import yaml
from tests.dns.site import zone_servers
from tests.haproxy.scratch import Proxy
from tests.story.test_real_applications import exported, live, only_writes
from tests.testbed.downloads import Downloads, keep_big
from tests.testbed.engine import Engine
from tests.testbed.fronts import KINDS, web_server
from tests.testbed.machines import machine
from tests.testbed.nameservers import Bind, Knot
from tests.testbed.real import RealSite, Where, app_image
from tests.testbed.steady import steady

from crossfade.demo.load import Load
from crossfade.demo.mlflow import Mlflow
from crossfade.demo.subject import Client, Subject
from crossfade.demo.synapse import Synapse
from crossfade.model import Address, Side

pytestmark = [pytest.mark.synapse, pytest.mark.timeout(1800)]

_LOG = logging.getLogger(__name__)
_ROUNDS = 3
_RATE = 200
"""Requests a second, those of the demo's own client among them."""
_FRONTS = ("haproxy", *KINDS, "redirect", "redirect-behind-apache", "dns")
_THREADS = 8000
"""Of one process of Apache: each request has one, from the hold until the queue is empty again."""
Fronted = tuple[RealSite, Address, str]


@pytest.fixture(params=[f"{app} {kind}" for app in ("synapse", "mlflow") for kind in _FRONTS])
def fronted(request: pytest.FixtureRequest, engine: Engine, tmp_path: Path) -> Iterator[Fronted]:
    """An application at its old version, with what leads users to it, and where they come."""
    application, kind = request.param.split()
    subject: Subject = Synapse(rate=20) if application == "synapse" else Mlflow()
    with ExitStack() as stack:
        places: tuple[Where, Where] = "container", "container"
        if application == "synapse":
            image = app_image(engine, subject, Side.OLD)
            places = "here", stack.enter_context(machine(engine, tmp_path / "m", image=image))
        site = stack.enter_context(closing(RealSite(tmp_path / "site", subject, engine, *places)))
        site.workers = 4  # as MLflow has them: a long download takes up one of them
        if application == "mlflow":
            site.new_workers = "2"  # one cannot answer 200 requests a second
        yield site, _stand_before(site, kind, tmp_path, stack), kind


def _stand_before(site: RealSite, kind: str, directory: Path, stack: ExitStack) -> Address:
    """Start it all; the address that users come to."""
    if kind == "haproxy":
        proxy = Proxy(directory, site.old, listen=site.gate)
        stack.callback(proxy.close)
        stack.callback(_let_go, site)
        site.traffic |= {
            "driver": "haproxy",
            "backend": "notes",
            "config": str(proxy.config),
            "socket": str(proxy.socket),
            "place": str(proxy.place),
            "reload": ["sh", "-c", f"kill -USR2 {proxy.process.pid}"],
        }
        site.start()
        return site.gate
    if kind.startswith("redirect"):
        # Users come to 127.0.0.1: MLflow 3 answers 403 where it is called by another name.
        users, site.old = site.old, Address("127.0.0.5", site.old.port)
        site.everywhere = True
        site.traffic["front"] = {"redirect": str(users), "url": f"http://{users}/health"}
        stack.callback(_out_of_the_way, site)
        site.start()
        if kind == "redirect":
            return users
        left_alone = web_server("apache", directory / "apache", users, _THREADS)
        return stack.enter_context(left_alone).address
    if kind == "dns":
        servers, dns = zone_servers(directory, (Bind, Knot), ttl=2)
        for name_server in servers:
            stack.callback(name_server.stop)
            name_server.start()
        (site.directory / "key").write_text(f"{servers[0].key}\n", encoding="ascii")
        site.traffic["dns"] = dns
        # The clients here ask for the address: MLflow 3 answers 403 to the name, as is found.
        site.traffic["names"] = []
        site.start()
        return site.gate
    site.start()
    server = stack.enter_context(web_server(kind, directory / kind, site.old, _THREADS))
    site.traffic["front"] = yaml.safe_load(server.manifest)
    site.write_manifest(site.subject.checks(site.directory))
    site.run("gate", "install", "--yes")  # its reload at a quiet hour, as the plan says
    return server.address


def _let_go(site: RealSite) -> None:
    """The site ends a gate of its own, but no HAProxy."""
    site.traffic = {"listen": str(site.gate)}
    site.write_manifest([])


def _out_of_the_way(site: RealSite) -> None:
    """Nothing stays in this machine's kernel: it has to, while users reach the new side by it."""
    site.run("rollback", "--yes", "--accept-loss", ok=False)
    site.run("gate", "remove", "--yes")


def test_three_in_a_row(fronted: Fronted) -> None:
    """Cut over, back, and again: no request fails, the old side serves nobody after the drain, no
    acknowledged write is lost, and every long download comes whole: one is in flight at every
    moment."""
    site, users, kind = fronted
    subject = site.subject
    big = keep_big(subject, site.old)
    site.run("rehearse", timeout=900)
    for number in range(_ROUNDS):

        def load(client: Client, first: int) -> Load:
            return Load(users, client, subject.rate, first=first)

        downloads = Downloads(users, *big)
        more = steady(users, subject, _RATE - subject.rate, first=1_000_000 * number)
        with downloads, more as most, load(subject.client(), 200_000 * number) as there:
            site.run("cutover", "--yes", timeout=900)
            assert live(site) == "new"
        failures = there.failures + most.failures
        _LOG.warning(
            *("%s, %d: %d requests, %d written, %d failed, %d downloads, longest gap %.2f s",),
            *(kind, number, there.total + most.sent, there.client.acknowledged + len(most.written)),
            *(len(failures), downloads.came, there.longest_gap),
        )
        assert downloads.failures == []
        assert downloads.came > 2
        assert failures == []
        state = site.wired().traffic.look()
        assert state is not None
        assert state.served_after_drain == 0
        assert there.found() == there.client.acknowledged > 50
        assert most.lost() == []
        assert len(most.written) > 1000
        if number + 1 < _ROUNDS:
            with load(only_writes(subject.client()), 200_000 * number + 100_000) as back:
                site.run("rollback", "--yes", "--accept-loss", timeout=900)
                assert live(site) == "old"
            assert back.failures == []
            assert back.client.acknowledged - back.found() <= exported(site)
