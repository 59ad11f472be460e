"""INI as configparser has it."""

from __future__ import annotations

from hypothesis import strategies as st
from tests.merge.contract import FormatContract, found_texts, model
from tests.merge.pairs import templates

from crossfade.merge._types import Put, Write
from crossfade.merge.formats.ini import Ini

INI = Ini()

AIRFLOW = """\
# a licence
[core]
# The folder where dags are
dags_folder = /opt/airflow/dags
; how many
Parallelism = 32

# commented
# executor = Sequential
#     second line of it
# not_a = twin of this section

[logging]
format = %(asctime)s
handlers =
    console,
    # between
    file

    last
empty =
colon: yes
hash = #abc
"""

TOP = """\
app_mode = production
;instance_name = ${HOSTNAME}

[server]
;http_port = 3000
  protocol = http
  domain=localhost
"""

SUPERVISOR = """\
[unix_http_server]
file=/tmp/supervisor.sock   ; the path to the socket file
;chmod=0700                 ; socket file mode

;[inet_http_server]         ; inet (TCP) server disabled by default
;port=127.0.0.1:9001        ; ip_address:port

[supervisord]
loglevel=info;no # comment
environment=A="1", # first
    B="2" ; second
"""

NAMES = st.sampled_from(["a", "b", "Port", "long.name", "url-x"])
VALUES = st.one_of(
    st.sampled_from(["1", "", "x y", "a = b", "#no", "%(here)s", "z ; c", "é", "[x]", "\\", "a:b"]),
    st.text("ab =:;#[]\t%é", max_size=8),
)
ENTRY = st.tuples(NAMES, st.sampled_from(["=", " = ", ": ", "=  "]), VALUES, st.booleans())


@st.composite
def ini_texts(draw: st.DrawFn) -> str:
    """Sections in any order, with values of one and more lines, comments, and blank lines."""
    lines = []
    for section in draw(st.lists(st.sampled_from(["one", "two", "DEFAULT"]), unique=True)):
        lines += draw(st.lists(st.sampled_from(["", "# above", "; x", "  # in"]), max_size=2))
        lines.append(f"[{section}]")
        indent = draw(st.sampled_from(["", "", "  "]))
        for name, delimiter, value, off in draw(
            st.lists(ENTRY, max_size=5, unique_by=lambda entry: entry[0].lower())
        ):
            lines += draw(st.lists(st.sampled_from(["", "# told", ";t = 1"]), max_size=2))
            lines.append(f"{'# ' if off else indent}{name}{delimiter}{value}")
            more = st.sampled_from(["    second", "\t\tthird", "    # between", ""])
            lines += draw(st.lists(more, max_size=3)) if not off else []
    end = draw(st.sampled_from(["\n", "\r\n"]))
    return (
        draw(st.sampled_from(["", "\ufeff"])) + end.join(lines) + draw(st.sampled_from(["", end]))
    )


class TestContract(FormatContract):
    """The contract of formats."""

    format = INI
    examples = (AIRFLOW, TOP, SUPERVISOR)
    refused = (
        ("[a]\nb = hunter2\nB = 2\n", 3),
        ("[a]\nb = hunter2\n[c]\nd = 1\n[a]\ne = 1\n", 5),
        ("[a]\nhunter2\n", 2),
        ("[a]\n= hunter2\n", 2),
        ("[a]\nb = hunter2\rc = 1\n", 2),
    )
    texts = ini_texts()


def test_what_is_read() -> None:
    """Names are in lower case, values as configparser gives them, twins by their section."""
    document = INI.read(AIRFLOW)
    assert model(document) == {
        ("core", "dags_folder"): "/opt/airflow/dags",
        ("core", "parallelism"): "32",
        ("logging", "format"): "%(asctime)s",
        ("logging", "handlers"): "\nconsole,\nfile\n\nlast",
        ("logging", "empty"): "",
        ("logging", "colon"): "yes",
        ("logging", "hash"): "#abc",
    }
    assert set(document.commented) == {("core", "executor"), ("core", "not_a")}
    assert model(INI.read(TOP))[("app_mode",)] == "production"


