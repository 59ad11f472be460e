"""Sessions whose server, or the network to it, says nothing any more."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
from collections.abc import Iterator
from typing import Any, TypeAlias

import psycopg
from psycopg import pq

__all__ = ["Conn", "bounded", "give_up_after", "hung_up"]

Conn: TypeAlias = "psycopg.Connection[tuple[Any, ...]]"


def give_up_after(conn: Conn, seconds: float) -> None:
    """Let a session end by itself when the network swallows what we send."""
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    with contextlib.suppress(OSError), socket.socket(fileno=conn.fileno()) as ours:
        try:
            if option is not None and ours.family != socket.AF_UNIX:
                ours.setsockopt(socket.IPPROTO_TCP, option, int(seconds * 1000))
        finally:
            ours.detach()


@contextlib.contextmanager
def bounded(seconds: float, *conns: Conn) -> Iterator[None]:
    """Break sessions off that are still in use after ``seconds``.

    A network that swallows what comes back would let us wait for ever, whatever TCP is told."""

    def break_off() -> None:
        for conn in conns:
            with contextlib.suppress(OSError, psycopg.Error):
                ours = socket.socket(fileno=os.dup(conn.fileno()))
                with ours:
                    ours.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, break_off)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


def hung_up(conn: Conn) -> bool:
    """Whether the server has something to say to a session that has asked nothing: that it ends."""
    if conn.info.transaction_status != pq.TransactionStatus.IDLE:
        return False
    poll = select.poll()
    poll.register(conn.fileno(), select.POLLIN)
    if not poll.poll(0):
        return False
    conn.close()
    return True
