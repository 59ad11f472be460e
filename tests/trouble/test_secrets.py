"""Planted secrets turn up in no journal, log of ours, report, process argument or output."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from tests.testbed.site import Site

IN_CONFIGURATION = "planted-secret-4711"  # written by the testbed
IN_ENVIRONMENT = "planted-environment-0815"
IN_HEADER = "planted-header-1848"


def arguments() -> bytes:
    """The command lines of all processes."""
    found = b""
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found += process.read_bytes()
        except OSError:
            continue
    return found


def test_planted_secrets_stay_where_they_are(make_site: Callable[..., Site]) -> None:
    """Rehearse, cut over, fail to go back, go back: then every byte that we wrote is searched."""
    site = make_site()
    for name, secret in (("environment", IN_ENVIRONMENT), ("header", f"Bearer {IN_HEADER}")):
        (site.directory / name).write_text(secret + "\n", encoding="utf-8")
    site.write_manifest(
        extra="checks: [{name: asked with a secret, path: /notes/n0,"
        " headers: {Authorization: 'file:header'}}]\n"
    )
    text = site.manifest.read_text(encoding="utf-8")
    service = "  service: {environment: {API_TOKEN: 'file:environment'}}\n  rehearsal:"
    site.manifest.write_text(text.replace("  rehearsal:", service), encoding="utf-8")

    seen: list[bytes] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.05):
            seen.append(arguments())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        ended = [
            site.run("plan"),
            site.run("config", "show"),
            site.run("config", "show", "--json"),
            site.run("rehearse"),
            site.run("cutover", "--yes", "--json"),
            site.run("status", "--json"),
            site.run("rollback", "--yes", "--accept-loss"),
            site.run("report"),
        ]
    finally:
        over.set()
        watcher.join()
    output = "".join(result.out + result.err for result in ended).encode() + b"".join(seen)
    state = site.directory / "state"
    files = [p for p in state.rglob("*") if p.is_file() and "left-behind" not in p.parts]
    kept = [p for p in files if p.is_relative_to(state / "backups") and "configuration" in p.parts]
    assert kept, "a backup has the configuration files as they are"
    assert [p for p in kept if p.stat().st_mode & 0o077] == []
    ours = [p for p in files if p not in kept]
    assert state / "journal.db" in ours
    assert state / "report" / "report.html" in ours
    for secret in (IN_CONFIGURATION, IN_ENVIRONMENT, IN_HEADER):
        assert secret.encode() not in output
        assert [p for p in ours if secret.encode() in p.read_bytes()] == []
    new = (site.directory / "new" / "notes.yaml").read_text(encoding="utf-8")
    assert IN_CONFIGURATION in new, "the secret itself came over"
