"""A server as an OpenBoxes site has it: Tomcat in /opt, a unit, an overlay in a home, nginx,
MariaDB and a cron job, with an edit in each."""

from __future__ import annotations

import contextlib
import io
import re
import socket
import subprocess
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.finding.apart import Apart, put, sh

from crossfade.model import Address, Installation, Side
from crossfade.ports import Host

__all__ = ["ACCOUNT", "AROUND", "CUSTOMISED", "Layout", "data", "laid_out", "program"]

ACCOUNT = 5998
_SERVER = """
import socket, sys
port = int(open("/opt/jdk/port").read())
s = socket.create_server(("", port))
while True:
    s.accept()[0].close()
"""
_JAVA = '#!/bin/sh\nexec /usr/bin/python3 -I /opt/jdk/lib/server.py "$@"\n'

CUSTOMISED = {
    "/opt/tomcat/conf/server.xml": "modified",
    "/opt/tomcat/conf/keystore.jks": "added",
    "/opt/tomcat/bin/setenv.sh": "added",
    "/opt/tomcat/lib/mysql-connector-j.jar": "added",
    "/opt/tomcat/webapps/docs/": "deleted",
    "/opt/tomcat/webapps/openboxes/WEB-INF/classes/messages.properties": "modified",
    "/etc/systemd/system/openboxes.service": "added",
    "/etc/systemd/system/openboxes.service.d/limits.conf": "added",
    "/etc/default/openboxes": "added",
    "/home/openboxes/.grails/openboxes-config.properties": "overlay",
    "/srv/uploads/": "asset",
    "/srv/branding/logo.png": "asset",
    "/usr/local/bin/ob-report": "asset",
    "/etc/nginx/sites-available/openboxes": "added",
    "/etc/nginx/nginx.conf": "modified",
    "/etc/ssl/private/inventory.key": "asset",
    "/etc/ssl/inventory.crt": "asset",
    "/etc/mysql/conf.d/mysql.cnf": "modified",
    "/etc/mysql/conf.d/zz-openboxes.cnf": "added",
}
"""Every file that was customised, with what it is."""
AROUND = {
    "/etc/cron.d/ob-report",
    "/etc/logrotate.d/openboxes",
    "/etc/sysctl.d/60-openboxes.conf",
    "/etc/sudoers.d/deploy",
}


@dataclass
class Layout:
    """The server: its installation, and the process that runs."""

    host: Apart
    installation: Installation
    pid: int
    tomcat: Path


