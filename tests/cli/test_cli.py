"""The command line from outside: help, exit codes, JSON, no terminal."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.crash.test_matrix import killed
from tests.testbed.site import Site

import crossfade
from crossfade.cli import VERBS
from crossfade.testing.free_ports import free_ports


def run(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line."""
    return subprocess.run(
        (sys.executable, "-m", "crossfade", *words),
        cwd=cwd,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def test_help_names_every_verb_and_exit_code() -> None:
    """--help lists the verbs and what the exit codes mean."""
    shown = run("--help")
    assert shown.returncode == 0
    for verb in VERBS:
        assert re.search(rf"\n    {verb}\s", shown.stdout)
    for code in ("2 usage", "3 needs", "4 refused", "5 failed", "6 recovery", "7 lease", "130"):
        assert code in shown.stdout


def test_version() -> None:
    """--version says what is installed."""
    assert run("--version").stdout == f"crossfade {crossfade.__version__}\n"


@pytest.mark.parametrize("words", [(), ("no-such-verb",), ("plan", "--no-such-option")])
def test_wrong_usage_is_exit_code_2(words: tuple[str, ...]) -> None:
    """Wrong words end with 2 and a usage line."""
    ended = run(*words)
    assert (ended.returncode, "usage: crossfade" in ended.stderr) == (2, True)


def test_missing_manifest(tmp_path: Path) -> None:
    """Without a manifest the next command is init; in JSON, too."""
    ended = run("plan", cwd=tmp_path)
    assert (ended.returncode, "next: crossfade init" in ended.stderr) == (2, True)
    error = json.loads(run("status", "--json", cwd=tmp_path).stdout)["error"]
    assert (error["code"], error["exit_code"]) == ("manifest-missing", 2)


def test_init_writes_a_manifest_that_loads(tmp_path: Path) -> None:
    """init writes a skeleton once; what it writes is accepted, and never overwritten."""
    assert "application: synapse" in run("init", "--dry-run", cwd=tmp_path).stdout
    assert list(tmp_path.iterdir()) == []
    assert run("init", cwd=tmp_path).returncode == 0
    again = run("init", cwd=tmp_path)
    assert (again.returncode, "manifest-exists" in again.stderr) == (4, True)
    # the manifest holds; what is missing is the old side that it describes
    planned = run("plan", cwd=tmp_path)
    assert "manifest" not in planned.stderr.splitlines()[0]


def test_schema_is_json() -> None:
    """schema prints the JSON Schema that editors use."""
    schema = json.loads(run("schema").stdout)
    assert "traffic" in schema["properties"]


def test_nobody_to_ask(make_site: Callable[..., Site]) -> None:
    """Without a terminal and without --yes nothing dangerous is done: exit code 3."""
    site = make_site()
    site.run("rehearse")
    for verb in ("cutover", "rollback", "retire"):
        ended = site.run(verb, ok=False)
        assert (ended.code, "not-confirmed" in ended.err) == (3, True), ended.err
    assert site.version() == "1.0"


def test_plan_status_and_report(make_site: Callable[..., Site]) -> None:
    """plan --json, status --json, config show and report --json are for machines; all agree."""
    site = make_site()
    plan = site.run("plan", "--json").json
    assert plan["cutover"]["problems"] == []
    assert plan["cutover"]["predicted_pause_seconds"] is None
    site.run("rehearse")
    assert site.run("plan", "--json").json["cutover"]["predicted_pause_seconds"] > 0
    assert site.run("status", "--json").json["next"] == "crossfade cutover"
    shown = site.run("config", "show").out
    assert f"-listen: {site.old}" in shown
    assert f"+listen: {site.new}" in shown
    report = site.run("report", "--json").json
    assert (report["outcome"], report["runs"][0]["run"]) == ("rehearsed", "rehearsal")
    html = (site.directory / "state" / "report" / "report.html").read_text(encoding="utf-8")
    assert "<svg" in html
    assert site.run("gate", "status", "--json").json["side"] == "old"


def test_gate_is_started_and_stopped(make_site: Callable[..., Site]) -> None:
    """gate stop ends it, gate status says so, gate start brings it back."""
    site = make_site()
    site.run("gate", "stop", "--yes")
    stopped = site.run("gate", "status", ok=False)
    assert (stopped.code, "next: crossfade gate start" in stopped.err) == (4, True)
    refused = site.run("cutover", "--yes", ok=False)
    assert (refused.code, "gate-not-running" in refused.err) == (4, True)
    site.run("gate", "start")
    assert site.version() == "1.0"


def test_wrong_addresses_move_nobody(make_site: Callable[..., Site]) -> None:
    """A manifest whose addresses are wrong never takes users from where they are served."""
    site = make_site()
    written = site.manifest.read_text(encoding="utf-8")
    nobody, other = free_ports(2)
    wrong = written.replace(str(site.old), f"127.0.0.1:{nobody}")
    site.manifest.write_text(wrong.replace(str(site.new), f"127.0.0.1:{other}"), encoding="utf-8")
    refused = site.run("rehearse", ok=False)
    assert (refused.code, "gate-serves-elsewhere" in refused.err) == (4, True), refused.err
    assert site.version() == "1.0"
    site.manifest.write_text(written, encoding="utf-8")
    site.run("rehearse")


def test_status_goes_on_with_what_was_interrupted(make_site: Callable[..., Site]) -> None:
    """After a killed command the next one is that command again, whichever it was."""
    site = make_site()
    for verb, point in (
        ("rehearse", "rehearsal.backup.before-act"),
        ("retire", "retire.retire.before-act"),
    ):
        if verb == "retire":
            site.run("cutover", "--yes")
        words = (verb,) if verb == "rehearse" else (verb, "--yes")
        killed(site, point, *words)
        assert site.run("status", "--json").json["next"] == f"crossfade {verb}"
        site.run(*words)


def test_output_that_nobody_reads() -> None:
    """A pipe that was closed early is no error."""
    command = f"{sys.executable} -m crossfade schema | true"
    argv = ("bash", "-o", "pipefail", "-c", command)
    assert subprocess.run(argv, check=False, env=os.environ).returncode == 0
