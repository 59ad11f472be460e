"""Asking an application through its web server, to see which way a request goes."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import ssl
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

from crossfade.model import Address

__all__ = ["ask"]

_SECONDS = 10.0


def ask(url: str, at: Address | None, token: str) -> int | str:
    """GET the URL on a connection of its own, with the token in its head.  Returns the status, or
    in words why there was no answer.

    ``at`` is connected to in place of what the URL's name leads to.  The certificate is not
    verified: what is asked is no secret, and only which way it goes matters."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    target = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
    connection = HTTPConnection(host, port, timeout=_SECONDS)
    if parts.scheme == "https":
        connection = HTTPSConnection(host, port, timeout=_SECONDS)
    try:
        raw = socket.create_connection((at.host, at.port) if at else (host, port), _SECONDS)
        if parts.scheme == "https":
            raw = _unverified().wrap_socket(raw, server_hostname=_name(host))
        connection.sock = raw
        head = {"X-Crossfade-Token": token, "Connection": "close", "User-Agent": "crossfade"}
        connection.request("GET", target, headers=head)
        return connection.getresponse().status
    except (OSError, HTTPException) as error:
        return (
            f"no answer: {getattr(error, 'strerror', None) or str(error) or type(error).__name__}"
        )
    finally:
        connection.close()


def _unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _name(host: str) -> str | None:
    """The server's name in the handshake; an IP address is none."""
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(host)
        return None
    return host
