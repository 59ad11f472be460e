"""Sessions that were opened before the pause: as good as new ones, or left out."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from tests.postgres.feeding import until

from crossfade.drivers.databases.postgres import spare
from crossfade.drivers.databases.postgres.connect import Conn, connect, fetch, one
from crossfade.drivers.databases.postgres.living import living
from crossfade.model import Endpoint
from crossfade.testing.servers import PostgresServer

_numbers = count()
_OURS = (
    "select pid from pg_catalog.pg_stat_activity"
    " where application_name like 'crossfade%%' and datname = %s"
)


@pytest.fixture
def endpoint(server_of: Callable[..., PostgresServer]) -> Endpoint:
    """A database."""
    return server_of(15).create(f"spare {next(_numbers)}", user="spare")


def pid(conn: Conn) -> int:
    """Which session it is, for the server."""
    return conn.info.backend_pid


def ours(admin: Conn, endpoint: Endpoint) -> set[int]:
    """Crossfade's sessions in a database."""
    return {row[0] for row in fetch(admin, _OURS, (endpoint.database,))}


def test_they_are_used_up_and_then_new_ones_are_made(endpoint: Endpoint, tmp_path: Path) -> None:
    """Each for one user, with the name, settings and mode that were asked for."""
    kept = living(tmp_path)
    kept.ready(endpoint, 2)
    with connect(endpoint, database="postgres") as admin:
        known = ours(admin, endpoint)
        assert len(known) == 2
        with (
            connect(endpoint, application_name="crossfade x", settings={"work_mem": "1MB"}) as a,
            connect(endpoint, autocommit=False) as b,
            connect(endpoint) as c,
        ):
            assert {pid(a), pid(b)} == known
            assert pid(c) not in known
            assert one(a, "show application_name") == "crossfade x"
            assert one(a, "show work_mem") == "1MB"
            assert (a.autocommit, b.autocommit) == (True, False)
            assert one(b, "show search_path") == one(c, "show search_path")
    kept.close()


def test_a_broken_one_is_left_out(endpoint: Endpoint, tmp_path: Path) -> None:
    """The server has ended it; and closing ends the rest."""
    kept = living(tmp_path)
    kept.ready(endpoint, 2)
    with connect(endpoint, database="postgres") as admin:
        known = ours(admin, endpoint)
        fetch(admin, "select pg_terminate_backend(%s)", (max(known),))
        until(lambda: ours(admin, endpoint) == {min(known)})
        with connect(endpoint) as conn:
            assert pid(conn) == min(known)
            assert one(conn, "select 1") == 1
        kept.ready(endpoint, 2)
        kept.close()
        until(lambda: not ours(admin, endpoint))
        assert spare.take(endpoint) is None


def test_a_full_server_keeps_its_places(endpoint: Endpoint, tmp_path: Path) -> None:
    """A quarter of what is free, at the most."""
    kept = living(tmp_path)
    with connect(endpoint, database="postgres") as admin:
        free = int(one(admin, "show max_connections"))
        kept.ready(endpoint, free)
        assert 1 < len(ours(admin, endpoint)) <= free // 4
    kept.close()
