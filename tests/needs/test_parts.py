"""What is needed of a machine: the questions, and what their answers mean."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.testbed.site import Site

from crossfade.drivers.hosts.local import LocalHost
from crossfade.errors import Refused
from crossfade.manifest import HostSpec
from crossfade.model import Address, Run, Side
from crossfade.needs import _clocks, _installing, _programs, _reach, needs_of
from crossfade.needs._asking import Clock, Question, ask
from crossfade.needs._machines import Machine
from crossfade.needs._need import Need
from crossfade.planning import refuse_lacks

NASTY = ["", " ", "'", '"; exit 3; "', "$(exit 4)", "a\nb", "-n", "é\t*", "`false`"]


def machine(name: str, side: Side, spec: object = None) -> Machine:
    """A machine with one side on it, for judgements that ask nothing."""
    sides: object = ((side, spec),)
    return Machine(LocalHost(), HostSpec("ssh", name), sides)  # type: ignore[arg-type]


def test_words_reach_their_question_whole() -> None:
    """All questions go in one command; whatever is in a word, it comes back as it is, and a
    question that ends its shell does not end the others'."""
    told: list[str] = []

    def judge(answer: str) -> list[Need]:
        told.append(answer)
        return []

    each = [Question("printf '%s' \"$1\"; exit 1", (word,), judge) for word in NASTY]
    clock, needs = ask(LocalHost(), [*each, Question("printf '%s|' \"$@\"", NASTY, judge)])
    assert told == [*NASTY, "".join(f"{word}|" for word in NASTY)]
    assert needs == []
    assert clock
    assert abs(clock.ahead) <= clock.unsure, "it is our own clock"


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ((0, 0.1), (0, 0.1), ""),
        ((-2, 0.1), (2, 0.1), ""),
        ((-3600, 0.1), (0.2, 0.3), "old"),
        ((0, 0.1), (61, 0.2), "new"),
        ((0, 0.1), (61, 1.5), ""),  # a slow link explains it
        ((3600, 0.1), (3600, 0.1), ""),  # only this machine is wrong
    ],
)
def test_clocks(old: tuple[float, float], new: tuple[float, float], code: str) -> None:
    """More than a minute between the sides stops a run, and the fix is for the clock that is
    wrong; a difference to this machine is only told."""
    clocks = [(machine("old", Side.OLD), Clock(*old)), (machine("new", Side.NEW), Clock(*new))]
    found = _clocks.needs(clocks)
    stops = [need for need in found if need.lacks and need.stops]
    assert [need.fix for need in stops] == (
        [f"ssh {code} 'timedatectl set-ntp true'"] if code else []
    )
    told = [abs(ahead) - unsure > 5 for ahead, unsure in (old, new)]
    assert [need.lacks for need in found if not need.stops] == told


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("tar (GNU tar) 1.34", (1, 34)),
        ("stat (GNU coreutils) 9.1", (9, 1)),
        ("systemd 252 (252.39-1~deb12u1)", (252,)),
        ("BusyBox v1.35.0 (Debian 1:1.35.0-4+b3) multi-call binary.", ()),
        ("", ()),
    ],
)
def test_versions(said: str, version: tuple[int, ...]) -> None:
    """A program's version, from its own first line."""
    assert _programs.version_of(said) == version


def test_tools_that_are_others() -> None:
    """Tools of BusyBox, or too old ones, count as lacking; a package is asked for once."""
    tar = _programs.Tools("tar", "tar", (1, 27), "tar", gnu=True)
    for said, missing, why in (
        ("tar (GNU tar) 1.34\n", "", ""),
        ("tar (GNU tar) 1.26\n", "", "only version 1.26"),
        ("tar (busybox) 1.35.0\n", "", "tar is another one"),
        ("\n", "tar\n", "no tar"),
    ):
        (need,) = _programs._question(machine("m", Side.NEW), tar).judge(said + missing)
        assert (need.lacks, need.finding.observed.startswith(why)) == (bool(why), True), need
        assert need.fix == "ssh m 'apt-get install tar'"
    wanted = _programs._joined([*_programs._FILES, *_programs._TREES])
    assert sorted(one.package for one in wanted) == ["coreutils", "findutils", "grep", "tar"]
    assert max(one.least for one in wanted) == (8, 26)