@contextlib.contextmanager
def laid_out(host: Apart, tomcat: Path) -> Iterator[Layout]:
    """Put everything there, edit it, and start it."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    program(host, tomcat, port)
    _system(host, port)
    data(host)
    running = host.begin(
        *("env", "-i", "PATH=/usr/bin:/bin", "HOME=/home/openboxes", "JAVA_HOME=/opt/jdk"),
        *("SMTP_PASSWORD=planted-secret-env-1", "OB_REGION=EU-West"),
        "sh",
        "-c",
        "cd /opt/tomcat && exec bin/catalina.sh run -Dsite.token=planted-secret-arg-1",
        account=ACCOUNT,
    )
    try:
        _wait(port)
        yield Layout(host, _installation(port), running.pid, tomcat)
    finally:
        running.kill()
        running.wait()


def program(host: Host, tomcat: Path, port: int) -> None:
    tar = subprocess.run(("tar", "-C", str(tomcat), "-c", "."), check=True, capture_output=True)
    sh(host, "mkdir -p /opt/tomcat && tar -C /opt/tomcat -x", stdin=tar.stdout)
    sh(host, f"echo 'openboxes:x:{ACCOUNT}:{ACCOUNT}::/home/openboxes:/bin/sh' >>/etc/passwd")
    server = (tomcat / "conf/server.xml").read_text()
    edited = re.sub(r'port="8080"', f'port="{port}" address="127.0.0.1"', server)
    assert edited != server
    edited = edited.replace(
        "</Service>",
        '<Connector port="8443" keystoreFile="conf/keystore.jks" '
        'keystorePass="planted-secret-xml-1"/>\n</Service>',
    )
    put(host, "/opt/tomcat/conf/server.xml", edited)
    put(host, "/opt/tomcat/conf/server.xml.bak", server)
    put(host, "/opt/tomcat/conf/keystore.jks", b"\xfe\xed\xfe\xed\0\0")
    put(
        host,
        "/opt/tomcat/bin/setenv.sh",
        'export CATALINA_OPTS="-Xmx1g -Ddb.password=planted-secret-opts-1"\n',
        0o755,
    )
    put(host, "/opt/tomcat/lib/mysql-connector-j.jar", b"PK\0\0")
    put(host, "/opt/tomcat/logs/catalina.out", "started\n")
    put(host, "/opt/tomcat/work/Catalina/x.class", b"\0")
    sh(host, "rm -r /opt/tomcat/webapps/docs")
    put(host, "/opt/tomcat/webapps/openboxes.war", _war())
    for name, text in _WAR.items():
        put(host, f"/opt/tomcat/webapps/openboxes/{name}", text)
    put(
        host,
        "/opt/tomcat/webapps/openboxes/WEB-INF/classes/messages.properties",
        "title=Our stock\n",
    )
    put(host, "/opt/jdk/bin/java", _JAVA, 0o755)
    put(host, "/opt/jdk/lib/server.py", _SERVER)
    put(host, "/opt/jdk/port", str(port))
    sh(host, f"chown -R {ACCOUNT} /opt/tomcat")


_WAR = {
    "WEB-INF/web.xml": "<web-app/>\n",
    "WEB-INF/classes/application.yml": "server: {}\n",
    "WEB-INF/classes/messages.properties": "title=OpenBoxes\n",
    "index.gsp": "<html/>\n",
}


def _war() -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as war:
        for name, text in _WAR.items():
            war.writestr(name, text)
    return data.getvalue()


def _system(host: Host, port: int) -> None:
    put(
        host,
        "/etc/systemd/system/openboxes.service",
        "[Service]\nUser=openboxes\nEnvironmentFile=/etc/default/openboxes\n"
        "ExecStart=/opt/tomcat/bin/catalina.sh run\n",
    )
    put(
        host,
        "/etc/systemd/system/openboxes.service.d/limits.conf",
        "[Service]\nLimitNOFILE=65536\n",
    )
    put(host, "/etc/default/openboxes", "SMTP_PASSWORD=planted-secret-env-1\nOB_REGION=EU-West\n")
    put(
        host,
        "/etc/nginx/sites-available/openboxes",
        "server {\n  server_name inventory.example.org;\n"
        "  ssl_certificate /etc/ssl/inventory.crt;\n"
        "  ssl_certificate_key /etc/ssl/private/inventory.key;\n"
        f"  location / {{ proxy_pass http://127.0.0.1:{port}; }}\n}}\n",
    )
    put(host, "/etc/nginx/sites-available/another", "server { listen 81; }\n")
    sh(
        host,
        "mkdir -p /etc/nginx/sites-enabled; cd /etc/nginx/sites-enabled; "
        "ln -s ../sites-available/openboxes ../sites-available/another .",
    )
    sh(host, "sed -i 's/worker_connections .*/worker_connections 4096;/' /etc/nginx/nginx.conf")
    put(host, "/etc/ssl/inventory.crt", "-----BEGIN CERTIFICATE-----\n")
    put(host, "/etc/ssl/private/inventory.key", "-----BEGIN PRIVATE KEY-----\nplanted\n", 0o600)
    put(host, "/etc/mysql/conf.d/zz-openboxes.cnf", "[mysqld]\ninnodb_buffer_pool_size = 2G\n")
    sh(host, "echo 'port = 3307' >>/etc/mysql/conf.d/mysql.cnf")
    put(host, "/etc/cron.d/ob-report", "0 5 * * * openboxes /usr/local/bin/ob-report\n")
    put(host, "/etc/logrotate.d/openboxes", "/opt/tomcat/logs/catalina.out {\n  weekly\n}\n")
    put(host, "/etc/sysctl.d/60-openboxes.conf", "net.core.somaxconn = 1024\n")
    put(
        host,
        "/etc/sudoers.d/deploy",
        "deploy ALL = NOPASSWD: /bin/systemctl restart openboxes.service\n",
    )
    put(host, "/usr/local/bin/ob-report", "#!/bin/sh\ncurl -s http://localhost/openboxes\n", 0o755)


def data(host: Host) -> None:
    put(
        host,
        "/home/openboxes/.grails/openboxes-config.properties",
        "dataSource.url=jdbc:mysql://localhost:3306/openboxes?useSSL=false\n"
        "dataSource.password=planted-secret-file-1\n"
        "openboxes.uploads.location=/srv/uploads\n"
        "openboxes.logo.path=/srv/branding/logo.png\n",
    )
    put(host, "/home/openboxes/.bash_history", "mysql -pplanted-secret-history\n")
    for number in range(30):
        put(host, f"/srv/uploads/{number}.pdf", b"%PDF\0")
    put(host, "/srv/branding/logo.png", b"\x89PNG\r\n\0")
    put(host, "/srv/branding/unused.png", b"\x89PNG\r\n\0")


def _installation(port: int) -> Installation:
    return Installation(
        application="openboxes",
        version="0.9.0",
        side=Side.OLD,
        host="local",
        root=Path("/opt/tomcat"),
        config=Path("/opt/tomcat/conf"),
        data=Path("/srv/uploads"),
        address=Address("127.0.0.1", port),
    )


def _wait(port: int) -> None:
    until = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert time.monotonic() < until, "it does not start"
            time.sleep(0.05)
        else:
            return
