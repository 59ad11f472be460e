"""The web server before the gate, as the manifest says it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.manifest.scratch import MANIFEST, changed, complaints, write

from crossfade.manifest import FrontSpec, TlsSpec, load
from crossfade.model import Address, Side

LISTEN = "  listen: 127.0.0.1:8000\n"


def fronted(front: str, more: str = "") -> str:
    """A manifest with this front."""
    return changed(LISTEN, f"{LISTEN}{more}  front: {front}\n")


def test_whole(tmp_path: Path) -> None:
    """Every key arrives; the file counts from the manifest's directory."""
    front = (
        "{caddy: etc/Caddyfile, url: 'https://a.example:444/h', at: '[::1]:444', "
        "check: [caddy, validate], reload: [systemctl, reload, caddy]}"
    )
    assert load(write(tmp_path, fronted(front))).traffic.front == FrontSpec(
        "caddy",
        tmp_path / "etc" / "Caddyfile",
        "https://a.example:444/h",
        Address("::1", 444),
        ("caddy", "validate"),
        ("systemctl", "reload", "caddy"),
    )
    assert load(write(tmp_path, MANIFEST)).traffic.front is None


def test_without_a_server(tmp_path: Path) -> None:
    """The address that is redirected, and TLS at the gate; its files count from the manifest."""
    tls = "  tls: {certificate: etc/c, key: /k, new: plain, trust: t, name: a.example}\n"
    front = "{redirect: '127.0.0.5:80', url: 'https://127.0.0.5:80/'}"
    traffic = load(write(tmp_path, fronted(front, tls))).traffic
    assert traffic.front
    assert (traffic.front.driver, traffic.front.public) == ("redirect", Address("127.0.0.5", 80))
    assert traffic.tls == TlsSpec(
        tmp_path / "etc" / "c", Path("/k"), (Side.OLD,), tmp_path / "t", "a.example"
    )


@pytest.mark.parametrize(
    ("front", "more", "expected"),
    [
        ("{nginx: /a}", "", "traffic.front.url: is missing"),
        (
            "{url: 'http://a/'}",
            "",
            "traffic.front: must have exactly one of nginx, apache, caddy, traefik",
        ),
        (
            "{nginx: /a, caddy: /b, url: 'http://a/'}",
            "",
            "traffic.front: must have exactly one of nginx, apache, caddy, traefik",
        ),
        ("{nginx: /a, url: a.example}", "", "traffic.front.url: must be http:// or https://"),
        ("{nginx: /a, url: 'http://a:x/'}", "", "traffic.front.url: must be http:// or https://"),
        ("{nginx: /a, url: 'http://a:b@c/'}", "", "traffic.front.url: must have no user and no"),
        ("{nginx: /a, url: 'http://a/', at: a}", "", "traffic.front.at: must be host:port"),
        ("{nginx: /a, url: 'http://a/', chek: [a]}", "", "traffic.front.chek"),
        ("{redirect: 'a:8000', url: 'http://a/'}", "", "traffic.front.redirect: must be an IP"),
        ("{redirect: '0.0.0.0:1', url: 'http://a/'}", "", "traffic.listen: must be 0.0.0.0:8000"),
        ("{redirect: '[::]:1', url: 'http://a/'}", "", "traffic.listen: must be [::]:8000"),
        (
            "{redirect: '127.0.0.5:8000', url: 'http://a/'}",
            "",
            "traffic.listen: must have another port",
        ),
        (
            "{redirect: '127.0.0.5:1', url: 'http://a/', reload: [x]}",
            "",
            "traffic.front.reload: is for a web server",
        ),
        (
            "{nginx: /a, url: 'http://a/'}",
            "  tls: {certificate: /c, key: /k}\n",
            "traffic.tls: is for a gate that no web server stands before",
        ),
        (
            "{redirect: '127.0.0.5:1', url: 'http://a/'}",
            "  tls: {certificate: /c, key: /k, trust: /t}\n",
            "traffic.tls.trust: needs name as well",
        ),
        (
            "{nginx: /a, url: 'http://a/'}",
            "  driver: haproxy\n",
            "traffic.front: is for the built-in gate",
        ),
    ],
)
def test_complaint(tmp_path: Path, front: str, more: str, expected: str) -> None:
    """What does not hold is named by its key."""
    assert expected in complaints(tmp_path, fronted(front, more)).where
