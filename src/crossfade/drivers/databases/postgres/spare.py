"""Sessions opened before the pause: in it, each new one would take a hundredth of a second.

``connect`` gives them out, each to one user, who closes it.
"""

from __future__ import annotations

import contextlib
import threading

import psycopg

from crossfade.drivers.databases.postgres.silence import Conn, hung_up
from crossfade.model import Endpoint

__all__ = ["drop", "keep", "take"]

_kept: dict[str, list[Conn]] = {}
_lock = threading.Lock()


def keep(endpoint: Endpoint, conns: list[Conn]) -> None:
    """Have these sessions of our administrator, as they began, ready for whoever connects."""
    with _lock:
        _kept.setdefault(_key(endpoint), []).extend(conns)


def take(endpoint: Endpoint) -> Conn | None:
    """One of them that is not known to be broken; None when there is none."""
    while True:
        with _lock:
            conns = _kept.get(_key(endpoint))
            conn = conns.pop() if conns else None
        if conn is None or not (conn.closed or conn.broken or hung_up(conn)):
            return conn


def drop(endpoint: Endpoint) -> None:
    """Close those that are left."""
    with _lock:
        conns = _kept.pop(_key(endpoint), [])
    for conn in conns:
        with contextlib.suppress(psycopg.Error):
            conn.close()


def _key(endpoint: Endpoint) -> str:
    return f"{endpoint.address} {endpoint.admin} {endpoint.database}"
