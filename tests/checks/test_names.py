"""Asking under names: what is refused to users although it is answered at the address."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from crossfade.drivers.checks.command import CommandCheck
from crossfade.drivers.checks.http import HttpCheck, HttpQuestion
from crossfade.drivers.checks.names import NamesCheck
from crossfade.drivers.hosts.local import LocalHost
from crossfade.model import Address
from crossfade.ports import Check
from crossfade.testing.free_ports import free_ports


@contextmanager
def answers_to(*known: str) -> Iterator[Address]:
    """A server that answers 403 to other names than its address and these."""
    (port,) = free_ports(1)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(
                200 if self.headers["Host"] in {f"127.0.0.1:{port}", *known} else 403
            )
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Address("127.0.0.1", port)
        server.shutdown()
        thread.join()


def asked(address: Address, **headers: str) -> list[Check]:
    """The checks of one side."""
    command = CommandCheck("a command", LocalHost(), ("true",))
    return [command, HttpCheck("a page", address, HttpQuestion("/page?x=1", headers=headers))]


@pytest.mark.parametrize(
    ("old", "new", "holds"),
    [
        (("a.example",), (), False),
        (("a.example",), ("a.example",), True),
        ((), (), True),  # nobody is answered under it now either
    ],
)
def test_refused(old: tuple[str, ...], new: tuple[str, ...], holds: bool) -> None:
    """Only what the old side answers counts; the path and the name are said."""
    with ExitStack() as stack:
        one, two = (stack.enter_context(answers_to(*names)) for names in (old, new))
        found = NamesCheck(lambda: ["a.example"], asked(one), asked(two)).run()
        assert found.holds is holds
        if not holds:
            assert found.observed == f"GET {two}/page as a.example: status 403"


def test_not_asked() -> None:
    """Nothing is said of a check that fails anyway, or that asks for a name itself; and without a
    name nobody is asked."""
    with answers_to("a.example") as one, answers_to() as two:
        names = ["a.example"]
        fails = [HttpCheck("a page", two, HttpQuestion("/", status=404))]
        expects = [HttpCheck("a page", one, HttpQuestion("/"))]
        assert NamesCheck(lambda: names, expects, fails).run().holds
        named = asked(two, host="b.example")
        assert NamesCheck(lambda: names, asked(one, host="b.example"), named).run().holds
        assert NamesCheck(lambda: [], asked(one), asked(two)).run().holds
