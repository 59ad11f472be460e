"""Java's properties."""

from __future__ import annotations

from hypothesis import strategies as st
from tests.merge.contract import FormatContract, found_texts, model

from crossfade.merge._types import Put, Write
from crossfade.merge.formats.properties import Properties

PROPERTIES = Properties()

CATALINA = """\
# A licence

! of a kind
package.access=sun.,\\
org.apache.catalina.

common.loader="${catalina.base}/lib","${catalina.home}/lib"
  shared.loader :
 path\\ with\\:colon = C:\\\\temp\\u00e9
white space
bare
# told
#jars.toSkip=\\
#a.jar,\\
#b.jar
tail = \\
   one, \\
   # no comment
"""

NAMES = st.sampled_from(["a", "b.c", "b\\ c", "d\\u0065", "path-x", "\\#e"])
VALUES = st.one_of(
    st.sampled_from(
        ["1", "", "x y ", "a\\\n  b", "= x", "\\ x", "\\u00e9", "é", "a\\\n#b", "\\\\"]
    ),
    st.text("ab =:#!\\\té\f", max_size=8),
)
ENTRY = st.tuples(
    st.sampled_from(["", "", "  ", "#"]),
    NAMES,
    st.sampled_from(["=", " = ", ":", " ", "\t", "\\\n =", ""]),
    VALUES,
)


@st.composite
def properties_texts(draw: st.DrawFn) -> str:
    """Entries with all separators, comments and blank lines."""
    lines = []
    for indent, name, separator, value in draw(
        st.lists(ENTRY, max_size=7, unique_by=lambda entry: entry[1])
    ):
        lines += draw(st.lists(st.sampled_from(["", "# told", "! x\\", "  "]), max_size=2))
        one = f"{indent}{name}{separator}{value if separator else ''}"
        lines.append(one if indent != "#" else one.replace("\n", "\n#"))
    end = draw(st.sampled_from(["\n", "\r\n"]))
    return "\n".join(lines).replace("\n", end) + draw(st.sampled_from(["", end]))


class TestContract(FormatContract):
    """The contract of formats."""

    format = PROPERTIES
    examples = (CATALINA, "a=1\nb:2\n")
    refused = (
        ("a=hunter2\nb=1\na=2\n", 3),
        ("a=1\n=hunter2\n", 2),
        ("a=hunter2\\u12\n", 1),
        ("a=hunter2\\\n", 1),
    )
    texts = properties_texts()


def test_what_is_read() -> None:
    """Names and values without escapes; lines that go on are one."""
    document = PROPERTIES.read(CATALINA)
    assert model(document) == {
        ("package.access",): "sun.,org.apache.catalina.",
        ("common.loader",): '"${catalina.base}/lib","${catalina.home}/lib"',
        ("shared.loader",): "",
        ("path with:colon",): "C:\\tempé",
        ("white",): "space",
        ("bare",): "",
        ("tail",): "one, # no comment",
    }
    assert {path: found.line for path, found in document.commented.items()} == {
        ("jars.toSkip",): 13
    }


def test_a_new_property_goes_below_all_lines_of_its_twin() -> None:
    """With its comment; the lines of a value that goes on come with it."""
    source = PROPERTIES.read("# mine\njars.toSkip = x.jar,\\\n  y.jar\n")
    after = PROPERTIES.edited(PROPERTIES.read(CATALINA), [Put(("jars.toSkip",), source)])
    assert after == CATALINA.replace("#b.jar\n", f"#b.jar\n{source.text}")


def test_values_are_written_with_escapes() -> None:
    """In ASCII, and nothing is lost at the beginning."""
    document = PROPERTIES.read(CATALINA)
    values = {"white": ": x", "bare": " é\n\U0001f600", "shared.loader": "C:\\"}
    edits = [Write((name,), value) for name, value in values.items()]
    after = PROPERTIES.edited(document, edits)
    assert "white \\: x\n" in after
    assert "bare=\\ \\u00e9\\n\\ud83d\\ude00\n" in after
    assert "  shared.loader :C:\\\\\n" in after or "  shared.loader : C:\\\\\n" in after


def test_real_files_stay_byte_for_byte() -> None:
    """The properties of Debian's packages."""
    for path, text in found_texts(("/etc", "/usr/share"), ("*.properties",)):
        if PROPERTIES.claims(path, text) == 3:
            document = PROPERTIES.read(text)
            own = [Put(setting, document) for setting in document.settings]
            assert PROPERTIES.edited(document, own) == text
