"""Names and values with everything in them: they arrive as they are, and no shell runs them."""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.testbed.client import Client
from tests.testbed.contained import DATA, contained_site_at
from tests.testbed.engine import Engine
from tests.testbed.far import far_site_at
from tests.testbed.machines import Machine
from tests.testbed.site import Site, eventually, tree_bytes

from crossfade.drivers.hosts.docker import DockerHost
from crossfade.drivers.hosts.local import LocalHost
from crossfade.drivers.hosts.ssh import SshHost
from crossfade.drivers.services import unit_text
from crossfade.model import Side
from crossfade.ports import Host

Pair = tuple[Machine, Machine]

PWNED = "/tmp/crossfade-pwned"
_NAME = "crossfade-pwned"
PIECES = (
    f"$(touch {PWNED})", f"`touch {PWNED}`", f"; touch {PWNED};", f"|touch {PWNED}|",
    f"\ntouch {PWNED}\n", f"&& touch {PWNED}", "'", '"', "\\", "\n", "\t", " ", "  ", "-", "--",
    "-rf", "$HOME", "${HOME}", "%h", "%%", "%n", "*", "?", "~", "#", "!", "{}", "{data}", "[x]",
    "<", ">", "ä", "日本", "\u2028", "\x7f", "\x01", "\udcff", "=", ":", ",", "x",
)  # fmt: skip
CALLED = f"-{{}} s'p\"a ; $(touch {_NAME}) `touch {_NAME}` & é%h$HOME\\n{{{{data}}}} -rf x"
"""What data directories are called, where an application has them in a file of its settings."""
NAMES = (
    *("-rf", "--help", " ", "a b", "new\nline", "'", '"', "\\n", "$HOME", "*", "ünï 日本", "\x01"),
    *(f"$(touch {_NAME})", "`id`", ";id", "%h", "{data}", "tail ", "\udcff"),
)


@pytest.fixture(scope="module")
def places(machines: Pair, engine: Engine) -> Iterator[dict[str, Host]]:
    """A host of each kind."""
    with ExitStack() as stack:
        far = SshHost(machines[0].name, config=machines[0].config)
        contained = DockerHost(machines[1].name, socket=str(engine.socket), upgrade="words")
        for host in (far, contained):
            stack.callback(host.close)
        yield {"local": LocalHost(), "ssh": far, "docker": contained}


def words(seed: random.Random) -> str:
    """A word."""
    return "".join(seed.choices(PIECES, k=seed.randint(1, 5)))


@pytest.mark.parametrize(("kind", "times"), [("local", 150), ("ssh", 50), ("docker", 15)])
def test_fuzz_of_hosts(places: dict[str, Host], kind: str, times: int) -> None:
    """Commands, variables and files with random words, names and content on each kind."""
    host, seed, place = places[kind], random.Random(4711), Path(f"/tmp/fuzz-{os.getpid()}")
    try:
        for _ in range(times):
            argv = [words(seed) for _ in range(8)]
            value, name = words(seed), words(seed).replace("/", "_")[:60]
            path = place / name / "-f"
            host.write(path, os.fsencode(value))
            script = 'printf "%s\\0" "$W" "$@"; cat -- "./-f"'
            done = host.run(("sh", "-c", script, "sh", *argv), env={"W": value}, cwd=path.parent)
            said = b"".join(os.fsencode(word) + b"\0" for word in (value, *argv))
            assert done.out == said + os.fsencode(value), (argv, value, name)
            assert host.read(path) == os.fsencode(value)
            host.remove(path.parent)
            assert not host.exists(path.parent)
        assert host.run(("ls", "-A", str(place))).out == b""
        assert not host.exists(Path(PWNED))
    finally:
        host.remove(place)


def test_fuzz_of_units(places: dict[str, Host]) -> None:
    """systemd itself gives a program the words and variables that we wrote into its unit."""
    host, seed = places["ssh"], random.Random(815)
    unit, out = Path("/etc/systemd/system/fuzz.service"), Path("/opt/fuzz.out")
    program = Path("/opt/fuzz.sh")
    script = f'printf "%s\\0" "$A" "$B" "$C" "$@" >{out}'
    host.write(program, f"#!/bin/sh\n{script}\n".encode(), mode=0o755)
    try:
        for _ in range(15):
            argv = [words(seed) for _ in range(12)]
            values = {name: words(seed).replace("\udcff", "") for name in "ABC"}
            text = unit_text.our_part(
                (str(program), *argv), "/", {"Type": "oneshot"}, "/opt/fuzz.env"
            )
            host.write(unit, os.fsencode(text), mode=0o644)
            host.write(Path("/opt/fuzz.env"), os.fsencode(unit_text.environment_file(values)))
            host.run(("systemctl", "daemon-reload"))
            host.run(("systemctl", "start", unit.name))
            arrived = [os.fsdecode(word) for word in host.read(out).split(b"\0")[:-1]]
            assert arrived == [*values.values(), *argv]
        assert not host.exists(Path(PWNED))
    finally:
        for path in (unit, out, program, Path("/opt/fuzz.env")):
            host.remove(path)
        host.run(("systemctl", "daemon-reload"))


