"""Files of directives without sections: postgresql.conf and redis.conf."""

from __future__ import annotations

import re

from hypothesis import strategies as st
from tests.merge.contract import FormatContract, found_texts, model

from crossfade.merge._types import Drop, Put, Write
from crossfade.merge.formats.postgresql import Postgres
from crossfade.merge.formats.redis import Redis

PG, REDIS = Postgres(), Redis()

POSTGRES = """\
# - Connection Settings -

#listen_addresses = 'localhost'\t\t# what to listen on;
\t\t\t\t\t# comma-separated list
port = 5432\t\t\t\t# (change requires restart)
Max_Connections 100
search_path = '"$user", public''s'  # a ' in it
#work_mem = 4MB
log_line_prefix='%m [%p] # '
random_page_cost = 1.1
port = 5433
my.own = on
include 'a.conf'
include 'b.conf'
include_dir = 'conf.d'
"""

REDIS_CONF = """\
# Accept connections
# on this port
port 6379

# Examples of addresses:
#
# bind 192.168.1.100 10.0.0.1     # listens on two
bind 127.0.0.1 -::1

# requirepass foobared

# save the DB on disk
#
# save 3600 1
# save 300 100
save 900 1
Save ""
rename-command CONFIG "a\\x20b\\n"
masterauth "s p"
logfile 'it\\'s'
dir "./"
# maxmemory <bytes>
"""

PG_NAMES = st.sampled_from(["port", "Port", "work_mem", "a.b", "include", "log_line_prefix"])
PG_VALUES = st.one_of(
    st.sampled_from(["1", "'it''s'", "on", "'a # b'", "'\\101\\n'", "10MB", "-1.5", "' x '", "''"]),
    st.text("a1 =#\té", max_size=6).map(lambda text: f"'{text}'"),
    st.text("ab1-./'", min_size=1, max_size=3),
)
PG_ENTRY = st.tuples(
    st.sampled_from(["", "", "#", "# "]),
    PG_NAMES,
    st.sampled_from(["=", " = ", " "]),
    PG_VALUES,
    st.sampled_from(["", " # told", "\t"]),
)
REDIS_NAMES = st.sampled_from(["port", "save", "SAVE", "include", "requirepass"])
REDIS_VALUES = st.one_of(
    st.sampled_from(["1", '""', "900 1", '"a b"', "'it\\'s' x", '"\\x41\\n\\q"', "a#b", "# x"]),
    st.text("a1 #'\té", max_size=6).map(lambda text: f'"{text}"'),
    st.text('a1 #é"', min_size=1, max_size=3),
)
REDIS_ENTRY = st.tuples(
    st.sampled_from(["", "", "# "]),
    REDIS_NAMES,
    st.sampled_from([" ", "  ", "\t"]),
    REDIS_VALUES,
    st.sampled_from(["", "  "]),
)


@st.composite
def texts(draw: st.DrawFn, entry: st.SearchStrategy[tuple[str, ...]]) -> str:
    """Entries that are on and off, between comments and blank lines."""
    lines = []
    for parts in draw(st.lists(entry, max_size=8)):
        lines += draw(st.lists(st.sampled_from(["", "# told", "#", "  # in"]), max_size=2))
        lines.append("".join(parts))
    end = draw(st.sampled_from(["\n", "\r\n"]))
    return (
        draw(st.sampled_from(["", "\ufeff"])) + end.join(lines) + draw(st.sampled_from(["", end]))
    )


class TestPostgresContract(FormatContract):
    """The contract of formats, for postgresql.conf."""

    format = PG
    examples = (POSTGRES, "a=1\na=2\nb = 'x'\n")
    refused = (
        ("a = 'hunter2\n", 1),
        ("a = 1\nhunter2\n", 2),
        ("a = 1\nb = hunter2 two\n", 2),
        ("a = hunter2\nb =\n", 2),
        ("[section]\na = hunter2\n", 1),
    )
    texts = texts(PG_ENTRY)


class TestRedisContract(FormatContract):
    """The contract of formats, for redis.conf."""

    format = REDIS
    examples = (REDIS_CONF, "port 1\nPORT 2\nsave 1 1\n")
    refused = (
        ('requirepass "hunter2\n', 1),
        ("a 1\nhunter2\n", 2),
        ('a 1\nrequirepass x"hunter2"\n', 2),
        ("a 1\nrequirepass 'hunter2'x\n", 2),
        ("requirepass hunter2\x0b\n", 1),
    )
    texts = texts(REDIS_ENTRY)


