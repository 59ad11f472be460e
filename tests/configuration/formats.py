"""Small real-looking files of every format, with what a recipe says of each, and an old side that
has such a file.

``{data}``, ``{config}``, ``{port}``, ``{db}`` (host:port of the database), ``{dbhost}``,
``{dbport}``, ``{name}``, ``{user}`` and ``{password}`` stand for the values of one side, so that a
text filled with the old side's must be carried as the text filled with the new side's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.configuration.scratch import Disk

from crossfade.configuration import CarriedConfiguration
from crossfade.model import Address, Endpoint, Installation, Side
from crossfade.ports import Rendering
from crossfade.recipes import load

__all__ = ["EXAMPLES", "Example", "FormatSite", "filled"]


@dataclass(frozen=True)
class Example:
    """A file: its format, name and text, the rules of its recipe, and a line of it that would point
    into the old side's data if it were there, with the key that is then named."""

    format: str
    name: str
    text: str
    rules: tuple[str, ...]
    leftover: tuple[str, str, str]
    """What stands there, what instead of it, and the place that is named then."""
    identity: tuple[str, ...] = ()


GITEA = Example(
    "ini",
    "app.ini",
    """\
; Gitea, as we run it
APP_NAME = Our code   # not a comment for this program

[server]
PROTOCOL  = http
HTTP_PORT = {port}
ROOT_URL: https://git.example.org/
APP_DATA_PATH = {data}/gitea

[database]
; moved in 2021
DB_TYPE=postgres
HOST   =   {db}
NAME   = {name}
USER   = {user}
PASSWD = {password}
LOG_SQL = false

[security]
SECRET_KEY = planted-Zk8vQ2xw9TtYpL4s
INTERNAL_TOKEN =
""",
    (
        "{key: server.HTTP_PORT, to: port, required: true}",
        "{key: server.APP_DATA_PATH, to: path, outside: refuse, required: true}",
        "{key: database.HOST, to: database-address, required: true}",
        "{key: database.NAME, to: database-name, required: true}",
        "{key: database.USER, to: database-user, required: true}",
        "{key: database.PASSWD, to: database-password, required: true}",
    ),
    ("LOG_SQL = false", "LOG_PATH = {data}/log", "app.ini:17 database.log_path"),
    ("security.SECRET_KEY",),
)

TOML = Example(
    "toml",
    "config.toml",
    """\
# Forge
title = "Ours"          # shown in the head
bind = ["127.0.0.1:{port}",   # people
        "[::1]:9",            # nobody
       ]

[store]
root = '{data}/store'
"quoted.name" = "x"
url = "postgres://{user}:{password}@{db}/{name}?sslmode=disable"

[[mirror]]
name = "one"
dir = "{data}/mirror/one"

[[mirror]]
name = "two"
dir = "/mnt/elsewhere"
limits = { size = 5, cache = "{config}/cache" }
""",
    (
        "{key: bind.*, to: address, required: true}",
        "{key: store.root, to: path, required: true}",
        "{key: store.url, to: database-url, required: true}",
        "{key: mirror.*.dir, to: path, required: true}",
        "{key: mirror.*.limits.cache, to: path, required: true}",
    ),
    ('"quoted.name" = "x"', '"quoted.name" = "{data}/x"', "config.toml:9 store.quoted.name"),
    ("title",),
)

JSON = Example(
    "json",
    "config.json",
    """\
{
    "server": { "host": "127.0.0.1", "port": {port} },
    "paths": ["{data}/content",   "/mnt/other"],
    "database": {
        "client": "mysql",
        "connection": {"host": "{dbhost}", "port": {dbport}, "user": "{user}",
                       "password": "{password}", "database": "{name}"}
    },
    "plugins": [[1, 2.50], {"dir": "{data}/plugins", "on": true}],
    "mail": null
}
""",
    (
        "{key: server.port, to: port, required: true}",
        "{key: paths.*, to: path, required: true}",
        "{key: database.connection.host, to: database-host, required: true}",
        "{key: database.connection.port, to: database-port, required: true}",
        "{key: database.connection.user, to: database-user, required: true}",
        "{key: database.connection.password, to: database-password, required: true}",
        "{key: database.connection.database, to: database-name, required: true}",
        "{key: plugins.1.dir, to: path, required: true}",
    ),
    ('"mail": null', '"mail": [["{data}/mail"]]', "config.json:10 mail.0.0"),
    ("server.host",),
)

