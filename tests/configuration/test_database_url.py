"""Addresses of databases in one text, in all of their forms."""

from __future__ import annotations

from urllib.parse import quote, unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossfade.configuration._database_url import Database, file_of, moved, moved_file, named
from crossfade.model import Address
from crossfade.recipes import looks_secret

PLACE = Address("10.0.0.5", 5432)
OLD = Database("postgres", (PLACE,), "shop", "app", "p@ss/w")
NEW = Database("postgres", (Address("db2.example.org", 6000),), "shop2", "app2", "n:w@x")
MYSQL = Database("mysql", (Address("10.0.0.5", 3306),), "shop", "app", "p@ss/w")
MYSQL_NEW = Database("mysql", (Address("10.0.0.6", 3307),), "shop", "app", "new")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "postgresql://app:p%40ss%2Fw@10.0.0.5:5432/shop?sslmode=require&application_name=x#y",
            "postgresql://app2:n%3Aw%40x@db2.example.org:6000/shop2"
            "?sslmode=require&application_name=x#y",
        ),
        ("postgres://10.0.0.5/shop", "postgres://db2.example.org:6000/shop2"),
        ("postgres://other:x@10.0.0.5/shop", "postgres://other:x@db2.example.org:6000/shop2"),
        (
            "postgresql+psycopg2://app@10.0.0.5:5432/shop",
            "postgresql+psycopg2://app2@db2.example.org:6000/shop2",
        ),
        (
            "postgresql:///shop?host=10.0.0.5&port=5432&user=app&password=p%40ss%2Fw&x=1",
            "postgresql:///shop2?host=db2.example.org&port=6000&user=app2&password=n%3Aw%40x&x=1",
        ),
        ("postgresql:///shop?x=1&host=10.0.0.5", None),
        ("postgresql+psycopg://app@/shop?host=10.0.0.5:5432", None),
        (
            "jdbc:postgresql://10.0.0.5:5432/shop?user=app&password=p%40ss%2Fw&ssl=true",
            "jdbc:postgresql://db2.example.org:6000/shop2?user=app2&password=n%3Aw%40x&ssl=true",
        ),
        (
            "postgres://10.0.0.5:5432,10.0.0.5/shop?target_session_attrs=any",
            "postgres://db2.example.org:6000/shop2?target_session_attrs=any",
        ),
        (
            "host=10.0.0.5 port=5432 dbname=shop user=app password='p@ss/w' sslmode=off",
            "host=db2.example.org port=6000 dbname=shop2 user=app2 password='n:w@x' sslmode=off",
        ),
        ("dbname = shop host = 10.0.0.5", "dbname = shop2 host = db2.example.org port=6000"),
        (
            "pgsql:host=10.0.0.5;dbname=shop",
            "pgsql:host=db2.example.org;port=6000;dbname=shop2",
        ),
        (
            "Host=10.0.0.5;Port=5432;Database=shop;Username=app;Password=p@ss/w;Pooling=true",
            "Host=db2.example.org;Port=6000;Database=shop2;Username=app2;Password=n:w@x;Pooling=true",
        ),
        (
            "-Durl=postgres://10.0.0.5/shop -Dx=y",
            "-Durl=postgres://db2.example.org:6000/shop2 -Dx=y",
        ),
        ('"postgres://10.0.0.5/shop"', '"postgres://db2.example.org:6000/shop2"'),
        ("POSTGRES://10.0.0.5/shop", "POSTGRES://db2.example.org:6000/shop2"),
    ],
)
def test_postgres(text: str, expected: str | None) -> None:
    """What is the old side's is replaced, and nothing else."""
    if expected is None:  # no port to replace: one is put beside the host
        expected = text.replace("shop", "shop2").replace("app@", "app2@")
        with_port = "10.0.0.5:5432" in text
        new = "db2.example.org:6000" if with_port else "db2.example.org&port=6000"
        expected = expected.replace("10.0.0.5:5432" if with_port else "10.0.0.5", new)
    assert moved(text, OLD, NEW) == expected
    assert named(text, OLD)
    assert not named(expected, OLD)
    assert named(expected, NEW)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mysql://app:p%40ss%2Fw@10.0.0.5/shop", "mysql://app:new@10.0.0.6:3307/shop"),
        (
            "mysql+pymysql://app@10.0.0.5:3306/shop?charset=utf8mb4",
            "mysql+pymysql://app@10.0.0.6:3307/shop?charset=utf8mb4",
        ),
        (
            "jdbc:mariadb://10.0.0.5:3306/shop?user=app&password=p%40ss%2Fw",
            "jdbc:mariadb://10.0.0.6:3307/shop?user=app&password=new",
        ),
        ("jdbc:mysql:loadbalance://10.0.0.5/shop", "jdbc:mysql:loadbalance://10.0.0.6:3307/shop"),
        ("mysql2://10.0.0.5/shop", "mysql2://10.0.0.6:3307/shop"),
        (
            "app:p@ss/w@tcp(10.0.0.5:3306)/shop?parseTime=true",
            "app:new@tcp(10.0.0.6:3307)/shop?parseTime=true",
        ),
        ("tcp(10.0.0.5)/shop", "tcp(10.0.0.6:3307)/shop"),
        ("mysql:host=10.0.0.5;dbname=shop", "mysql:host=10.0.0.6;port=3307;dbname=shop"),
        (
            "Server=10.0.0.5;Port=3306;Database=shop;Uid=app;Pwd=p@ss/w;",
            "Server=10.0.0.6;Port=3307;Database=shop;Uid=app;Pwd=new;",
        ),
    ],
)
def test_mysql(text: str, expected: str) -> None:
    """The same for MySQL and MariaDB."""
    assert moved(text, MYSQL, MYSQL_NEW) == expected
    assert named(text, MYSQL)
    assert not named(expected, MYSQL)


