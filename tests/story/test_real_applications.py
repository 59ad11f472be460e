"""The whole story with real applications, from one place to another, under their own client.

They take minutes, so only ``make test-whole`` runs them (``conftest.py``)."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import cast

import pytest
from tests.story.test_containers import listed
from tests.story.test_machines import unlisted
from tests.testbed.engine import Engine
from tests.testbed.machines import Machine, added, leavings, machine
from tests.testbed.real import RealSite, Where, app_image, real_site_at
from tests.testbed.steady import Steady, steady

from crossfade.demo.load import Load
from crossfade.demo.mlflow import Mlflow
from crossfade.demo.subject import Client, Subject
from crossfade.demo.synapse import Synapse
from crossfade.model import Side

pytestmark = [pytest.mark.synapse, pytest.mark.timeout(1800)]

_LOG = logging.getLogger(__name__)
_RATE = 50
"""Requests a second, those of the demo's own client among them."""

STORIES = (
    "synapse here machine",
    "synapse machine machine",
    "synapse machine container",
    "mlflow container container",
    "mlflow compose compose",
)


@pytest.fixture(params=STORIES)
def site(request: pytest.FixtureRequest, engine: Engine, tmp_path: Path) -> Iterator[RealSite]:
    """An application at its old version, with data, and where it goes."""
    application, *places = request.param.split()
    subject: Subject = Synapse(rate=20) if application == "synapse" else Mlflow()
    with ExitStack() as stack:
        where: list[Where] = []
        for place in places:
            if place == "machine":
                image = app_image(engine, subject, Side.OLD)
                made = stack.enter_context(machine(engine, tmp_path / "m", image=image))
                where.append(made)
            else:
                where.append(cast("Where", place))
        yield stack.enter_context(real_site_at(tmp_path / "site", subject, engine, *where))


def only_writes(client: Client) -> Client:
    """Who reads nothing back: what is written before a rollback may stay behind."""
    client.acts = [act for act in client.acts if not act.__name__.startswith("_read")]
    return client


def test_forward_back_and_forward_again(site: RealSite) -> None:
    """Rehearse, cut over, roll back, cut over again, retire: no request fails, every write that was
    acknowledged is read back, and nothing stands that the report does not list."""
    subject, before = site.subject, (on_machines(site), site.standing())

    def load(number: int, client: Client) -> Load:
        return Load(site.gate, client, subject.rate, first=100_000 * number)

    def more(number: int) -> AbstractContextManager[Steady]:
        rate = _RATE - subject.rate
        return steady(site.gate, subject, rate, first=1_000_000 * number)

    with more(1) as others, load(1, subject.client()) as first:
        site.run("rehearse", timeout=900)
        site.run("cutover", "--yes", timeout=900)
        assert live(site) == "new"
    whole(first, others)
    with load(2, only_writes(subject.client())) as second:
        site.run("rollback", "--yes", "--accept-loss", timeout=900)
        assert live(site) == "old"
    assert second.failures == [], "\n".join(second.failures)
    assert second.client.acknowledged - second.found() <= exported(site)
    as_listed(site, *before)
    with more(3) as others, load(3, subject.client()) as third:
        site.run("cutover", "--yes", timeout=900)
        assert live(site) == "new"
    whole(third, others)
    site.run("retire", "--yes", timeout=900)
    assert live(site) == "new"
    as_listed(site, *before)


def exported(site: RealSite) -> int:
    """Rows that stayed behind, as the rollback kept them."""
    kept = (site.directory / "state").rglob("left-behind/*/*.jsonl")
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in kept)


def on_machines(site: RealSite) -> dict[Side, dict[str, set[str]]]:
    """What is on the sides' machines, but for what the old side itself has written."""
    found = {side: leavings(one) for side, one in site.where.items() if isinstance(one, Machine)}
    for kinds in found.values():
        kinds["files"] = {f for f in kinds["files"] if f"{site.home}/old/" not in f}
    return found


def as_listed(
    site: RealSite,
    machines: Mapping[Side, Mapping[str, set[str]]],
    engine: Mapping[str, set[str]],
) -> None:
    """After a rollback and a retirement nothing has come to the old machine, and to the new one and
    the engine just that which the report lists."""
    stands = site.run("report", "--json").json["stands"]
    for side, now in on_machines(site).items():
        machine, came = site.where[side], added(machines[side], now)
        assert isinstance(machine, Machine)
        if side is Side.NEW and live(site) == "new":
            came.pop("processes", None)
        assert unlisted(came, machine, stands if side is Side.NEW else []) == {}
    assert listed(site) == {kind: now - engine[kind] for kind, now in site.standing().items()}


def live(site: RealSite) -> str:
    """Who serves, as ``status`` says."""
    return str(site.run("status", "--json").json["live"])


def whole(load: Load, others: Steady) -> None:
    """Nothing failed and nothing is lost."""
    acknowledged = load.client.acknowledged
    total, written = load.total + others.sent, acknowledged + len(others.written)
    _LOG.info("%d requests, %d writes, longest gap %.2f s", total, written, load.longest_gap)
    assert load.failures + others.failures == [], "\n".join(load.failures + others.failures)
    assert load.found() == acknowledged > 50
    assert others.lost() == []