TOMCAT = Example(
    "xml",
    "server.xml",
    """\
<?xml version="1.0" encoding="UTF-8"?>
<!-- Ours since 2019.
     Do not touch. -->
<Server port="-1" shutdown="SHUTDOWN">
  <Listener className="org.apache.catalina.startup.VersionLoggerListener" />
  <Empty/>
  <Service name="Catalina">
    <Connector port="{port}" protocol="HTTP/1.1"
               connectionTimeout='20000'
               redirectPort="8443" />
    <Engine name="Catalina" defaultHost="localhost">
      <Host name="localhost"  appBase="{data}/webapps">
        <Context path="" docBase="shop">
          <Resource name="jdbc/shop" type="javax.sql.DataSource"
                    username="{user}" password="{password}"
                    url="jdbc:postgresql://{db}/{name}?ssl=false&amp;tcpKeepAlive=true"/>
        </Context>
      </Host>
    </Engine>
  </Service>
</Server>
""",
    (
        "{key: 'Server.Service.Connector.@port', to: port, required: true}",
        "{key: 'Server.Service.*.Host.@appBase', to: path, required: true}",
        "{key: 'Server.*.*.*.Context.Resource.@url', to: database-url, required: true}",
        "{key: 'Server.*.*.*.Context.Resource.@username', to: database-user, required: true}",
        "{key: 'Server.*.*.*.Context.Resource.@password', to: database-password, required: true}",
    ),
    (
        'docBase="shop"',
        'docBase="{data}/shop"',
        "server.xml:13 Server.Service[Catalina].Engine[Catalina].Host[localhost].Context[]"
        ".@docBase",
    ),
    ("Server.@shutdown",),
)

DJANGO = Example(
    "python",
    "settings.py",
    """\
\"\"\"Settings of our site; its data was in /var/lib once.\"\"\"
import os
from pathlib import Path

BASE = Path(__file__).parent

SECRET_KEY = "planted-django-Zk8vQ2xw9TtYpL4s"  # keep
DEBUG = False
ALLOWED_HOSTS = ['site.example.org',   # people
                 'localhost']

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "{name}",
        "USER": '{user}',
        'PASSWORD': "{password}",
        "HOST": "{dbhost}",
        "PORT": "{dbport}",
    },
}
CACHE_URL = os.environ.get("CACHE_URL", "postgres://{user}@{db}/{name}")
STATIC_ROOT = os.path.join("{data}", "static")
MEDIA_ROOT = Path('{data}/media')
GUNICORN_PORT = {port}

if DEBUG:
    INSTALLED = ["debug"]
""",
    (
        "{key: DATABASES.default.HOST, to: database-host, required: true}",
        "{key: DATABASES.default.PORT, to: database-port, required: true}",
        "{key: DATABASES.*.NAME, to: database-name, required: true}",
        "{key: DATABASES.default.USER, to: database-user, required: true}",
        "{key: DATABASES.default.PASSWORD, to: database-password, required: true}",
        "{key: CACHE_URL, to: database-url, required: true}",
        "{key: STATIC_ROOT|MEDIA_ROOT, to: path, required: true}",
        "{key: GUNICORN_PORT, to: port, required: true}",
    ),
    ('INSTALLED = ["debug"]', 'LOG = "{data}/log"', "settings.py:27"),
    ("SECRET_KEY", "ALLOWED_HOSTS"),
)