@pytest.mark.parametrize(
    "text",
    [
        "postgres://10.0.0.5/other",
        "postgres://10.0.0.5:5433/shop",
        "postgres://10.0.0.50/shop",
        "postgres://10.0.0.5",
        "mysql://10.0.0.5/shop",
        "https://10.0.0.5/shop",
        "redis://10.0.0.5:6379/shop",
        "postgres://app:p/w@10.0.0.5/shops",
        "host=10.0.0.5 port=5433 dbname=shop",
        "dbname=shops host=10.0.0.5",
        "10.0.0.5:5432",
        "ghost=10.0.0.5 dbname=shop",
        "",
    ],
)
def test_another_database(text: str) -> None:
    """An address of another server, port or database stays, and is no leftover."""
    assert moved(text, OLD, NEW) is None
    assert not named(text, OLD)


@pytest.mark.parametrize(
    "text",
    [
        "postgres://10.0.0.5,10.0.0.9/shop",
        "hostaddr=10.0.0.5 dbname=shop",
        "host=10.0.0.5 dbname=shop host=10.0.0.9 dbname=x",
        "cockroachdb://10.0.0.5:5432/shop",
        "postgres://app:p/w@10.0.0.5/shop",
        "jdbc:postgresql://(host=10.0.0.5)(port=5432),x/shop",
    ],
)
def test_not_rewritten_but_seen(text: str) -> None:
    """Where another server stands in it too, or it says things twice, it is left, and stops."""
    assert moved(text, OLD, NEW) is None
    assert named(text, OLD)


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("postgresql:///shop", True),
        ("postgresql://%2Fvar%2Frun%2Fpostgresql/shop", True),
        ("dbname=shop", True),
        ("dbname=shop host=/var/run/postgresql port=5433", False),
        ("postgresql://localhost/shop", True),
        ("postgresql://[::1]:5432/shop", True),
        ("postgresql:///shops", False),
    ],
)
def test_this_machine(text: str, seen: bool) -> None:
    """All names of this machine are one, and so are the sockets of its server."""
    near = Database("postgres", (Address("127.0.0.1", 5432),), "shop", "app", "")
    assert named(text, near) is seen
    assert not named(text, OLD)


def test_ipv6() -> None:
    """In brackets where a port may follow, and without in a key of its own."""
    six = Database("postgres", (Address("2001:db8::5", 5432),), "shop", "app", "")
    new = Database("postgres", (Address("2001:db8::6", 5433),), "shop", "app", "")
    assert moved("postgres://[2001:db8::5]/shop", six, new) == "postgres://[2001:db8::6]:5433/shop"
    text = "host=2001:db8::5 port=5432 dbname=shop"
    assert moved(text, six, new) == "host=2001:db8::6 port=5433 dbname=shop"
    assert moved("postgres://[2001:DB8::5]:5432/shop", six, NEW) == (
        "postgres://db2.example.org:6000/shop2"
    )


