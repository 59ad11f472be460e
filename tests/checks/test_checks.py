"""The checks against a real HTTP server and real commands; the python install for real."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.testbed.site import make_wheel

from crossfade.drivers.checks.command import CommandCheck
from crossfade.drivers.checks.http import HttpCheck, HttpQuestion
from crossfade.drivers.hosts.local import LocalHost
from crossfade.drivers.installs.python import PythonInstall
from crossfade.errors import Failed
from crossfade.model import Address
from crossfade.testing.free_ports import free_ports


@pytest.fixture(scope="module")
def address() -> Iterator[Address]:
    """A server that answers /json with a document and all else with 404."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path == "/json"
            body = json.dumps({"a": [{"b": "x", "n": 5, "yes": True}]}).encode()
            self.send_response(200 if found else 404)
            self.send_header("X-Seen", self.headers.get("Authorization", ""))
            self.end_headers()
            self.wfile.write(body if found else b"nothing here")

        def log_message(self, format: str, *args: Any) -> None:
            pass

    (port,) = free_ports(1)
    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Address("127.0.0.1", port)
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("question", "holds"),
    [
        (HttpQuestion("/json"), True),
        (HttpQuestion("/json", status=404), False),
        (HttpQuestion("/other", status=404, contains="nothing"), True),
        (HttpQuestion("/other"), False),
        (HttpQuestion("/json", contains="absent"), False),
        (HttpQuestion("/json", json="a.0.b"), True),
        (HttpQuestion("/json", json="a.1.b"), False),
        (HttpQuestion("/json", json="a.0.b", compares=True, equals="x"), True),
        (HttpQuestion("/json", json="a.0.b", compares=True, equals="y"), False),
        (HttpQuestion("/json", json="a.0.n", compares=True, equals=5), True),
        (HttpQuestion("/json", json="a.0.n", compares=True, equals="5"), False),
        (HttpQuestion("/json", json="a.0.yes", compares=True, equals=True), True),
        (HttpQuestion("/other", status=404, json="a"), False),
        (HttpQuestion("/other", status=404, compares=True, equals="nothing here"), True),
        (HttpQuestion("/other", status=404, compares=True, equals="nothing"), False),
    ],
)
def test_http(address: Address, question: HttpQuestion, holds: bool) -> None:
    """Status, text and JSON value are compared, types kept apart."""
    finding = HttpCheck("c", address, question).run()
    assert finding.holds is holds, finding
    assert str(address) in finding.source


def test_http_without_an_answer() -> None:
    """Nobody there makes a finding that does not hold, not an exception."""
    (port,) = free_ports(1)
    finding = HttpCheck("c", Address("127.0.0.1", port), HttpQuestion("/")).run()
    assert (finding.holds, finding.observed) == (False, "no answer: ConnectionRefusedError")


@pytest.mark.parametrize(
    ("given", "holds"),
    [
        ({"argv": ("true",)}, True),
        ({"argv": ("false",)}, False),
        ({"argv": ("false",), "status": 1}, True),
        ({"argv": ("echo", "1.2"), "equals": "1.2"}, True),
        ({"argv": ("echo", "1.3"), "equals": "1.2"}, False),
        ({"argv": ("echo", "one two"), "contains": "two"}, True),
        ({"argv": ("echo", "one two"), "contains": "three"}, False),
        ({"argv": ("/no/such/program",)}, False),
        ({"argv": ("sleep", "60"), "timeout": 0.2}, False),
    ],
)
def test_command(given: dict[str, Any], holds: bool) -> None:
    """Exit status and output are compared; a command that cannot run does not hold."""
    assert CommandCheck("c", LocalHost(), **given).run().holds is holds


def test_python_install(tmp_path: Path) -> None:
    """It installs, knows that it is done, replaces a broken try, and removes only its own."""
    wheel = make_wheel(tmp_path, "3.1")
    host, root = LocalHost(), tmp_path / "root"
    install = PythonInstall(host, root, [f"notes-app @ file://{wheel}"])
    assert (install.done(), install.fingerprint()) == (False, "")
    install.install()
    first = install.fingerprint()
    assert install.done()
    assert len(first) == 16
    asked = host.run((str(root / "bin/python"), "-c", "import notes; print(notes.VERSION)"))
    assert asked.out == b"3.1\n"

    (root / ".crossfade-installed").unlink()  # as after a crash in the middle
    (root / "half").touch()
    install.install()
    assert install.done()
    assert not (root / "half").exists()
    other = PythonInstall(host, root, [f"notes-app @ file://{make_wheel(tmp_path, '3.2')}"])
    assert not other.done(), "another version is not what was asked for"
    install.remove()
    assert not root.exists()

    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "precious").touch()
    blocked = PythonInstall(host, foreign, ["x"])
    with pytest.raises(Failed, match="not a virtual environment"):
        blocked.install()
    blocked.remove()
    assert (foreign / "precious").exists()


def test_python_install_of_nothing(tmp_path: Path) -> None:
    """A package that does not exist fails with what the installer said, and is not done."""
    install = PythonInstall(
        LocalHost(), tmp_path / "r", [f"x @ file://{tmp_path}/x-1-py3-none-any.whl"]
    )
    with pytest.raises(Failed) as caught:
        install.install()
    assert caught.value.code == "command-failed"
    assert not install.done()
