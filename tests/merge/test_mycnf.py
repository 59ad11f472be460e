"""The option files of MySQL and MariaDB."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from tests.merge.contract import FormatContract, found_texts, model

from crossfade.merge._types import Put, Unreadable, Write
from crossfade.merge.formats.mycnf import MyCnf, included

CNF = MyCnf()

MARIADB = """\
# The first of all
[client-server]
# Port or socket
# port = 3306
socket = /run/mysqld/mysqld.sock

[mysqld]
bind-address            = 127.0.0.1   # only here
skip-name-resolve
#skip-networking
#max_connections        = 100
character_set_server = 'utf8mb4'
init_connect = "SET NAMES 'utf8' # no comment"
basedir = C:\\\\mysql\\sx
replicate-do-db = a
replicate_do_db = b
empty =

# Import all .cnf files
!includedir /etc/mysql/conf.d/
"""

NAMES = st.sampled_from(["port", "max-connections", "max_connections", "skip-x", "socket"])
VALUES = st.one_of(
    st.sampled_from(
        ["1", "", "'a # b'", '"x y"', "a\\tb", "a # told", "C:\\\\x", "'a\\'b'", "a'b'"]
    ),
    st.text("ab =;#[]\té", max_size=6).map(lambda text: f"'{text}'"),
    st.text("ab =;#[]\t'é\\", max_size=4),
)
ENTRY = st.tuples(NAMES, st.sampled_from(["=", " = ", ""]), VALUES, st.sampled_from(["", "", "#"]))


@st.composite
def cnf_texts(draw: st.DrawFn) -> str:
    """Groups in any order, some twice, with flags, quotes, comments and includes."""
    lines = []
    for section in draw(st.lists(st.sampled_from(["mysqld", "client", "x"]), max_size=4)):
        lines += [*draw(st.lists(st.sampled_from(["", "# above"]), max_size=2)), f"[{section}]"]
        for name, equals, value, off in draw(st.lists(ENTRY, max_size=5)):
            apart = st.sampled_from(["", "# told", "; t", "!include /etc/x.cnf"])
            lines += draw(st.lists(apart, max_size=2))
            lines.append(f"{off}{name}{equals}{value if equals else ''}")
    end = draw(st.sampled_from(["\n", "\r\n"]))
    return "\n".join(lines).replace("\n", end) + draw(st.sampled_from(["", end]))


class TestContract(FormatContract):
    """The contract of formats."""

    format = CNF
    examples = (MARIADB, "[a]\nx\ny = 1\n[b]\n[a]\nx = 2\n")
    refused = (
        ("password = hunter2\n", 1),
        ("[client]\npassword = 'hunter2\n", 2),
        ("[client\npassword = hunter2\n", 1),
        ("[client]\npassword = hunter2\n!included x\n", 3),
    )
    texts = cnf_texts()


def test_what_is_read() -> None:
    """Quotes, escapes and comments are not of the value; a flag has none."""
    document = CNF.read(MARIADB)
    assert model(document) == {
        ("client-server", "socket"): "/run/mysqld/mysqld.sock",
        ("mysqld", "bind_address"): "127.0.0.1",
        ("mysqld", "skip_name_resolve"): None,
        ("mysqld", "character_set_server"): "utf8mb4",
        ("mysqld", "init_connect"): "SET NAMES 'utf8' # no comment",
        ("mysqld", "basedir"): "C:\\mysql x",
        ("mysqld", "replicate_do_db"): ("a", "b"),
        ("mysqld", "empty"): "",
    }
    assert set(document.commented) == {
        ("client-server", "port"),
        ("mysqld", "skip_networking"),
        ("mysqld", "max_connections"),
    }
    assert included(document) == ((20, "/etc/mysql/conf.d/"),)


def test_another_spelling_is_the_same_option() -> None:
    """The value is put where the document has the option, in the document's spelling."""
    source = CNF.read("[mysqld]\nbind_address = '::'\n")
    after = CNF.edited(CNF.read(MARIADB), [Put(("mysqld", "bind_address"), source)])
    assert after == MARIADB.replace("127.0.0.1   #", "'::'   #")


def test_a_flag_and_a_value() -> None:
    """A flag that has a value elsewhere gets that line, and so does the other way round."""
    document = CNF.read("[a]\nx\ny = 1\n")
    source = CNF.read("[a]\nx = off\ny\n")
    edits = [Put(("a", "x"), source), Put(("a", "y"), source)]
    assert CNF.edited(document, edits) == "[a]\nx = off\ny\n"
    assert CNF.edited(document, [Write(("a", "x"), "off")]) == "[a]\nx=off\ny = 1\n"


def test_quotes_are_written_where_they_are_needed() -> None:
    """The quotes that stand there stay; a value that needs some gets them."""
    edits = [
        Write(("mysqld", "character_set_server"), "utf8"),
        Write(("mysqld", "bind_address"), "a#b"),
        Write(("mysqld", "basedir"), " x"),
        Write(("mysqld", "empty"), "'\""),
    ]
    after = CNF.edited(CNF.read(MARIADB), edits)
    assert "character_set_server = 'utf8'\n" in after
    assert '= "a#b"   # only here\n' in after
    assert 'basedir = " x"\n' in after
    assert "empty = '\\'\"'\n" in after


def test_what_an_include_would_change_is_not_done() -> None:
    """A group that stood before an include is put before it, and never behind it."""
    source = CNF.read("[backup]\nuser = x\n!includedir /etc/mysql/conf.d/\n[c]\nd = 1\n")
    edits = [Put(("backup", "user"), source), Put(("c", "d"), source)]
    after = CNF.edited(CNF.read(MARIADB), edits)
    place = "# Import all .cnf files\n!includedir /etc/mysql/conf.d/\n"
    assert after == MARIADB.replace(place, f"[backup]\nuser = x\n{place}\n[c]\nd = 1\n")
    behind = CNF.read("[a]\n!include x\nb = 1\n")
    with pytest.raises(Unreadable, match="other side of an include"):
        CNF.edited(behind, [Put(("a", "b"), CNF.read("[a]\nb = 2\n!include x\n"))])


def test_real_files_stay_byte_for_byte() -> None:
    """The option files of Debian's packages, where some are here, and of MariaDB's."""
    for path, text in found_texts(("/etc", "/usr/share"), ("*.cnf",)):
        if CNF.claims(path, text) == 3:
            document = CNF.read(text)
            own = [Put(setting, document) for setting in document.settings]
            assert CNF.edited(document, own) == text
