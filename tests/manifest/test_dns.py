"""Names in the DNS: what the manifest says of them, and what it must not say."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml
from tests.manifest.scratch import MANIFEST, changed, complaints, write

from crossfade.manifest import SCHEMA, NameSpec, load

DNS = """\
traffic:
  dns:
    driver: rfc2136
    zone: Example.org.
    server: 192.0.2.53
    key: {name: wiki-key, secret: "file:tsig"}
    ttl: 30
    stragglers: 2d
    names:
      - {name: Wiki.example.org, old: 192.0.2.10, new: [192.0.2.21, 192.0.2.20]}
      - {name: wiki.example.org, type: AAAA, old: "2001:DB8::0:10", new: "2001:db8::20"}
      - {name: www.example.org, type: CNAME, old: Old.example.org., new: new.example.org}
"""
TEXT = changed("traffic:\n", DNS)


def test_values(tmp_path: Path) -> None:
    """Names and values in their one form; seconds; and what the driver reads, as written."""
    dns = load(write(tmp_path, TEXT)).traffic.dns
    assert dns is not None
    assert (dns.driver, dns.zone, dns.ttl, dns.patience) == ("rfc2136", "example.org", 30, 300)
    assert dns.stragglers == 2 * 86400
    assert dns.names == (
        NameSpec("wiki.example.org", "A", ("192.0.2.10",), ("192.0.2.20", "192.0.2.21")),
        NameSpec("wiki.example.org", "AAAA", ("2001:db8::10",), ("2001:db8::20",)),
        NameSpec("www.example.org", "CNAME", ("old.example.org",), ("new.example.org",)),
    )
    assert dns.options == {
        "server": "192.0.2.53",
        "key": {"name": "wiki-key", "secret": "file:tsig"},
    }
    assert load(write(tmp_path, MANIFEST)).traffic.dns is None


def test_schema_agrees() -> None:
    """What we accept, editors accept."""
    jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text())).validate(yaml.safe_load(TEXT))


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("    server: 192.0.2.53\n", "", "traffic.dns.driver: rfc2136 needs server"),
        ("driver: rfc2136", "driver: powerdns", "traffic.dns.key: is not for powerdns"),
        ("driver: rfc2136", "driver: powerdns", "traffic.dns.driver: powerdns needs api_key"),
        ("driver: rfc2136", "driver: lexicon", "names.0.new: must be one value"),
        ("file:tsig", "bm90IGEgc2VjcmV0", "traffic.dns.key.secret: must be a reference"),
        ("ttl: 30", "ttl: 0", "traffic.dns.ttl"),
        ("stragglers: 2d", "stragglers: 2 days", "traffic.dns.stragglers"),
        ("Wiki.example.org,", "wiki.example.net,", "names.0.name: is not in the zone example.org"),
        ("type: AAAA, ", "", "names.1.name: is traffic.dns.names.0 too"),
        ("192.0.2.10,", "192.0.2.300,", "names.0.old: is not an IPv4 address"),
        ('"2001:db8::20"', "192.0.2.20", "names.1.new: is not an IPv6 address"),
        ('"2001:db8::20"', '"2001:db8::10"', "names.1.new: is the same as old"),
        (
            "new: new.example.org",
            "new: [a.example.org, b.example.org]",
            "names.2.new: has 2 values",
        ),
        ("name: www.example.org", "name: example.org", "names.2.type: a zone's own name"),
        ("type: CNAME", "type: MX", "traffic.dns.names.2.type"),
    ],
)
def test_complaints(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    """Each mistake is told with its key."""
    assert TEXT.count(old) == 1, old
    error = complaints(tmp_path, TEXT.replace(old, new))
    assert error.code == "manifest-invalid"
    assert complaint in error.where + error.what


def test_options_of_lexicon(tmp_path: Path) -> None:
    """A literal secret among a provider's options is refused, and never shown."""
    lexicon = 'driver: lexicon\n    provider: cloudflare\n    options: {auth_token: "literal"}\n'
    before, _, rest = TEXT.partition("driver: rfc2136\n")
    text = before + lexicon + rest.replace('    key: {name: wiki-key, secret: "file:tsig"}\n', "")
    text = text.replace("[192.0.2.21, 192.0.2.20]", "192.0.2.20")
    error = complaints(tmp_path, text)
    assert "traffic.dns.options.auth_token: secrets by reference" in error.where + error.what
    assert "literal" not in error.where + error.what
    load(write(tmp_path, text.replace('"literal"', '"env:TOKEN"')))
