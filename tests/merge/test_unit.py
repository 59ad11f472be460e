"""systemd's units and drop-ins."""

from __future__ import annotations

from hypothesis import strategies as st
from tests.merge.contract import FormatContract, found_texts, model

from crossfade.merge._types import Drop, Put, Write
from crossfade.merge.formats.unit import Unit

UNIT = Unit()

MATRIX = """\
[Unit]
Description=Matrix
After=network.target  postgresql.service

[Service]
# what it needs
Environment=A=1
Environment="B=two words" C=3
ExecStart=
ExecStart = /usr/bin/synapse \\
    --config /etc/synapse.yaml \\
# not now: --debug
    --keys
#LimitNOFILE=1024
; Nice=5
Restart=always
Type=
[Install]
WantedBy=multi-user.target
"""

NAMES = st.sampled_from(["ExecStart", "Environment", "After", "Nice"])
VALUES = st.one_of(
    st.sampled_from(
        ["", "/bin/x -a", "a = b", "x \\\n  y", "x \\\n# no\n y", "\\\\", "[x]", "a;b"]
    ),
    st.text("ab =;#[]\t%é\\", max_size=8),
)
ENTRY = st.tuples(NAMES, st.sampled_from(["=", " = "]), VALUES, st.sampled_from(["", "", "#"]))


@st.composite
def unit_texts(draw: st.DrawFn) -> str:
    """Sections in any order, some twice, with repeated directives and joined lines."""
    lines = []
    for section in draw(st.lists(st.sampled_from(["Unit", "Service", "Install"]), max_size=4)):
        lines += [*draw(st.lists(st.sampled_from(["", "# above"]), max_size=2)), f"[{section}]"]
        for name, equals, value, off in draw(st.lists(ENTRY, max_size=5)):
            lines += draw(st.lists(st.sampled_from(["", "# told", "; t"]), max_size=2))
            lines.append(f"{off}{name}{equals}{value if not off else value[:3]}")
    end = draw(st.sampled_from(["\n", "\r\n"]))
    return "\n".join(lines).replace("\n", end) + draw(st.sampled_from(["", end]))


class TestContract(FormatContract):
    """The contract of formats."""

    format = UNIT
    examples = (MATRIX, "[Service]\nExecStart=/bin/a\nNice=1\n[Unit]\n[Service]\nNice=2\n")
    refused = (
        ("PASS=hunter2\n", 1),
        ("[Service]\nEnvironment=P=hunter2\nhunter2\n", 3),
        ("[Service\nEnvironment=P=hunter2\n", 1),
        ("[Service]\nEnvironment=P=hunter2 \\\n", 2),
        ("[Service]\nEnvironment \\\n=P=hunter2\n", 2),
    )
    texts = unit_texts()


def test_what_is_read() -> None:
    """Values of one directive are one setting, with the empty ones; joined lines are one."""
    document = UNIT.read(MATRIX)
    assert model(document) == {
        ("Unit", "Description"): "Matrix",
        ("Unit", "After"): "network.target  postgresql.service",
        ("Service", "Environment"): ("A=1", '"B=two words" C=3'),
        ("Service", "ExecStart"): (
            "",
            "/usr/bin/synapse  --config /etc/synapse.yaml  --keys",
        ),
        ("Service", "Restart"): "always",
        ("Service", "Type"): "",
        ("Install", "WantedBy"): "multi-user.target",
    }
    assert set(document.commented) == {("Service", "LimitNOFILE"), ("Service", "Nice")}


def test_repeated_directives_change_as_one() -> None:
    """More values come behind the last one, fewer go from the end, all are dropped."""
    document = UNIT.read("[Service]\nEnvironment=A=1\nEnvironment=B=1\nNice=1\n")
    more = UNIT.read("[Service]\nEnvironment=A=2\nEnvironment=B=1\n# why\nEnvironment = C=1\n")
    path = ("Service", "Environment")
    assert UNIT.edited(document, [Put(path, more)]) == (
        "[Service]\nEnvironment=A=2\nEnvironment=B=1\nEnvironment = C=1\nNice=1\n"
    )
    fewer = UNIT.edited(document, [Write(path, ("A=1",))])
    assert fewer == "[Service]\nEnvironment=A=1\nNice=1\n"
    assert UNIT.edited(document, [Write(path, ("A=1", "B=1", "C=1"))]) == (
        "[Service]\nEnvironment=A=1\nEnvironment=B=1\nEnvironment=C=1\nNice=1\n"
    )
    assert UNIT.edited(document, [Drop(path)]) == "[Service]\nNice=1\n"


def test_a_new_directive_goes_below_its_twin() -> None:
    """With all its values and the comment above the first."""
    source = UNIT.read("[Service]\n# many files\nLimitNOFILE=9999\nLimitNOFILE=99\n")
    after = UNIT.edited(UNIT.read(MATRIX), [Put(("Service", "LimitNOFILE"), source)])
    twin = "#LimitNOFILE=1024\n"
    new = "# many files\nLimitNOFILE=9999\nLimitNOFILE=99\n"
    assert after == MATRIX.replace(twin, twin + new)


def test_real_units_stay_byte_for_byte() -> None:
    """The units of this machine's packages, and systemd's own configuration."""
    read = 0
    for path, text in found_texts(("/usr/lib/systemd", "/etc/systemd"), ("*.*",)):
        if UNIT.claims(path, text) == 3:
            document = UNIT.read(text)
            assert UNIT.edited(document, []) == text
            own = [Put(setting, document) for setting in document.settings]
            assert UNIT.edited(document, own) == text
            read += 1
    assert read >= 20