SPRING = Example(
    "properties",
    "application.properties",
    """\
# Spring
! and an old remark
server.port={port}
dataSource.url = jdbc:postgresql://{db}/{name}?user={user}&password={password}&ssl=true
dataSource.pool.size : 10
storage.dir={data}/files
greeting = Gr\\u00fc\\u00dfe, \\
           everyone
session.secret=planted-session
""",
    (
        "{key: server.port, to: port, required: true}",
        "{key: dataSource.url, to: database-url, required: true}",
        "{key: storage.dir, to: path, required: true}",
    ),
    ("dataSource.pool.size : 10", "log\\:dir {data}/log", "application.properties:5 log:dir"),
    ("session.secret", "greeting"),
)

ENVIRONMENT = Example(
    "env",
    "notes.env",
    """\
# read by systemd (EnvironmentFile=)
PORT={port}
export UPLOADS="{data}/uploads"
DATABASE_URL=postgresql+asyncpg://{user}:{password}@{db}/{name}
#DATABASE_URL=sqlite:////tmp/x.db
JAVA_OPTS='-Xmx1g -Dx=y'
SECRET_KEY=planted-env
""",
    (
        "{key: PORT, to: port, required: true}",
        "{key: UPLOADS, to: path, required: true}",
        "{key: DATABASE_URL, to: database-url, required: true}",
    ),
    ("JAVA_OPTS='-Xmx1g -Dx=y'", "JAVA_OPTS='-Dx={data}/y'", "notes.env:6 JAVA_OPTS"),
    ("SECRET_KEY",),
)

MYCNF = Example(
    "mycnf",
    "my.cnf",
    """\
[client]
port\t= {port}
!includedir /etc/mysql/conf.d/

[mysqld]   # the server
port    = {port}
datadir = {data}/mysql   # large
tmpdir="{data}/tmp"
skip-name-resolve
log_error = /var/log/mysql/error.log
server-id = 17
""",
    (
        "{key: '*.port', to: port, required: true}",
        "{key: mysqld.datadir|tmpdir, to: path, required: true}",
        "{key: mysqld.log-error, to: path, outside: keep}",
    ),
    ("server-id = 17", "slow-log = {data}/slow.log", "my.cnf:11 mysqld.slow_log"),
    ("mysqld.server-id",),
)

POSTGRESQL = Example(
    "postgresql",
    "postgresql.conf",
    """\
# PostgreSQL
listen_addresses = '*'
port = {port}\t\t# (change requires restart)
data_directory = '{data}/main'
hba_file '{config}/pg_hba.conf'  # ours
shared_buffers = 128MB
#work_mem = 4MB
primary_conninfo = 'host={dbhost} port={dbport} dbname={name} user={user} password={password}'
cluster_name = 'it''s ours'
""",
    (
        "{key: port, to: port, required: true}",
        "{key: data_directory, to: path, required: true}",
        "{key: HBA_FILE, to: path, required: true}",
        "{key: primary_conninfo, to: database-url, required: true}",
    ),
    ("shared_buffers = 128MB", "ssl_key_file = '{data}/x'", "postgresql.conf:6 ssl_key_file"),
    ("cluster_name",),
)

REDIS = Example(
    "redis",
    "redis.conf",
    """\
# Redis
bind 127.0.0.1 -::1
port {port}
dir "{data}/redis"
save 900 1
save 300 10
requirepass planted-redis
appendonly no
""",
    ("{key: port, to: port, required: true}", "{key: dir, to: path, required: true}"),
    ("appendonly no", "unixsocket {data}/redis.sock", "redis.conf:8 unixsocket"),
    ("save", "requirepass"),
)

UNIT = Example(
    "systemd",
    "notes.service",
    """\
[Unit]
Description=Notes
; ours

[Service]
Environment=PORT={port} MODE=plain
Environment=OPTS=
WorkingDirectory={data}
ExecStart=/usr/bin/notes \\
    --verbose
Environment="DATABASE_URL=mysql://{user}:{password}@{db}/{name}" "TOKEN=planted %%h"
UMask=0027
""",
    (
        "{key: Service.WorkingDirectory, to: path, required: true}",
        "{key: Service.Environment.DATABASE_URL, to: database-url, required: true}",
        "{key: Service.Environment.PORT, to: port, required: true}",
    ),
    ("--verbose", "--verbose={data}/x", "notes.service:9 Service.ExecStart"),
    ("Service.UMask",),
)

