"""What is said of an old unit's settings, against the unit that is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from crossfade.drivers.hosts.local import LocalHost
from crossfade.drivers.services.environment_text import in_file
from crossfade.drivers.services.spawn import ProcessSpec
from crossfade.drivers.services.systemd import SystemdService, UnitSpec
from crossfade.drivers.services.unit_account import compared
from crossfade.drivers.services.unit_old import OldUnit, VariableFile, read_old, shipped
from crossfade.drivers.services.unit_text import Setting, placed
from crossfade.errors import Failed
from crossfade.ports import RunSetting

MAIN = "/etc/systemd/system/notes.service"
FRAGMENT = """\
[Unit]
Description=Notes
After=network.target

[Service]
User=notes
Type=forking
Environment=COLOUR=red KEPT=1 "HERE=/srv/old/x y"
EnvironmentFile=-/etc/default/notes
ExecStartPre=/srv/app1/prepare
ExecStart=/srv/app1/bin/notes -c /srv/old/notes.yaml
WorkingDirectory=/
ReadWritePaths=/srv/old /srv/old-cache
Nice=1

[Install]
WantedBy=multi-user.target
"""
OVERRIDE = "[Service]\nLimitNOFILE=4321\nNice=5\nExecStart=\nExecStart=/srv/app1/start.sh\n"
FILE = "# ours\nCOLOUR=blue\nWHERE=/srv/old/data\nMAIL_PASSWORD='planted $secret'\nMODE=a\n"
OLD = OldUnit(
    ((MAIN, FRAGMENT), (f"{MAIN}.d/override.conf", OVERRIDE)),
    (VariableFile("-/etc/default/notes", (("/etc/default/notes", FILE),)),),
)


def service() -> SystemdService:
    """The new side's, whose manifest sets one variable of the old one."""
    process = ProcessSpec(
        "mark", ("/srv/app2/bin/notes", "-c", "/srv/new/notes.yaml"), "/srv/new", "", {"MODE": "b"}
    )
    moved = {"/srv/old": "/srv/new", "/srv/app1": "/srv/app2"}
    unit = UnitSpec("notes.service", process, ours=True, moved=moved, user="notes")
    return SystemdService(unit, LocalHost())


def told(base: str = "") -> dict[tuple[str, ...], RunSetting]:
    """What is said, by the names."""
    return {one.setting: one for one in compared(service(), OLD, placed([("/usr/lib", base)]))}


def test_each_setting_has_its_verdict() -> None:
    """Carried as it is, with another path, as the new side says it, or not at all."""
    found = {names[1:]: one.verdict for names, one in told().items() if len(names) == 2}
    assert found == {
        ("Description",): "carried",
        ("After",): "carried",
        ("User",): "carried",
        ("Type",): "kept-new",
        ("EnvironmentFile",): "rewritten",
        ("ExecStartPre",): "removed",
        ("ExecStart",): "kept-new",
        ("WorkingDirectory",): "kept-new",
        ("ReadWritePaths",): "rewritten",
        ("LimitNOFILE",): "carried",
        ("Nice",): "carried",
        ("WantedBy",): "carried",
    }


def test_where_it_stands_and_why() -> None:
    """File, line, both values, and which path is another one."""
    found = told()
    paths = found["Service", "ReadWritePaths"]
    assert (paths.file, paths.line) == (MAIN, 13)
    assert (paths.yours, paths.ours) == ("/srv/old /srv/old-cache", "/srv/new /srv/old-cache")
    assert paths.why == "/srv/old is /srv/new on the new side"
    nice = found["Service", "Nice"]
    assert (nice.file, nice.line, nice.yours) == (f"{MAIN}.d/override.conf", 3, "5")
    start = found["Service", "ExecStart"]
    assert start.yours == "/srv/app1/start.sh"
    assert start.ours.startswith('"/srv/app2/bin/notes"')


def test_variables_as_the_program_has_them() -> None:
    """The file wins over the directive, and crossfade.yaml over both."""
    found = told()
    said = {names[-1]: one for names, one in found.items() if len(names) != 2}
    assert {name: (one.verdict, one.ours) for name, one in said.items()} == {
        "COLOUR": ("carried", "blue"),
        "KEPT": ("carried", "1"),
        "HERE": ("rewritten", "/srv/new/x y"),
        "WHERE": ("rewritten", "/srv/new/data"),
        "MAIL_PASSWORD": ("carried", "planted $secret"),
        "MODE": ("kept-new", "b"),
    }
    assert (said["COLOUR"].file, said["COLOUR"].line) == ("/etc/default/notes", 2)
    assert said["KEPT"].setting == ("Service", "Environment", "KEPT")