def test_what_it_is_installed_with() -> None:
    """A Python that is not there, and a Node.js that will not do, are named before the install."""
    there = machine("m", Side.NEW)
    _, found = ask(LocalHost(), [_installing._python(there, version, "") for version in ("3", "9")])
    assert [(need.code, need.lacks) for need in found] == [
        ("python-missing", False),
        ("python-missing", True),
    ]
    assert found[1].fix == "ssh m 'apt-get install python9-venv'"
    node = _installing._node(there, ">=18")
    codes = [
        (need.code, need.lacks) for said in ("v20.1", "v16.0", "") for need in node.judge(said)
    ]
    assert codes == [("node-missing", False), ("node-unsuitable", True), ("node-missing", True)]


def test_a_server_that_is_not_reached() -> None:
    """Whether a database's server can be connected to is tried by the machine itself."""
    there = machine("m", Side.NEW)
    with socket.create_server(("127.0.0.1", 0)) as server:
        at = Address(*server.getsockname())
        _, found = ask(LocalHost(), [_reach._question(there, "main", at)])
    _, after = ask(LocalHost(), [_reach._question(there, "main", at)])
    assert [(need.code, need.lacks) for need in (*found, *after)] == [
        ("database-unreachable", False),
        ("database-unreachable", True),
    ]


def test_silence_is_no_refusal() -> None:
    """A port where nobody listens refuses, which is fine; one that swallows what comes is not."""
    with ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        at = Address(*full.getsockname())
        for _ in range(4):  # until its queue is full: then the kernel drops what comes
            one = stack.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex((at.host, at.port))
        began = time.monotonic()
        assert _reach.reached(at, 0.3).startswith("silence")
        assert time.monotonic() - began < 5
    assert _reach.reached(at, 5) == ""
    assert _reach.reached(Address("no-such-host.invalid", 80), 5) != ""


def test_this_machine(make_site: Callable[..., Site], tmp_path: Path) -> None:
    """On one machine little is needed, and it is asked in no time; a file where a directory
    should be, and a port that somebody has, are lacks of the plan, with their fixes."""
    site = make_site()
    shown = site.run("doctor", "--json").json
    assert {need["holds"] for need in shown["needs"]} == {True}
    assert {"place-unwritable", "port-taken", "disk-too-small"} == {
        need["code"] for need in shown["needs"]
    }
    assert shown["left"] == []
    wired = site.wired()
    work = wired.begin(Run.REHEARSAL)
    assert not [need for need in needs_of(wired.manifest, work) if need.lacks]
    wired.journal.close()
    (tmp_path / "file").touch()
    text = site.manifest.read_text(encoding="utf-8")
    moved = text.replace(f"{site.directory}/app2", f"{tmp_path}/file/app2")
    site.manifest.write_text(moved, encoding="utf-8")
    with socket.create_server((site.rehearsal.host, site.rehearsal.port)):
        said = site.run("doctor", ok=False)
        planned = site.run("plan", "--json", ok=False)
        refused = site.run("rehearse", ok=False)
    assert said.code == 3
    assert f"lacking  {tmp_path}/file/app2 on this machine can be made" in said.out
    assert f"fix: ls -ld {tmp_path}/file   (mend" in said.out
    problems = planned.json["rehearsal"]["problems"]
    assert [one["code"] for one in problems] == ["place-unwritable", "port-taken"]
    assert [one["code"] for one in planned.json["cutover"]["problems"]] == ["place-unwritable"]
    assert (planned.code, refused.code) == (4, 4)
    for sentence in ("error: place-unwritable", "  now:  Nothing was changed.", "  next: ls -ld"):
        assert sentence in refused.err, refused.err
    site.manifest.write_text(text, encoding="utf-8")


def test_only_what_stops_is_refused() -> None:
    """What is only told refuses nothing."""
    clocks = [(machine("old", Side.OLD), Clock(30, 0)), (machine("new", Side.NEW), Clock(0, 0))]
    refuse_lacks(_clocks.needs(clocks))
    with pytest.raises(Refused) as refused:
        refuse_lacks(_clocks.needs([*clocks[:1], (clocks[1][0], Clock(100, 0))]))
    assert (refused.value.code, refused.value.exit_code) == ("clocks-differ", 4)
