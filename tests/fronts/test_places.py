"""Where upstreams stand in configurations, in every form that counts, and what else is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.fronts.place import place_at

from crossfade.drivers import driver
from crossfade.drivers.fronts._places import names
from crossfade.drivers.fronts.way import Way
from crossfade.drivers.hosts.local import LocalHost
from crossfade.engine.front_notes import FrontNotes
from crossfade.engine.journal import SqliteJournal
from crossfade.errors import Failed, RecoveryFailed
from crossfade.manifest import FrontSpec
from crossfade.model import Address, Side
from crossfade.testing.free_ports import free_port

OLD = Address("127.0.0.1", 8080)

NGINX = """\
# server 127.0.0.1:8080;
upstream a { server «127.0.0.1:8080» weight=5; server 127.0.0.2:8080; }
upstream "b" { server "«localhost:8080»"; server unix:/run/x.sock; server 127.0.0.1:80801; }
map $host $to { default «127.0.0.1:8080»; x "http://«127.0.0.1:8080»/y"; }
server {
    listen 127.0.0.1:8080;
    server_name 127.0.0.1:8080;
    set $to 'http://«127.0.0.1:8080»';
    location / { proxy_pass http://«127.0.0.1:8080»; proxy_redirect http://«127.0.0.1:8080»/ /; }
    location ~ "^/{2}" { proxy_pass http://u@«127.0.0.1:8080»$request_uri; }
    location /v { proxy_pass http://${to}127.0.0.1:8080; return 302 http://127.0.0.1:8080/; }
    location /p { proxy_pass http://127.0.0.1; proxy_set_header X "http://127.0.0.1:8080"; }
    content_by_lua_block { local a = "127.0.0.1:8080 ;" }
    proxy_pass
        http://«LocalHost:8080»/a#b;
}
"""
APACHE = """\
# ProxyPass / http://127.0.0.1:8080/
Listen 127.0.0.1:8080
<VirtualHost 127.0.0.1:8080>
    ProxyPass / http://«127.0.0.1:8080»/ retry=0
    proxypass "/a b" 'http://«localhost:8080»/x'
    ProxyPassMatch ^/(.*)$ ws://«127.0.0.1:8080»/$1
    ProxyPassReverse / \\
        http://«127.0.0.1:8080»/
    RewriteRule ^/(.*)$ ws://«127.0.0.1:8080»/$1 [P,L]
    RewriteRule "^/(.*)$" "http://«127.0.0.1:8080»/$1" [QSA,Proxy]
    RewriteRule ^/(.*)$ http://127.0.0.1:8080/$1 [R=302]
    Header set X "http://127.0.0.1:8080"
    <Proxy balancer://c>
        BalancerMember http://«127.0.0.1:8080» loadfactor=2
        BalancerMember http://127.0.0.3:8080
    </Proxy>
    <Proxy "http://«127.0.0.1:8080»/*">
    </Proxy>
</VirtualHost>
Define BACK «127.0.0.1:8080»
Use Site one «127.0.0.1:8080»
"""
CADDY = """\
{
	admin 127.0.0.1:8080
}
# reverse_proxy 127.0.0.1:8080
(snip) {
	reverse_proxy {args.0} «localhost:8080»
}
localhost:8080 {
	import snip «127.0.0.1:8080»
	reverse_proxy /x* http://«127.0.0.1:8080» 127.0.0.4:8080 {
		header_up Host 127.0.0.1:8080
		to «:8080» `«127.0.0.1:8080»`
		health_uri /x
	}
	@ws header Connection *Upgrade*
	reverse_proxy @ws "«127.0.0.1:8080»" # 127.0.0.1:8080
	redir http://127.0.0.1:8080/
	respond "to 127.0.0.1:8080
reverse_proxy 127.0.0.1:8080"
}
"""
JSON = """{"apps": {"http": {"servers": {"s": {"listen": ["127.0.0.1:8080"], "routes": [{"handle": [
{"handler": "reverse_proxy", "upstreams": [{"dial" : "«127.0.0.1:8080»"}, {"dial": "a:8080"}]}
]}]}}}}}
"""
TRAEFIK = """\
# url: http://127.0.0.1:8080
http:
  routers:
    a: {rule: "Host(`127.0.0.1:8080`)"}
  services:
    a:
      loadBalancer:
        healthCheck: {path: /url}
        servers:
          - url: "http://«127.0.0.1:8080»"
          - url: 'http://127.0.0.2:8080/'
          - { "url": http://«localhost:8080»/, weight: 1 }
tcp: {}
      address: «127.0.0.1:8080» # address: 127.0.0.1:8080
[[servers]]
  url = "http://«127.0.0.1:8080»/x"
"""


@pytest.mark.parametrize(
    ("kind", "name", "marked"),
    [
        ("nginx", "nginx.conf", NGINX),
        ("apache", "apache.conf", APACHE),
        ("caddy", "Caddyfile", CADDY),
        ("caddy", "caddy.json", JSON),
        ("traefik", "dynamic.yml", TRAEFIK),
    ],
)
def test_places(tmp_path: Path, kind: str, name: str, marked: str) -> None:
    """Each upstream that names the old side, and nothing else, is found where it stands."""
    text = marked.replace("«", "").replace("»", "")
    journal = SqliteJournal(tmp_path / "journal.db")
    front = driver("fronts", kind)(
        FrontSpec(kind, tmp_path / name, "http://a/"),
        Way({Side.OLD: OLD, Side.NEW: OLD}, OLD, lambda token: 0),
        LocalHost(),
        tmp_path,
        FrontNotes(journal, tmp_path / name),
    )
    found = [place for place in front.places(text) if names(place.address, OLD)]
    out, at = "", 0
    for place in sorted(found, key=lambda place: place.start):
        assert text[place.start : place.end] == place.text
        out += f"{text[at : place.start]}«{place.text}»"
        at = place.end
    assert out + text[at:] == marked
    journal.close()


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("127.0.0.1:80", "localhost:80", True),
        ("localhost:80", "LOCALHOST:80", True),
        ("127.0.0.1:80", "127.0.0.1:81", False),
        ("127.0.0.1:80", "127.0.0.2:80", False),
        ("[::1]:80", "[0:0:0:0:0:0:0:1]:80", True),
        ("no-such-name.invalid:80", "127.0.0.1:80", False),
    ],
)
def test_names(one: str, other: str, same: bool) -> None:
    """Two ways to write one address."""
    assert names(Address.parse(one), Address.parse(other)) is same


def test_held_gate_is_not_led_to(tmp_path: Path) -> None:
    """Nobody is led to a gate that does not pass requests on; nothing is changed."""
    with place_at("nginx", tmp_path) as place:
        before = place.server.bytes()
        place.gate.hold(lease=40.0)
        with pytest.raises(Failed) as caught:
            place.front().insert(place.on, "one")
        assert caught.value.code == "gate-does-not-pass"
        assert "timed out" in caught.value.what
        assert place.server.bytes() == before
        place.gate.driver.release()


def test_caddys_json(tmp_path: Path) -> None:
    """Caddy with a file of its JSON, byte for byte there and back."""
    with place_at("caddy", tmp_path) as place:
        server, port = place.server, free_port()
        server.stop()
        before = (
            f'{{ "admin": {{"listen": "127.0.0.1:{port}"}}, "apps": {{"http": {{"servers": {{\n'
            f'"s": {{ "listen": ["{server.address}"], "automatic_https": {{"disable": true}},\n'
            f' "routes": [ {{"handle": [ {{"handler":"reverse_proxy",\n'
            f'"upstreams":[{{"dial":  "{place.old.address}"}}]}} ] }} ] }} }} }} }} }}'
        )
        server.file = server.directory / "caddy.json"
        server.file.write_text(before)
        server.url, server.tls = f"http://{server.address}/x", server.address
        server.start()
        findings = place.front().insert(place.on, "one")
        assert [finding.holds for finding in findings] == [True] * 3
        inside = before.replace(str(place.old.address), str(place.gate.listen))
        assert server.file.read_text() == inside
        assert place.gate.status()["total"] >= 5
        place.front().take_out(place.on, Side.OLD)
        assert server.file.read_text() == before


def test_not_put_back(tmp_path: Path) -> None:
    """Files that cannot even be put back are told, and are taken out once they can be."""
    with place_at("nginx", tmp_path) as place:
        site, before = place.server.site, place.server.bytes()
        away = site.parent.with_name("away")
        script = f"mv {site.parent} {away}; exit 1"
        with pytest.raises(RecoveryFailed) as caught:
            place.front(reload=("sh", "-c", script)).insert(place.on, "one")
        assert caught.value.code == "front-not-put-back"
        assert caught.value.next == "crossfade gate remove"
        away.rename(site.parent)
        assert str(place.gate.listen) in site.read_text()
        place.front().take_out(place.on, Side.OLD)
        assert place.server.bytes() == before
        assert place.front().inserted_by() == ""