def test_what_a_package_ships_is_nobodys() -> None:
    """Settings as shipped are not told; those that yours has taken out are."""
    found = told(FRAGMENT.replace("Nice=1", "Nice=1\nOOMScoreAdjust=-100"))
    assert found["Service", "OOMScoreAdjust"].verdict == "removed"
    assert ("Service", "ReadWritePaths") not in found
    assert ("Service", "Environment", "KEPT") not in found
    assert {"LimitNOFILE", "Nice", "ExecStart"} <= {names[-1] for names in found}


def test_ours_is_read_last() -> None:
    """Whatever the drop-ins of the old unit are called: that of ``systemctl edit`` comes after all
    numbers, and would start the old side's program."""
    late = OldUnit((OLD.files[0], (f"{MAIN}.d/zzz.conf", OVERRIDE)), ())
    for old in (OLD, late):
        files = service().planned(old)
        drop_ins = sorted(name for name in files if name.endswith(".conf"))
        assert drop_ins[-1] == "notes.service.d/zz-crossfade.conf"
        read = placed((name, files[name]) for name in ("notes.service", *drop_ins))
        starts = [one.value for one in read if one.name == "ExecStart"]
        assert starts == ['"/srv/app2/bin/notes" "-c" "/srv/new/notes.yaml"']
        assert Setting("Service", "LimitNOFILE", "4321") in read


def test_files_of_variables_come_along() -> None:
    """The unit names a copy beside itself, with the new side's paths in it."""
    files = service().planned(OLD)
    assert (
        "EnvironmentFile=-/etc/systemd/system/notes.service.d/variables-1.env\n"
        in (files["notes.service"])
    )
    copied = in_file(files["notes.service.d/variables-1.env"])
    assert {one.name: one.value for one in copied} == {
        "COLOUR": "blue",
        "WHERE": "/srv/new/data",
        "MAIL_PASSWORD": "planted $secret",
        "MODE": "a",
    }


def test_files_of_variables_as_systemd_finds_them(tmp_path: Path) -> None:
    """By pattern, in their order; one with a dash may be missing, and another one may not."""
    for name, text in (("b.env", "A=2\n"), ("a x.env", "A=1\nB=1\n"), ("one", "C=%p\n")):
        (tmp_path / name).write_text(text)
    unit = tmp_path / "app.service"
    said = ("-%t/missing", f"{tmp_path}/*.env", "%t/one")
    unit.write_text("[Service]\n" + "".join(f"EnvironmentFile={one}\n" for one in said))
    real = (f"{tmp_path}/missing", f"{tmp_path}/*.env", f"{tmp_path}/one")
    shown = [f"EnvironmentFiles={one} (ignore_errors=no)" for one in real]
    old = read_old(LocalHost(), [unit], shown)
    assert [[v.name for _, v in part.variables()] for part in old.variables] == [
        [],
        ["A", "B", "A"],
        ["C"],
    ]
    assert old.names() == {"A", "B", "C"}
    carried = old.carried("app.service.d", {})
    assert list(carried) == ["app.service.d/variables-2.env", "app.service.d/variables-3.env"]
    assert {v.name: v.value for v in in_file(carried["app.service.d/variables-2.env"])} == {
        "A": "2",
        "B": "1",
    }
    (tmp_path / "one").unlink()
    with pytest.raises(Failed, match="one"):
        read_old(LocalHost(), [unit], shown)


def test_what_no_package_ships(tmp_path: Path) -> None:
    """A file that no package knows is none's, and neither is one that was changed."""
    unit = tmp_path / "app.service"
    unit.write_text(FRAGMENT)
    assert shipped(LocalHost(), read_old(LocalHost(), [unit], [])) == []


def test_what_a_package_ships() -> None:
    """A unit as a package has it, also behind one of the operator's that stands in its place."""
    vendors = Path("/lib/systemd/system/apache2.service")  # one of the web servers of the tests
    text = vendors.read_text()
    assert shipped(LocalHost(), OldUnit(((str(vendors), text),), ())) == [(str(vendors), text)]
    mine = OldUnit(((f"/etc/systemd/system/{vendors.name}", FRAGMENT),), ())
    ((path, found),) = shipped(LocalHost(), mine)
    assert (Path(path).resolve(), found) == (vendors.resolve(), text)
