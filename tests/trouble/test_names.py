"""A new version that answers at its address, but not under the name that users ask for."""

from __future__ import annotations

import http.client
from collections.abc import Callable

from tests.testbed.site import Site

NAME = "notes.example.org"


def ask(site: Site) -> int:
    """A user's request by the gate."""
    connection = http.client.HTTPConnection(site.gate.host, site.gate.port, timeout=10)
    try:
        connection.request("GET", "/version", headers={"Host": NAME})
        return connection.getresponse().status
    finally:
        connection.close()


def test_refused_before_any_cutover(make_site: Callable[..., Site]) -> None:
    """The gate has seen the name, so the rehearsal ends with it; the old side serves.  Whoever
    knows that the application is asked otherwise says so."""
    site = make_site(broken="names")
    assert site.run("rehearse").code == 0, "nobody has asked for a name yet"
    assert ask(site) == 200
    refused = site.run("rehearse", ok=False)
    assert (refused.code, "error: name-refused" in refused.err) == (5, True), refused.err
    assert f"/version as {NAME}: status 403" in refused.err
    assert "The old side (1.0) serves" in refused.err
    assert "next: crossfade rehearse   (first allow the name" in refused.err
    assert (site.version(), ask(site)) == ("1.0", 200)
    text = site.manifest.read_text(encoding="utf-8")
    site.manifest.write_text(text.replace("traffic: {", "traffic: {names: [], ", 1))
    site.run("rehearse")