def test_comments_behind_values_of_supervisor() -> None:
    """They are no part of the value, and stay when it is written."""
    document = INI.read(SUPERVISOR)
    assert model(document) == {
        ("unix_http_server", "file"): "/tmp/supervisor.sock",
        ("supervisord", "loglevel"): "info;no",
        ("supervisord", "environment"): 'A="1",\nB="2"',
    }
    commented = {path: found.raw for path, found in document.commented.items()}
    assert commented == {
        ("unix_http_server", "chmod"): "0700",
        ("inet_http_server", "port"): "127.0.0.1:9001",
    }
    after = INI.edited(document, [Write(("unix_http_server", "file"), "/run/s")])
    assert after == SUPERVISOR.replace("/tmp/supervisor.sock", "/run/s")


def test_a_new_key_goes_below_its_twin_with_its_comments() -> None:
    """The twin may have several lines; comments that the document has are not put twice."""
    source = INI.read("[core]\n# The folder where dags are\n# why we do\nEXECUTOR = Celery\n")
    after = INI.edited(INI.read(AIRFLOW), [Put(("core", "executor"), source)])
    place = "# executor = Sequential\n#     second line of it\n"
    assert after == AIRFLOW.replace(place, f"{place}# why we do\nEXECUTOR = Celery\n")


def test_a_new_key_goes_beside_its_neighbours() -> None:
    """Below what stands above it in the source, else above what stands below it."""
    document = INI.read("[s]\na = 1\n# about c\nc = 3\n[t]\n")
    source = INI.read("[s]\nz = 0\na = 2\nb = 2\n[t]\ny = 1\n[u]\nx = 1\n")
    edits = [Put(path, source) for path in [("s", "z"), ("u", "x"), ("s", "b"), ("t", "y")]]
    after = "[s]\nz = 0\na = 1\nb = 2\n# about c\nc = 3\n[t]\ny = 1\n\n[u]\nx = 1\n"
    assert INI.edited(document, edits) == after
    assert INI.edited(document, edits[::-1]) == after


def test_indentation_is_that_of_the_section() -> None:
    """A new name that stood further left or right does not become a second line of a value."""
    document = INI.read("[s]\n  a = 1\n  c = 3\n")
    after = INI.edited(document, [Put(("s", "b"), INI.read("[s]\na = 1\nb = 2\n  two\nc = 3\n"))])
    assert after == "[s]\n  a = 1\n  b = 2\n    two\n  c = 3\n"


def test_a_commented_section_is_no_place() -> None:
    """A twin below a header that is a comment is known, but nothing is put below it."""
    document = INI.read("[a]\nx = 1\n# [tls]\n# cert = no\n")
    assert set(document.commented) == {("tls", "cert")}
    after = INI.edited(document, [Put(("tls", "cert"), INI.read("[tls]\ncert = yes\n"))])
    assert after == "[a]\nx = 1\n# [tls]\n# cert = no\n\n[tls]\ncert = yes\n"


def test_values_of_several_lines_are_written_as_they_stood() -> None:
    """The indentation of later lines stays, an empty value gets a space where others have one."""
    edits = [Write(("logging", "handlers"), "\nconsole\nmail"), Write(("logging", "empty"), "x")]
    after = INI.edited(INI.read(AIRFLOW), edits)
    assert "handlers =\n    console\n    mail\nempty = x\ncolon" in after


def test_real_files_stay_byte_for_byte() -> None:
    """The INI files of Debian and of the Python packages here, and real templates."""
    roots = ("/etc", "/usr/share", "/usr/lib")
    read = 0
    for path, text in (*found_texts(roots, ("*.ini", "*.cfg")), *templates("ini")):
        if INI.claims(path, text) == 3:
            document = INI.read(text)
            assert INI.edited(document, []) == text
            own = [Put(setting, document) for setting in document.settings]
            assert INI.edited(document, own) == text
            read += 1
    assert read >= 5