def test_what_is_read_of_postgres() -> None:
    """Names in any case, values as the server reads them, the last one, and all includes."""
    document = PG.read(POSTGRES)
    assert model(document) == {
        ("port",): "5433",
        ("max_connections",): "100",
        ("search_path",): '"$user", public\'s',
        ("log_line_prefix",): "%m [%p] # ",
        ("random_page_cost",): "1.1",
        ("my.own",): "on",
        ("include",): ("a.conf", "b.conf"),
        ("include_dir",): ("conf.d",),
    }
    commented = {path: found.raw for path, found in document.commented.items()}
    assert commented == {("listen_addresses",): "'localhost'", ("work_mem",): "4MB"}


def test_what_stands_twice_in_postgres() -> None:
    """The last one is written, all are dropped, and quotes make no other value."""
    document = PG.read("port = 1\nport = 2 # told\n")
    assert PG.edited(document, [Write(("port",), "3")]) == "port = 1\nport = 3 # told\n"
    assert PG.edited(document, [Put(("port",), PG.read("port = '2'\n"))]) == document.text
    assert PG.edited(document, [Drop(("port",))]) == ""


def test_a_new_setting_goes_directly_below_its_twin() -> None:
    """With the comment above it; the value that stands there keeps its comment behind."""
    source = PG.read("# we have many\nListen_Addresses '*' # all\nport=1\n")
    edits = [Put(("listen_addresses",), source), Put(("port",), source)]
    after = PG.edited(PG.read(POSTGRES), edits)
    twin = "#listen_addresses = 'localhost'\t\t# what to listen on;\n"
    new = "# we have many\nListen_Addresses '*' # all\n"
    assert after == POSTGRES.replace(twin, twin + new).replace("5433", "1")


def test_values_are_written_in_quotes_where_they_need_some() -> None:
    """Words and numbers stand without them, unless there were some before."""
    edits = [
        Write(("max_connections",), "200"),
        Write(("random_page_cost",), "it's a\\b"),
        Write(("log_line_prefix",), "%m"),
    ]
    after = PG.edited(PG.read(POSTGRES), edits)
    assert "Max_Connections 200\n" in after
    assert "random_page_cost = 'it''s a\\\\b'\n" in after
    assert "log_line_prefix='%m'\n" in after


def test_what_is_read_of_redis() -> None:
    """Arguments without their quotes where they need none; what may stand often is a tuple."""
    document = REDIS.read(REDIS_CONF)
    assert model(document) == {
        ("port",): "6379",
        ("bind",): "127.0.0.1 -::1",
        ("save",): ("900 1", '""'),
        ("rename-command",): ('CONFIG "a b\\n"',),
        ("masterauth",): '"s p"',
        ("logfile",): '"it\'s"',
        ("dir",): "./",
    }
    commented = {path: found.line for path, found in document.commented.items()}
    assert commented == {("bind",): 7, ("requirepass",): 10, ("save",): 15, ("maxmemory",): 22}


def test_redis_directives_change_as_one() -> None:
    """All values of one name, beside what stands there, and in the quotes that stand there."""
    document = REDIS.read('# save 60 1\nsave 900 1\nsave 300 10\ndir "./"\n')
    more = REDIS.read("save 900 1\nsave 60 5\nsave 1 1\n")
    after = REDIS.edited(document, [Put(("save",), more), Write(("dir",), "/var")])
    assert after == '# save 60 1\nsave 900 1\nsave 60 5\nsave 1 1\ndir "/var"\n'
    off = REDIS.edited(document, [Drop(("save",))])
    assert REDIS.edited(REDIS.read(off), [Put(("save",), document)]) == document.text


def test_the_samples_of_postgres_stay_byte_for_byte() -> None:
    """The samples of Debian's packages: no setting on, or hardly one, and hundreds commented."""
    samples = list(found_texts(("/usr/share/postgresql", "/usr/lib/postgresql"), ("*.conf*",)))
    samples = [(path, text) for path, text in samples if "postgresql.conf" in path]
    assert samples
    for _, text in samples:
        document = PG.read(text)
        commented = re.findall(r"(?m)^#([a-z_.]+) = ", text)
        assert PG.edited(document, []) == text
        assert len(document.commented) == len(set(commented)) > 250
        on = PG.read("".join(f"{name} = 'other'\n" for name in commented))
        after = PG.edited(document, [Put(path, on) for path in document.commented])
        assert re.sub(r"(?m)^[a-z_.]+ = 'other'\n", "", after) == text
        assert len(re.findall(r"(?m)^#([a-z_.]+) = .*\n\1 = 'other'$", after)) == len(commented)
