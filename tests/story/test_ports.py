"""A cutover and its rollback with one more port besides that for requests."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
from tests.testbed.echo import Echo
from tests.testbed.site import Site

from crossfade.model import Address
from crossfade.testing.free_ports import free_ports

Make = Callable[..., Site]


def who(at: Address) -> str:
    """Which side answers a new connection."""
    with socket.create_connection((at.host, at.port), 60) as raw:
        raw.sendall(b"who\n")
        answer = b""
        while not answer.endswith(b"\n"):
            got = raw.recv(100)
            assert got, "broken off"
            answer += got
    return answer.split()[0].decode()


@contextmanager
def users(at: Address) -> Iterator[list[str]]:
    """One that connects again and again; who answered, or what went wrong, in a row."""
    over, seen = threading.Event(), list[str]()

    def work() -> None:
        while not over.wait(0.01):
            try:
                seen.append(who(at))
            except (OSError, AssertionError) as error:
                seen.append(repr(error))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def broken(raw: socket.socket) -> bool:
    """Whether a connection was broken off."""
    raw.settimeout(10)
    try:
        return raw.recv(100) == b""
    except ConnectionResetError:
        return True


@contextmanager
def with_port(site: Site) -> Iterator[tuple[Address, Echo, Echo]]:
    """The site with one more port: where the gate listens, and who answers on each side."""
    (port,) = free_ports(1)
    at = Address("127.0.0.1", port)
    with Echo("old") as old, Echo("new") as new:
        ports = f"ports: [{{listen: '{at}', old: '{old.address}', new: '{new.address}'}}]"
        text = site.manifest.read_text(encoding="utf-8")
        listen = f"traffic: {{listen: '{site.gate}'"
        assert listen in text
        site.manifest.write_text(text.replace(listen, f"{listen}, {ports}"))
        yield at, old, new


def test_another_port_is_led_with_the_requests(make_site: Make) -> None:
    """Who connects goes to the side that serves, and waits in the pause; who was connected is
    broken off at the switch.  An address that is taken is told, and harms no request."""
    site = make_site()
    with with_port(site) as (at, _, new), ExitStack() as stack:
        with Echo("stranger", at.port):
            refused = site.run("gate", "start", ok=False)
        assert refused.code == 4
        for sentence in (
            "error: port-taken",
            f"The gate runs, but it cannot listen at {at}: ",
            f"now:  Requests at {site.gate} go where they went before.",
            f"next: ss -ltnp 'sport = :{at.port}'",
        ):
            assert sentence in refused.err, refused.err
        site.run("rehearse")
        early = stack.enter_context(socket.create_connection((at.host, at.port)))
        early.sendall(b"who\n")
        assert early.recv(100) == b"old who\n"
        with users(at) as seen:
            site.run("cutover", "--yes")
        names = [name for name in seen if name in ("old", "new")]
        assert names == sorted(names, reverse=True), "never old again after new"
        assert {"old", "new"} == set(names)
        assert len(names) >= len(seen) - 1, "only who is connected at the switch is broken off"
        assert broken(early)
        (stands,) = site.run("gate", "status", "--json").json["ports"]
        assert (stands["listen"], stands["new"]) == (str(at), str(new.address))
        assert (stands["open"], stands["failed"], stands["why"]) == (0, 0, "")


@pytest.mark.whole
def test_looked_at_before_and_led_back(make_site: Make) -> None:
    """The plan says what happens to the port, and refuses one that somebody has; a rehearsal needs
    none of it; a rollback leads it back."""
    site = make_site()
    with with_port(site) as (at, old, new), ExitStack() as stack:
        with Echo("stranger", at.port):
            problems = site.run("plan", "--json", ok=False).json["cutover"]["problems"]
            assert [problem["code"] for problem in problems] == ["port-taken"]
            assert "taken by pid" in problems[0]["observed"]
            site.run("rehearse")
        text = site.manifest.read_text(encoding="utf-8")
        site.manifest.write_text(text.replace(str(at), f"192.0.2.77:{at.port}"))
        refused = site.run("cutover", "--yes", ok=False)  # an address of another machine
        assert refused.code == 4
        assert "error: port-taken" in refused.err
        assert "assign requested address" in refused.err, refused.err
        site.manifest.write_text(text)
        site.run("gate", "start")
        planned = site.run("plan").out
        assert f"hold new connections at {at}" in planned
        assert f"point {at} at {new.address}; connections that are open there break" in planned
        site.run("cutover", "--yes")
        assert who(at) == "new"
        late = stack.enter_context(socket.create_connection((at.host, at.port)))
        site.run("rollback", "--yes", "--accept-loss")
        assert broken(late)
        assert who(at) == "old"
        old.close()
        told = site.run("doctor", ok=False)
        assert f"warning  the old side answers at {old.address}, for {at}: refused" in told.out
