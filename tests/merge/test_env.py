"""Files that set environment variables."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import strategies as st
from tests.merge.contract import SECRET, FormatContract, found_texts, model

from crossfade.merge._types import Path, Put, Unreadable, Write
from crossfade.merge.formats import apart
from crossfade.merge.formats.env import Env

ENV = Env()

DOTENV = """\
# What compose reads
DB_HOST=db.example.org
DB_PASSWORD='with $igns'  # told
# DB_PORT=5432
GREETING=two words # told
QUOTED="two words"
EMPTY=
KEY = "a
b"
URL=${SCHEME}://x#y
"""

SETENV = """\
#!/bin/sh
# heap of the server
export CATALINA_OPTS="-Xmx1g"
JAVA_HOME=$(readlink -f "/usr/lib/jvm")   # told
CATALINA_OPTS="$CATALINA_OPTS -Dx=\\"y\\""
#UMASK=0027
if [ -r /etc/default/x ]; then
  . /etc/default/x
  INNER=1
fi
case "$1" in
  start|stop) OTHER=1 ;;
esac
f() { LOCAL=1; }
test -f /x &&
  JOINED=1
tool --one \\
  TWO=2
export JAVA_HOME
A=1 B=2
NAME='one '"two"
"""

NAMES = st.sampled_from(["A", "B", "LONG_NAME", "C"])
DOTENV_VALUES = st.one_of(
    st.sampled_from(
        ["1", "", "a b", "'x y'", '"a $B"', '"x\ny"', "a # told", "#a", "${A}", "'a'b"]
    ),
    st.text("ab =#$'\"\\\té", max_size=8),
)
DOTENV_ENTRY = st.tuples(st.sampled_from(["", "", " ", "#", "# "]), NAMES, DOTENV_VALUES)
SHELL_VALUES = st.one_of(
    st.sampled_from(
        [
            "1",
            "",
            "'x y'",
            '"$A b"',
            '$(cat "x y")',
            "`a b`",
            "a\\ b",
            "'a'\"b\"",
            "${B:-x y}",
            "a b",
        ]
    ),
    st.text("ab =#$\té", max_size=6).map(lambda text: f"'{text}'"),
    st.text("ab$'\"\\{}`;", max_size=3),
)
SHELL_ENTRY = st.tuples(st.sampled_from(["", "", "export ", "#", "  "]), NAMES, SHELL_VALUES)
CODE = st.sampled_from(
    [
        "",
        "# told",
        ". /etc/x",
        "if a; then\n  A=2\nfi",
        "export A",
        "f() {\n  x\n}",
        "x && y",
        "x |\ny",
    ]
)


@st.composite
def dotenv_texts(draw: st.DrawFn) -> str:
    """Assignments with all quotes, comments and blank lines."""
    lines = []
    for indent, name, value in draw(st.lists(DOTENV_ENTRY, max_size=6)):
        lines += draw(st.lists(st.sampled_from(["", "# told", "  # in"]), max_size=2))
        lines.append(f"{indent}{name}={value if '#' not in indent else value[:2].strip()}")
    return (
        draw(st.sampled_from(["", "\ufeff"])) + "\n".join(lines) + draw(st.sampled_from(["", "\n"]))
    )


@st.composite
def shell_texts(draw: st.DrawFn) -> str:
    """Assignments between other code."""
    lines = draw(st.sampled_from([["#!/bin/sh"], ["export X=1"]]))
    for indent, name, value in draw(st.lists(SHELL_ENTRY, max_size=6)):
        lines = [*lines, *draw(st.lists(CODE, max_size=2))]
        lines.append(f"{indent}{name}={value if '#' not in indent else value[:2].strip()}")
    return "\n".join(lines) + draw(st.sampled_from(["", "\n"]))


class EnvContract(FormatContract):
    """What both kinds have in common."""

    format = ENV

    def other(self, path: Path, value: object) -> object:
        """A raw value stays one."""
        if isinstance(value, str) and set(value) & set("$'\"\\`"):
            return f'"${SECRET}"' if value != f'"${SECRET}"' else f"'${SECRET}'"
        return super().other(path, value)


class TestDotenvContract(EnvContract):
    """The contract of formats, for .env."""

    examples = (DOTENV, "A=1\nB=2\nA=3\n")
    refused = (
        ("A=1\nPASS='hunter2\n", 2),
        ("PASS=hunter2\nif x\n", 2),
        ('PASS=hunter2\nB="x" y "\n', 2),
    )
    texts = dotenv_texts()


class TestShellContract(EnvContract):
    """The contract of formats, for code of the shell."""

    examples = (SETENV,)
    refused = (
        ("export A=1\nif x; then\nPASS=hunter2\n", 2),
        ("export A=1\ncat <<EOF\nPASS=hunter2\nEOF\n", 2),
        ("export A=1\nfi\nPASS=hunter2\n", 2),
        ("export A=1\nPASS=hunter2 )\n", 2),
    )
    texts = shell_texts()


def test_what_is_read_of_dotenv() -> None:
    """Plain text without its quotes, anything with special characters as it stands."""
    document = ENV.read(DOTENV)
    assert model(document) == {
        ("DB_HOST",): "db.example.org",
        ("DB_PASSWORD",): "'with $igns'",
        ("GREETING",): "two words",
        ("QUOTED",): "two words",
        ("EMPTY",): "",
        ("KEY",): "a\nb",
        ("URL",): "${SCHEME}://x#y",
    }
    assert set(document.commented) == {("DB_PORT",)}


def test_what_is_read_of_the_shell() -> None:
    """Only plain assignments that are made in any case; the rest stands apart."""
    document = ENV.read(SETENV)
    assert model(document) == {
        ("CATALINA_OPTS",): ("-Xmx1g", '"$CATALINA_OPTS -Dx=\\"y\\""'),
        ("JAVA_HOME",): '$(readlink -f "/usr/lib/jvm")',
        ("NAME",): "'one '\"two\"",
    }
    assert set(document.commented) == {("UMASK",)}
    assert [line for line, _ in apart(document)] == [7, 11, 14, 15, 17, 19, 20]


def test_what_is_read_is_what_a_shell_has() -> None:
    """Plain values are those of a real shell."""
    text = "export A='x y'\nB=\"z\"\n#C=1\nexport D=a/b:c E=1\nB='last'\nF=#x\nG=\n"
    said = subprocess.run(
        ["/bin/sh"],
        input=f'{text}echo "$A|$B|$F|$G"',
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    )
    values = model(ENV.read(text))
    assert values == {("A",): "x y", ("B",): ("z", "last"), ("F",): "#x", ("G",): ""}
    assert said.stdout == "x y|last|#x|\n"


def test_a_new_variable_goes_below_its_twin() -> None:
    """With its comment, and with its export."""
    source = ENV.read("# strict\nexport UMASK=0077\n")
    after = ENV.edited(ENV.read(SETENV), [Put(("UMASK",), source)])
    assert after == SETENV.replace("#UMASK=0027\n", "#UMASK=0027\n# strict\nexport UMASK=0077\n")


def test_quotes_are_kept_and_made() -> None:
    """The quotes that stand there stay; what needs some gets them; a $ needs the caller's own."""
    document = ENV.read(DOTENV)
    edits = [
        Write(("DB_HOST",), "two words"),
        Write(("GREETING",), "three more words"),
        Write(("QUOTED",), "one"),
        Write(("EMPTY",), "'$x'"),
    ]
    after = ENV.edited(document, edits)
    assert after == DOTENV.replace("=db.example.org", '="two words"').replace(
        "GREETING=two words", "GREETING=three more words"
    ).replace('QUOTED="two words"', 'QUOTED="one"').replace("EMPTY=", "EMPTY='$x'")
    with pytest.raises(Unreadable, match="own quotes"):
        ENV.edited(document, [Write(("DB_HOST",), "pa$$word")])


