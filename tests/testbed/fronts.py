"""Real web servers before an application: nginx, Apache httpd and Caddy of Debian, and Traefik.

Each has its configuration in a directory of its own, in several files with links between them, and
runs as a process of the test's own: plain HTTP at one address and TLS at another.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from crossfade.drivers.fronts._asking import ask
from crossfade.model import Address
from crossfade.testing.free_ports import free_ports

__all__ = ["KINDS", "WebServer", "beyond_reloads", "web_server"]

KINDS = ("nginx", "apache", "caddy", "traefik")
_TRAEFIK = Path(sys.prefix) / "traefik" / "bin" / "traefik"

_RACES = {"nginx": 2, "apache": 15, "caddy": 3, "traefik": 0}
"""How many connections a server may close at a reload in the moment in which a request comes on
them, without a word.  Seen with ten reloads of an unchanged configuration at 200 requests a
second, half of them on kept connections: nginx 1, Caddy 3, Apache (mpm_event) 14 to 46 of 4800.
Connections of their own are safe but with Caddy 2.6, which opens its listening socket anew."""
_CLOSED = ("IncompleteReadError: 0 bytes", "ConnectionReset", "BrokenPipe", "RemoteDisconnected")


def beyond_reloads(failures: list[str], kind: str, *, reloads: int) -> list[str]:
    """The failures that are none of a reload's own: a kept connection that the server closed, with
    nothing said, is one as far as it does so at any reload."""
    others = [one for one in failures if not any(words in one for words in _CLOSED)]
    closed = [one for one in failures if one not in others]
    numbers = [one.partition(":")[0] for one in closed]
    if kind != "caddy":  # odd ones are on connections of their own
        pairs = zip(closed, numbers, strict=True)
        others += [one for one, number in pairs if number.isdigit() and int(number) % 2]
    return others if len(closed) <= _RACES[kind] * reloads else failures


_NGINX = """\
# the main file\r
user root;
worker_processes 2;
daemon off;
pid {d}/nginx.pid;
error_log {d}/error.log notice;
events {{ worker_connections 16384; }}
http {{
    access_log off;
    client_body_temp_path {d}/body; proxy_temp_path {d}/proxy; fastcgi_temp_path {d}/fastcgi;
    uwsgi_temp_path {d}/uwsgi; scgi_temp_path {d}/scgi;
    client_max_body_size 100m; client_body_buffer_size 1m; proxy_max_temp_file_size 0;
    proxy_read_timeout 90s;
    map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
    include sites-enabled/*.conf;   # {old} is not meant here
}}
"""
_NGINX_SITE = """\
upstream app {{
    server {old} max_fails=0;   # the application
    keepalive 16;
}}
server {{
    listen {plain} backlog=4096;
    listen {tls} ssl;
    ssl_certificate {d}/cert.pem;
    ssl_certificate_key {d}/key.pem;
    proxy_http_version 1.1;
    proxy_set_header Host $host;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $connection_upgrade;
    location / {{ proxy_pass http://app; }}
    location /also/ {{ proxy_pass http://localhost:{port}/; }}
    location /by-variable/ {{ set $to "http://{old}"; proxy_pass $to; }}
    location /other/ {{ proxy_pass http://127.0.0.1:1; }}
}}
"""
_APACHE = """\
ServerRoot {d}
ServerName localhost
PidFile {d}/apache.pid
ErrorLog {d}/error.log
User www-data
Group www-data
Mutex file:{d}
{modules}
<IfModule mpm_event_module>
    # A held request has a thread of its own.  A process without an idle one closes the kept
    # connections on which requests come, and one that ends, as too many are idle, all of them.
    ThreadLimit {threads}
    ThreadsPerChild {threads}
    ServerLimit {processes}
    StartServers 1
    MaxRequestWorkers {all_threads}
    MaxSpareThreads {all_threads}
</IfModule>
ListenBacklog 4096
# as long as others keep them: a request may come on one just as its time is over
KeepAliveTimeout 75
Listen {plain}
Listen {tls} https
ProxyTimeout 90
IncludeOptional sites-enabled/*.conf
"""
_APACHE_SITE = """\
# {old} is not meant here
Define APP http://{old}
<VirtualHost {plain} {tls}>
    SSLEngine optional
    ProxyPreserveHost On
    <IfDefine NEVER>
        ProxyPass /never "http://localhost:{port}/" \\
            retry=0
    </IfDefine>
    RewriteEngine On
    RewriteCond %{{HTTP:Upgrade}} websocket [NC]
    RewriteRule ^/(.*)$ "ws://{old}/$1" [P,L]
    RewriteRule ^/gone$ http://{old}/ [R]
    ProxyPassMatch "^/also/(.*)$" "http://localhost:{port}/$1"
    ProxyPass /balanced/ balancer://pool/
    ProxyPass / ${{APP}}/ retry=0 disablereuse=off
    ProxyPassReverse / ${{APP}}/
</VirtualHost>
<Proxy balancer://pool>
    BalancerMember http://{old} retry=0
</Proxy>
"""
_CADDY = """\
{{
	admin {admin}
	auto_https off
	grace_period 10s
	log {{
		output file {d}/error.log
	}}
}}
# {old} is not meant here
(app) {{
	reverse_proxy {{args.0}} {{
		header_up X-By caddy
	}}
}}
import sites/*.caddy
"""
_CADDY_SITE = """\
http://:{plain_port} {{
	bind 127.0.0.1
	handle /also/* {{
		uri strip_prefix /also
		import app localhost:{port}
	}}
	handle {{
		reverse_proxy http://{old}
	}}
}}
https://localhost:{tls_port}, https://127.0.0.1:{tls_port} {{
	tls {d}/cert.pem {d}/key.pem
	reverse_proxy {{
		to {old}
	}}
}}
"""
_TRAEFIK_MAIN = """\
global: {{checkNewVersion: false, sendAnonymousUsage: false}}
log: {{level: ERROR, filePath: {d}/error.log}}
providers:
  providersThrottleDuration: 500ms
  file: {{directory: {d}/dynamic, watch: true}}
entryPoints:
  plain: {{address: "{plain}"}}
  tls: {{address: "{tls}"}}
"""
_TRAEFIK_SITE = """\
# {old} is not meant here
tls:
  certificates:
    - {{certFile: {d}/cert.pem, keyFile: {d}/key.pem}}
http:
  routers:
    plain: {{rule: "PathPrefix(`/`)", entryPoints: [plain], service: app}}
    tls: {{rule: "PathPrefix(`/`)", entryPoints: [tls], service: app, tls: {{}}}}
  services:
    app:
      loadBalancer:
        servers:
          - url: "http://{old}"   # the application
    also:
      loadBalancer:
        servers:
          - {{ url: http://localhost:{port}/, weight: 1 }}
"""
_MODULES = (
    *("mpm_event", "authz_core", "rewrite", "ssl", "socache_shmcb", "slotmem_shm"),
    *("proxy", "proxy_http", "proxy_balancer", "lbmethod_byrequests", "proxy_wstunnel"),
)


class WebServer:
    """A web server before ``old``; ``site`` is the file that names it, behind a link."""

    def __init__(self, kind: str, directory: Path, old: Address, threads: int = 400) -> None:
        self.kind, self.directory, self.old = kind, directory, old
        plain, tls, admin = free_ports(3)
        self.address, self.tls = Address("127.0.0.1", plain), Address("127.0.0.1", tls)
        self.url = f"https://localhost:{tls}/health"
        self._names = {
            "d": directory,
            "old": old,
            "port": old.port,
            "plain": self.address,
            "tls": self.tls,
            "tls_port": tls,
            "plain_port": plain,
            "threads": threads,
            "processes": max(4, 8000 // threads),
            "all_threads": max(4, 8000 // threads) * threads,
            "admin": f"127.0.0.1:{admin}",
            "modules": "\n".join(
                f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so"
                for name in _MODULES
            ),
        }
        directory.mkdir(parents=True)
        self._certificate()
        self.file, self.site = getattr(self, f"_write_{kind}")()
        self.site.chmod(0o640)
        self.process: subprocess.Popen[bytes] | None = None

    def _certificate(self) -> None:
        subprocess.run(
            (
                *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
                *("-subj", "/CN=localhost", "-keyout", self.directory / "key.pem"),
                *("-out", self.directory / "cert.pem"),
            ),
            check=True,
            capture_output=True,
        )

    def _put(self, name: str, text: str) -> Path:
        path = self.directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text.format(**self._names).encode())
        return path

    def _linked(self, text: str) -> Path:
        site = self._put("sites-available/app.conf", text)
        (self.directory / "sites-enabled").mkdir()
        (self.directory / "sites-enabled" / "app.conf").symlink_to("../sites-available/app.conf")
        return site

    def _write_nginx(self) -> tuple[Path, Path]:
        return self._put("nginx.conf", _NGINX), self._linked(_NGINX_SITE)

    def _write_apache(self) -> tuple[Path, Path]:
        text = _APACHE_SITE.replace("    SSLEngine optional", "    SSLEngine Off").replace(
            " {tls}>", ">"
        )
        tls = (
            "<VirtualHost {tls}>\n    SSLEngine On\n    SSLCertificateFile {d}/cert.pem\n"
            "    SSLCertificateKeyFile {d}/key.pem\n    ProxyPass / http://{old}/ retry=0\n"
            "</VirtualHost>\n"
        )
        return self._put("apache.conf", _APACHE), self._linked(text + tls)

    def _write_caddy(self) -> tuple[Path, Path]:
        return self._put("Caddyfile", _CADDY), self._put("sites/app.caddy", _CADDY_SITE)

    def _write_traefik(self) -> tuple[Path, Path]:
        self._put("traefik.yml", _TRAEFIK_MAIN)
        site = self._put("dynamic/app.yml", _TRAEFIK_SITE)
        return site.parent, site

    @property
    def manifest(self) -> str:
        """The manifest's ``front``."""
        return f"{{{self.kind}: {self.file}, url: '{self.url}', at: '{self.tls}'}}"

    def command(self) -> tuple[str, ...]:
        """The command that runs it in the foreground."""
        file = str(self.file)
        return {
            "nginx": ("nginx", "-c", file),
            "apache": ("apache2", "-f", file, "-DFOREGROUND"),
            "traefik": (str(_TRAEFIK), f"--configFile={self.directory}/traefik.yml"),
            "caddy": ("caddy", "run", "--config", file, *self._adapter()),
        }[self.kind]

    def _adapter(self) -> tuple[str, ...]:
        return () if self.file.suffix == ".json" else ("--adapter", "caddyfile")

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with (self.directory / "out.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "HOME": str(self.directory)},
                start_new_session=True,
            )
        until = time.monotonic() + 30
        while ask(f"http://{self.address}/health", None, "none") != 200:
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < until, self.log()
            time.sleep(0.05)

    def stop(self) -> None:
        """End it, gracefully if that goes, by its own process id."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.process = None

    def log(self) -> str:
        """What it said."""
        return "\n".join(
            path.read_text(errors="replace")[-3000:]
            for path in (self.directory / "out.log", self.directory / "error.log")
            if path.exists()
        )

    def bytes(self) -> dict[str, tuple[str, int, int]]:
        """Every file of its configuration: checksum, mode, owner."""
        found = {}
        for path in sorted(self.directory.rglob("*")):
            if (
                path.is_file()
                and path.suffix in (".conf", ".caddy", ".yml", "")
                and ".pid" not in path.name
            ):
                about = path.stat()
                sum = hashlib.sha256(path.read_bytes()).hexdigest()
                found[str(path)] = (sum, about.st_mode, about.st_uid)
        assert str(self.site) in found
        return found


@contextmanager
def web_server(kind: str, directory: Path, old: Address, threads: int = 400) -> Iterator[WebServer]:
    """A running web server that is ended.  Apache has so many threads in a process."""
    program = {"apache": "apache2", "traefik": str(_TRAEFIK)}.get(kind, kind)
    assert shutil.which(program), "sh tools/test-services"
    server = WebServer(kind, directory, old, threads)
    try:
        server.start()
        yield server
    finally:
        server.stop()
