"""Scratch database servers for tests, benchmarks and the demo: real ones, gone without a trace.

    with PostgresServer(tmp_path / "old", 15, settings={"wal_level": "logical"}) as server:
        endpoint = server.create("app", user="app")
        server.sql("select version()")

Each has its own data directory and port, listens on 127.0.0.1 only, does not run as root, and its
superuser has a random password in a file of mode 0600.  ``install_packages`` installs what they
need from the distribution; ``fetch_majors`` brings PostgreSQL majors that it does not have.
"""

from crossfade.testing.servers._fetch import fetch_majors
from crossfade.testing.servers._majors import majors
from crossfade.testing.servers._programs import install_packages, missing_packages
from crossfade.testing.servers.mariadb import MariadbServer
from crossfade.testing.servers.postgres import PostgresServer

__all__ = [
    "MariadbServer",
    "PostgresServer",
    "fetch_majors",
    "install_packages",
    "majors",
    "missing_packages",
]