def test_what_depends_on_other_code_is_not_done() -> None:
    """A name that other code sets too, one that is used before it is set, one behind a source."""
    document = ENV.read("export A=1\nB=2\n[ -z x ] || C=3\n")
    with pytest.raises(Unreadable, match="also set in code"):
        ENV.edited(document, [Put(("C",), ENV.read("export A=1\nC=4\n"))])
    with pytest.raises(Unreadable, match="depends on what is set before"):
        ENV.edited(document, [Put(("B",), ENV.read('export D=1\nB="$D"\n'))])
    both = ENV.read('export A=1\nD=1\nB="$D"\n')
    after = ENV.edited(document, [Put(("B",), both), Put(("D",), both)])
    assert after == 'export A=1\nD=1\nB="$D"\n[ -z x ] || C=3\n'
    sourced = ENV.read(". /etc/x\nexport A=1\n")
    with pytest.raises(Unreadable, match="other side of an include"):
        ENV.edited(sourced, [Put(("A",), ENV.read("export A=2\n. /etc/x\n"))])
    around = ENV.read("export A=1\n. /etc/x\nA=2\n")
    with pytest.raises(Unreadable, match="other side of an include"):
        ENV.edited(around, [Put(("A",), ENV.read("export A=1\nA=3\n. /etc/x\nA=2\n"))])


def test_real_files_stay_byte_for_byte() -> None:
    """What Debian's packages have in /etc/default, and profiles of shells."""
    read = 0
    for path, text in found_texts(("/etc/default", "/etc/profile.d", "/etc/init.d"), ("*",)):
        if ENV.claims(path, text) == 3:
            document = ENV.read(text)
            own = [Put(setting, document) for setting in document.settings]
            assert ENV.edited(document, own) == text
            read += 1
    assert read >= 3
