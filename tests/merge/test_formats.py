"""Which format a file has, and all formats over the files that are here."""

from __future__ import annotations

import sysconfig

import pytest
from tests.merge.contract import found_texts, model
from tests.merge.pairs import templates

from crossfade.merge._types import Drop, Put, Unreadable
from crossfade.merge.formats import apart, detect

_LINED = ("ini", "systemd", "mycnf", "postgresql", "redis", "properties", "env")
"""The formats of lines; the others' tests have files of their own."""
_INI = "[a]\nb = 1\n"
_UNIT = "[Service]\nExecStart=/bin/x\nExecStart=/bin/y\n"
_CNF = "[mysqld]\nskip-name-resolve\n"
_REDIS = "port 1\nappendonly yes\nmaxmemory 1gb\nprotected-mode yes\n"
_POSTGRES = "#shared_buffers = 128MB\nlisten_addresses = '*'\n#max_connections = 100\n"


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("airflow.cfg", _INI, "ini"),
        ("etc/some.conf", _INI, "ini"),
        ("x.ini", "[a]\nnothing\n", "ini"),
        ("x.service", _UNIT, "systemd"),
        ("etc/systemd/system/x.service.d/override.conf", "[Service]\nNice=1\n", "systemd"),
        ("x.conf", _UNIT, "systemd"),
        ("my.cnf", _CNF, "mycnf"),
        ("50-server.conf", _CNF, "mycnf"),
        ("my.cnf", "!includedir /etc/mysql/conf.d/\n", "mycnf"),
        ("any.conf", _REDIS, "redis"),
        ("redis.conf", "port 1\n", "redis"),
        ("any.conf", _POSTGRES, "postgresql"),
        ("etc/postgresql/15/main/conf.d/x.conf", "port = 1\n", "postgresql"),
        ("postgresql.auto.conf", "# do not edit\n", "postgresql"),
        ("app.properties", "a.b=1\n", "properties"),
        (".env", "A=1\n", "env"),
        ("app.env", "A=1\n", "env"),
        (".env.production", "lower=1\n", "env"),
        ("bin/setenv.sh", "#!/bin/sh\nexport A=1\n", "env"),
        ("settings", "A=1\nB=2\n", "env"),
        ("sshd_config", "Port 22\nPermitRootLogin no\n", None),
        ("nginx.conf", "server {\n  listen 80;\n}\n", None),
        ("x.conf", "a = 1\n", None),
        ("x.cfg", "global\n  daemon\n", None),
        ("x.py", "A = 1\nB = 2\n", "python"),
        ("x.txt", "Some words: of somebody.\n", None),
        ("x.conf", "", None),
    ],
)
def test_the_format_is_found_by_content_and_name(
    name: str, text: str, expected: str | None
) -> None:
    """The content counts more than the name, and ``.conf`` says nothing."""
    found = detect(name, text)
    assert (found.name if found else None) == expected


def test_what_stands_apart_is_told() -> None:
    """Includes of option files and code of the shell, with their lines; nothing of others."""
    for name, text, expected in (
        ("my.cnf", "[mysqld]\n!include /etc/x.cnf\n", ((2, "!include /etc/x.cnf"),)),
        ("x.env", "export A=1\nif x; then\n\n  y\nfi\n", ((2, "if x; then\ny\nfi"),)),
        ("x.ini", _INI, ()),
    ):
        found = detect(name, text)
        assert found is not None
        assert apart(found.read(text)) == expected


def test_files_that_are_here_stay_byte_for_byte() -> None:
    """At least sixty files of Debian, Python's packages and templates: no edit, and a Put of all
    their own values, give the file; a setting that is dropped and put back is there again."""
    read: dict[str, int] = {}
    roots = ("/etc", "/usr/lib/systemd", sysconfig.get_path("purelib"))
    endings = ("service", "socket", "timer", "conf", "cfg", "ini", "cnf", "properties", "env")
    here = found_texts(roots, [f"*.{ending}" for ending in endings])
    fetched = templates("ini", "postgresql", "redis", "properties")
    for path, text in (*here, *fetched):
        found = detect(path, text)
        try:
            document = found.read(text) if found else None
        except Unreadable:
            continue
        if found and found.name in _LINED and document and document.settings:
            own = [Put(one, document) for one in document.settings]
            assert found.edited(document, []) == text
            assert found.edited(document, own) == text
            without = found.read(found.edited(document, [Drop(own[-1].path)]))
            assert model(found.read(found.edited(without, own))) == model(document)
            read[found.name] = read.get(found.name, 0) + 1
    assert sum(read.values()) >= 60, read