YAML = Example(
    "yaml",
    "app.yaml",
    """\
# ours
port: {port}   # public
store: '{data}/store'
url: "postgresql://{user}:{password}@{db}/{name}?sslmode=disable"
dsn: 'host={dbhost} port={dbport} dbname={name}'
mail: null
site_key: planted
""",
    (
        "{key: port, to: port, required: true}",
        "{key: store, to: path, required: true}",
        "{key: url|dsn, to: database-url, required: true}",
    ),
    ("mail: null", "mail: '{data}/mail'", "app.yaml:6 mail"),
    ("site_key",),
)

EXAMPLES = (
    YAML,
    *(GITEA, TOML, JSON, TOMCAT, DJANGO, SPRING, ENVIRONMENT, MYCNF, POSTGRESQL, REDIS),
    UNIT,
)

RECIPE = """\
application: demo
install: {{driver: python, packages: [demo]}}
service: {{driver: process, command: [demo]}}
health: {{path: /health}}
configuration:
  - path: {name}
    format: {format}
    identity: [{identity}]
    rewrite:
{rules}
databases:
  - {{name: main, driver: {kind}}}
{more}"""


def filled(text: str, side: Installation, password: str) -> str:
    """The text with the values of one side in it."""
    database = side.databases["main"]
    values = {
        "data": str(side.data),
        "config": str(side.config),
        "port": str(side.address.port),
        "db": str(database.address),
        "dbhost": database.address.host,
        "dbport": str(database.address.port),
        "name": database.database,
        "user": database.user,
        "password": password,
    }
    for word, value in values.items():
        text = text.replace("{" + word + "}", value)
    return text


class FormatSite:
    """An old side with one file of an example, and both installations."""

    PASSWORDS: Mapping[Side, str] = {Side.OLD: "old-planted", Side.NEW: "new-planted"}

    def __init__(self, directory: Path, example: Example, more: str = "") -> None:
        self.directory, self.example = directory, example
        self.kind = "mysql" if example.format in ("json", "systemd") else "postgres"
        for side, password in self.PASSWORDS.items():
            (directory / f"{side}-pw").write_text(f"{password}\n")
        self.old = self._side(Side.OLD, 8001, Address("10.0.0.5", 6000))
        self.new = self._side(Side.NEW, 8002, Address("db.new.example.org", 6001))
        self.file = self.old.config / example.name
        self.file.parent.mkdir(parents=True)
        self.write(filled(example.text, self.old, self.PASSWORDS[Side.OLD]))
        rules = "".join(f"      - {rule}\n" for rule in example.rules)
        (directory / "recipe.yaml").write_text(
            RECIPE.format(
                name=example.name,
                format=example.format,
                rules=rules.rstrip() or "      []",
                identity=", ".join(f"'{key}'" for key in example.identity),
                kind=self.kind,
                more=more,
            )
        )

    def _side(self, side: Side, port: int, address: Address) -> Installation:
        place = self.directory / side
        database = Endpoint(
            self.kind,
            address,
            f"{side}_notes",
            f"{side}_user",
            f"file:{side}-pw",
            "admin",
            "",
            self.directory,
        )
        places = (place / "app", place / "etc", place / "data")
        here = Address("127.0.0.1", port)
        return Installation("demo", "1", side, "local", *places, here, {"main": database})

    def write(self, text: str) -> None:
        """Another text for the file."""
        self.file.write_bytes(text.encode())

    @property
    def carried(self) -> CarriedConfiguration:
        """What is tested."""
        return CarriedConfiguration(load("recipe.yaml", self.directory), self.old, Disk())

    def render(self, new: Installation | None = None) -> Rendering:
        """A rendering for the new side."""
        return self.carried.render(new or self.new)

    def rendered(self, rendering: Rendering) -> str:
        """The text of the file."""
        ((data, _),) = rendering.files.values()
        return data.decode()

    def expected(self) -> str:
        """The file as it is to be."""
        return filled(self.example.text, self.new, self.PASSWORDS[Side.NEW])
