"""What must hold of the web server before the gate, beyond the schema."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from crossfade.manifest._secrets import holds_userinfo
from crossfade.manifest._spec import FrontSpec
from crossfade.model import Address
from crossfade.recipes._yaml import Document, Keys

__all__ = ["front_complaints", "front_spec"]

_FRONTS = ("nginx", "apache", "caddy", "traefik", "redirect")
"""The kinds of web server, each the key of its configuration file; or none, and the address."""
_FRONT: Keys = ("traffic", "front")
_LISTEN: Keys = ("traffic", "listen")


def front_spec(data: Mapping[str, Any], base: Path) -> FrontSpec:
    """The values; what does not hold is complained about by ``front_complaints``."""
    kind = next((kind for kind in _FRONTS if kind in data), "")
    at = _address(data.get("at", ""))
    public = _address(data.get("redirect", ""))
    return FrontSpec(
        driver=kind,
        file=Path(os.path.normpath(base / data.get(kind, ""))) if not public else Path(str(public)),
        url=data["url"],
        at=at,
        check=tuple(data.get("check", ())),
        reload=tuple(data.get("reload", ())),
        public=public,
    )


def _address(text: str) -> Address | None:
    with suppress(ValueError):
        return Address.parse(text)
    return None


def front_complaints(document: Document) -> Iterator[tuple[Keys, str]]:
    """Key and text of everything that is wrong."""
    data: Any = document.data
    traffic = data["traffic"]
    front = traffic.get("front")
    if front is None:
        return
    if traffic.get("driver", "gateway") != "gateway":
        yield _FRONT, "is for the built-in gate (traffic.driver: gateway)"
    kinds = [kind for kind in _FRONTS if kind in front]
    if len(kinds) != 1:
        text = f"must have exactly one of {', '.join(_FRONTS)}: its configuration file"
        yield _FRONT, f"{text}, or the application's address"
    elif kinds == ["redirect"]:
        yield from _redirect_complaints(front, traffic["listen"])
    if not _is_url(front["url"]):
        yield (
            (*_FRONT, "url"),
            "must be http:// or https:// with a host, such as https://a.example/",
        )
    elif holds_userinfo(front["url"]):
        yield (*_FRONT, "url"), "must have no user and no password in it"
    try:
        Address.parse(front.get("at", "a:1"))
    except ValueError:
        yield (*_FRONT, "at"), "must be host:port with a port from 1 to 65535"


def _redirect_complaints(front: Any, listen: str) -> Iterator[tuple[Keys, str]]:
    """Redirected connections come in at the machine's own addresses, at the gate's port."""
    try:
        public = Address.parse(front["redirect"])
        host = ip_address(public.host)
    except ValueError:
        yield (*_FRONT, "redirect"), "must be an IP address with a port, such as 0.0.0.0:8000"
        return
    for key in ("check", "reload"):
        if key in front:
            yield (*_FRONT, key), "is for a web server, and a redirect is none"
    gate = _address(listen)
    if gate is None:
        return
    if gate.port == public.port:
        yield _LISTEN, "must have another port than the one that is redirected"
    everywhere = "[::]" if host.version == 6 else "0.0.0.0"  # noqa: S104 - told, not bound
    if not host.is_loopback and gate.host not in (everywhere.strip("[]"), "::"):
        yield _LISTEN, f"must be {everywhere}:{gate.port}, where redirected connections come in"


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False