class AwkwardSite(Site):
    """A site of this machine below a directory with an awkward name."""

    def write_manifest(self, **given: Any) -> None:
        """The manifest, with every path quoted; a setting of the new version is awkward, too."""
        super().write_manifest(**given)
        d = self.directory
        value = json.dumps("".join(PIECES[:8]))
        self.manifest.write_text(
            f"application: {json.dumps(str(self.recipe))}\nstate: {json.dumps(f'{d}/state')}\n"
            f"old: {{version: '1.0', root: {json.dumps(f'{d}/app1')}, "
            f"data: {json.dumps(str(self.data))}, address: '{self.old}'}}\n"
            f"new: {{version: '2.0', root: {json.dumps(f'{d.parent}/app2')}, "
            f"data: {json.dumps(f'{d}/new')}, address: '{self.new}',\n"
            f"  service: {{environment: {{ODD: {value}}}}},\n"
            f"  rehearsal: {{address: '{self.rehearsal}', data: {json.dumps(f'{d}/try')}}}}}\n"
            f"traffic: {{listen: '{self.gate}'}}\n"
            "limits: {max_pause: 30, watch: 0.2, lease: 2}\n",
            encoding="utf-8",
        )


PWNED_ANYWHERE = ("sh", "-c", f"find / -xdev -name {_NAME} 2>/dev/null || :")


def nothing_ran_here() -> None:
    """No file has the name that an injected command would give to one."""
    done = subprocess.run(PWNED_ANYWHERE, capture_output=True, text=True, check=False)
    assert done.stdout == ""


def upgraded(site: Site) -> None:
    """Rehearse and cut over, under a client."""
    with Client(site.gate) as client:
        site.run("rehearse")
        assert site.version() == "1.0"
        site.run("cutover", "--yes")
        assert site.version() == "2.0"
        have = len(client.acknowledged)
        eventually(lambda: len(client.acknowledged) > have + 3)
    assert client.failures == []
    assert client.lost(site.gate) == set()


def test_whole_upgrade_here(tmp_path: Path) -> None:
    """Every path of the site, and names of files, are awkward."""
    site = AwkwardSite(tmp_path / CALLED.format("site").replace("/", ":"), notes=20, uploads=2)
    # pip takes no such name in the address of a package
    (site.directory / "app2-wheel").rename(site.directory.parent / "app2-wheel")
    with contextlib.closing(site):
        site.start()
        for name in NAMES:
            path = site.data / "uploads" / name / name
            path.parent.mkdir()
            path.write_bytes(os.fsencode(name))
        before = tree_bytes(site.data / "uploads")
        upgraded(site)
        assert tree_bytes(site.directory / "new" / "uploads") == before
    nothing_ran_here()


_MAKE = """
import os, sys
os.umask(0o22)
for name in sys.stdin.buffer.read().split(b"\\0"):
    os.mkdir(name)
    with open(name + b"/" + name, "wb") as file:
        file.write(name)
"""
_READ = """
import hashlib, os, sys
for place, _, files in os.walk(b"."):
    for name in files:
        path = os.path.join(place, name)
        line = path + b" " + hashlib.sha256(open(path, "rb").read()).hexdigest().encode()
        sys.stdout.buffer.write(line + b"\\0")
"""


@pytest.mark.whole
def test_whole_upgrade_between_machines(machines: Pair, tmp_path: Path) -> None:
    """The data directories and the names of files are awkward, and the unit has them."""
    names = b"\0".join(map(os.fsencode, NAMES))
    with far_site_at(tmp_path / "site", *machines, notes=20, uploads=2, called=CALLED) as site:
        old, new = site.host(Side.OLD), site.host(Side.NEW)
        uploads = site.data / "uploads"
        old.run(("python3", "-c", _MAKE), stdin=names, cwd=uploads)
        old.run(("chown", "-R", "notes:", str(uploads)))
        site.write_manifest()
        before = old.run(("python3", "-c", _READ), cwd=uploads).out
        upgraded(site)
        there = uploads.parents[1] / CALLED.format("new") / "uploads"
        after = new.run(("python3", "-c", _READ), cwd=there).out
        assert sorted(after.split(b"\0")) == sorted(before.split(b"\0"))
        for host in (old, new):
            assert host.run(PWNED_ANYWHERE).out == b""
    nothing_ran_here()


@pytest.mark.whole
def test_whole_upgrade_between_containers(engine: Engine, tmp_path: Path) -> None:
    """Names of files and a setting are awkward; the setting reaches the new container."""
    names = b"\0".join(map(os.fsencode, NAMES))
    with contained_site_at(tmp_path / "site", engine, notes=20, uploads=2) as site:
        ways = site.containers()
        asked = ("exec", "--interactive", "--workdir", f"{DATA}/uploads")
        engine.docker(*asked, ways[Side.OLD], "python3", "-c", _MAKE, stdin=names)
        before = engine.docker(*asked, ways[Side.OLD], "python3", "-c", _READ)
        odd = "".join(PIECES[:8])
        text = site.manifest.read_text(encoding="utf-8")
        head, found, tail = text.rpartition('"environment": {')
        assert found
        site.manifest.write_text(f'{head}{found}"ODD": {json.dumps(odd)}{tail}', encoding="utf-8")
        upgraded(site)
        after = engine.docker(*asked, ways[Side.NEW], "python3", "-c", _READ)
        assert sorted(after.split("\0")) == sorted(before.split("\0"))
        assert engine.docker("exec", ways[Side.NEW], "printenv", "ODD") == f"{odd}\n"
        assert engine.docker("exec", ways[Side.NEW], *PWNED_ANYWHERE) == ""
    nothing_ran_here()