def test_default_ports_stay_away() -> None:
    """Where no port stood and none is needed, none is written."""
    new = Database("postgres", (Address("10.0.0.6", 5432),), "shop", "app", "")
    assert moved("postgres://10.0.0.5/shop", OLD, new) == "postgres://10.0.0.6/shop"
    assert moved("postgres://10.0.0.5:5432/shop", OLD, new) == "postgres://10.0.0.6:5432/shop"
    assert moved("host=10.0.0.5 dbname=shop", OLD, new) == "host=10.0.0.6 dbname=shop"
    assert moved("postgres://10.0.0.5/shop", OLD, OLD) == "postgres://10.0.0.5/shop"


def test_two_addresses() -> None:
    """A new side that is reached by two addresses, in each form of a list."""
    places = (Address("127.0.0.1", 7001), Address("10.0.0.6", 5432))
    new = Database("postgres", places, "shop", "app", "")
    listed = "127.0.0.1:7001,10.0.0.6:5432"
    assert moved("postgres://a@10.0.0.5/shop", OLD, new) == f"postgres://a@{listed}/shop"
    assert moved("host=10.0.0.5 port=5432 dbname=shop", OLD, new) == (
        "host=127.0.0.1,10.0.0.6 port=7001,5432 dbname=shop"
    )
    alchemy = "postgresql+psycopg2://a@/shop?host=127.0.0.1:7001&host=10.0.0.6:5432"
    assert moved("postgresql+psycopg2://a@10.0.0.5/shop", OLD, new) == alchemy
    assert moved(alchemy, new, OLD) == "postgresql+psycopg2://a@/shop?host=10.0.0.5:5432"
    assert moved(f"postgres://a@{listed}/shop", new, OLD) == "postgres://a@10.0.0.5:5432/shop"


def test_databases_in_files() -> None:
    """The path is moved, driver and options stay."""

    def move(path: str) -> str | None:
        found = "/old/data/" + path if not path.startswith("/") else path
        return found.replace("/old/", "/new/") if found.startswith("/old/") else None

    for text, expected in {
        "sqlite:////old/data/x.db": "sqlite:////new/data/x.db",
        "sqlite:///x.db": "sqlite:////new/data/x.db",
        "sqlite+aiosqlite:////old/data/x.db?timeout=5": "sqlite+aiosqlite:////new/data/x.db?timeout=5",
        "jdbc:sqlite:/old/data/x.db": "jdbc:sqlite:/new/data/x.db",
        "sqlite:/old/data/x.db": "sqlite:/new/data/x.db",
        "file:/old/data/x.db?mode=ro": "file:/new/data/x.db?mode=ro",
        "sqlite:////old/my data/x.db": "sqlite:////new/my data/x.db",
        "sqlite:////srv/x.db": None,
        "sqlite:///:memory:": None,
        "sqlite://": None,
        "/old/data/x.db": None,
    }.items():
        assert moved_file(text, move) == expected, text
    assert file_of("sqlite+pysqlite:////a/b.db?x=1") == "/a/b.db"
    assert file_of("/a/b.db") == "/a/b.db"


@settings(max_examples=200, deadline=None)
@given(st.text("ap:/@?&=#%.5,[]() '\"\\;tcph", max_size=40), st.booleans())
def test_any_text(text: str, around: bool) -> None:
    """Nothing is an error, and where both sides are one, no character changes."""
    if around:
        text = f"{text}postgres://app:{text}@10.0.0.5/shop{text}"
    assert moved(text, OLD, OLD) in (None, text)
    named(text, OLD)
    named(text, MYSQL)


@settings(max_examples=100, deadline=None)
@given(st.text(min_size=1, max_size=12), st.text(min_size=1, max_size=12))
def test_any_password(old: str, new: str) -> None:
    """Whatever characters a password has, it comes out as it should."""
    before = Database("postgres", (PLACE,), "shop", "app", old)
    after = Database("postgres", NEW.addresses, "shop", "app", new)
    text = f"postgres://app:{quote(old, safe='')}@10.0.0.5/shop"
    result = moved(text, before, after)
    assert result is not None
    password = result.removeprefix("postgres://app:").partition("@")[0]
    assert unquote(password) == (new if old != new else old)


@pytest.mark.parametrize(
    "text",
    [
        "jdbc:postgresql://h/x?user=a&password=hunter2",
        "host=h password=hunter2",
        "app:hunter2@tcp(h)/x",
        "Server=h;Pwd=hunter2",
    ],
)
def test_a_password_in_an_address_is_a_secret(text: str) -> None:
    """Under whatever name it stands, such a value is never shown."""
    assert looks_secret(text)
