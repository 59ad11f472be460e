"""Doctor between two machines: everything is there; and what is taken away is named."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.testbed.far import FarSite
from tests.testbed.machines import Machine, leavings
from tests.testbed.site import eventually

from crossfade.model import Side

Make = Callable[..., FarSite]
Pair = tuple[Machine, Machine]

NOWHERE = "172.31.243.254:8109"
"""In the network of the machines, and nobody's."""
LISTENER = "python3 -m http.server --bind {host} {port} >/dev/null 2>&1 & echo $!"


@contextlib.contextmanager
def lacking(site: FarSite, one: Machine) -> Iterator[str]:
    """A machine without some of what the new side needs; gives the process that has its port."""
    away = "mv /usr/bin/tar /usr/bin/tar.away; mkdir /srv/locked"
    one.run("sh", "-c", f"{away}; mount -t tmpfs -o ro locked /srv/locked")
    clock = '#!/bin/sh\nexec /usr/bin/date -d "+1 hour" "$@"\n'
    site.host(Side.NEW).write(Path("/usr/local/bin/date"), clock.encode(), mode=0o755)
    at = site.rehearsal
    pid = one.run("sh", "-c", LISTENER.format(host=at.host, port=at.port)).strip()
    try:
        yield pid
    finally:
        one.run("sh", "-c", f"kill {pid}; umount /srv/locked; rmdir /srv/locked")
        one.run("sh", "-c", "mv /usr/bin/tar.away /usr/bin/tar; rm /usr/local/bin/date")


def manifest(site: FarSite, **new: object) -> None:
    """Write the manifest with something else said of the new side."""
    site.write_manifest()
    text = site.manifest.read_text(encoding="utf-8")
    (line,) = (one for one in text.splitlines() if one.startswith("new: "))
    changed = {**json.loads(line.removeprefix("new: ")), **new}
    site.manifest.write_text(text.replace(line, f"new: {json.dumps(changed)}"), encoding="utf-8")


def test_what_is_lacking_is_named(make_far_site: Make, machines: Pair, tmp_path: Path) -> None:
    """Each lack with its fix, in one look; rehearse and cutover refuse and change nothing; and when
    all is mended nothing is lacking.  Then rights, reach, and a machine that is away."""
    site = make_far_site(*machines)
    old, new = machines
    manifest(site, data="/srv/locked/new", service={"user": "nobody-such"})
    with lacking(site, new) as pid:
        eventually(lambda: site.host(Side.NEW).listener(site.rehearsal) is not None)
        before = leavings(new)
        shown = site.run("doctor", "--json", ok=False)
        refused = site.run("rehearse", ok=False)
        cut = site.run("cutover", "--yes", ok=False)
        assert leavings(new) == before, "nothing was changed"
    found = [need for need in shown.json["needs"] if not need["holds"]]
    fixes = {need["code"]: need["fix"] for need in found}
    reached = f"ssh -F {new.config} {new.name}"
    assert fixes.pop("port-taken").startswith("edit crossfade.yaml")
    assert fixes.pop("place-unwritable").startswith(f"{reached} 'ls -ld /srv/locked'")
    assert fixes == {
        "host-lacks-tool": f"{reached} 'apt-get install tar'",
        "account-missing": f"{reached} 'useradd --system --user-group nobody-such'",
        "clocks-differ": f"{reached} 'timedatectl set-ntp true'",
    }
    assert {need["code"] for need in found if need["stops"]} == {
        *fixes,
        "port-taken",
        "place-unwritable",
    }
    (taken,) = (need["observed"] for need in found if need["code"] == "port-taken")
    assert f"pid {pid} (python3)" in taken
    clocks = [need["observed"] for need in found if need["code"] == "clocks-differ"]
    assert any(one.startswith(("3600", "3599")) for one in clocks), clocks
    assert (shown.code, refused.code, cut.code) == (3, 4, 4), refused.err + cut.err
    for code in (*fixes, "port-taken"):
        assert code in refused.err, refused.err
    for code in (*fixes, "place-unwritable"):
        assert code in cut.err, cut.err
    assert "port-taken" not in cut.err, "the cutover does not need the rehearsal's address"
    assert "  now:  Nothing was changed.  The old side (1.0) serves" in refused.err

    site.write_manifest()
    well = site.run("doctor").out
    assert all(line.startswith(("ok", "nothing")) for line in well.splitlines()), well
    assert f"{new.name} has tar" in well
    assert f"{new.name} has the account notes, which the new version runs as" in well
    assert f"we have root's rights on {old.name}" in well
    claim = f"large trees of files from {old.name} to {new.name}: "
    sees = f"straight from old to new ({old.name} reaches {new.name} at {new.address})"
    assert f"ok       {claim}data flows {sees}" in well, well
    site.write_manifest(extra="copy: {port: 22022}\n")
    with new.deaf(old), old.deaf(new):
        apart = site.run("doctor").out.splitlines()
    at = next(n for n, line in enumerate(apart) if not line.startswith(("ok", "nothing")))
    told = "old and new do not see each other; data flows through this machine"
    assert apart[at].startswith(f"notice   {claim}{told} ({old.name} to {new.address}: "), apart
    assert f"'nc -vz {new.address} 22022'   (let {old.name} through" in apart[at + 1]
    site.write_manifest()
    rights_and_reach(site, new, tmp_path / "op.ssh")


def rights_and_reach(site: FarSite, new: Machine, config: Path) -> None:
    """An account that is not root and does not use sudo, and an address that swallows what comes
    to it, are told before anything is done; so is a machine that is not there at all."""
    text = new.config.read_text(encoding="utf-8").replace("User root", "User op")
    config.write_text(text, encoding="utf-8")
    there = {"ssh": new.name, "config": str(config)}
    manifest(site, host=there)
    said = site.run("plan", ok=False)
    assert said.code == 4
    for code in ("root-needed", "place-unwritable"):
        assert f"{code}: " in said.err, said.err
    manifest(site, address=NOWHERE)
    said = site.run("plan", ok=False)
    assert (said.code, "problem: address-unreachable" in said.out) == (4, True), said.out + said.err
    manifest(site, host={**there, "sudo": True})
    assert site.run("doctor").code == 0
    config.write_text(text.replace(new.address, "127.0.0.1\n  Port 9"), encoding="utf-8")
    gone = site.run("doctor", "--json", ok=False)
    (lack,) = (need for need in gone.json["needs"] if not need["holds"])
    left = gone.json["left"]  # what is left there cannot be found out
    assert (gone.code, lack["code"], left) == (3, "host-unreachable", None)
    site.write_manifest()
