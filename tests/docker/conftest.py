"""The engine for these tests: the one of ``CROSSFADE_TEST_DOCKER``, or one that is started here.

The base image is made once by debootstrap, as there is no registry, and kept below ``PLACE``."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.docker.site import Site

PLACE = Path("/var/tmp/crossfade-docker")
IMAGE = "crossfade-tests:1"
_DOCKERFILE = f"""FROM crossfade-base:1
RUN mkdir -p {Path(sys.executable).parent} && ln -sf /usr/bin/python3 {sys.executable}
CMD ["sleep", "infinity"]
"""


def _docker(socket: str, *words: str, stdin: bytes | None = None) -> bool:
    argv = ("docker", "-H", f"unix://{socket}", *words)
    environment = {**os.environ, "DOCKER_BUILDKIT": "0"}
    return not subprocess.run(
        argv, input=stdin, capture_output=True, check=False, env=environment
    ).returncode


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The socket of an engine that has the image of the tests."""
    given = os.environ.get("CROSSFADE_TEST_DOCKER", "")
    if given:
        _make_image(given)
        yield given
        return
    PLACE.mkdir(exist_ok=True)
    with (PLACE / "lock").open("w") as lock:  # one engine at a time: they share the place
        fcntl.flock(lock, fcntl.LOCK_EX)
        socket = str(PLACE / "docker.sock")
        argv = ["dockerd", "--data-root", str(PLACE / "data"), "--exec-root", str(PLACE / "exec")]
        argv += ["--pidfile", str(PLACE / "pid"), "--host", f"unix://{socket}"]
        argv += ["--bip", "172.31.78.1/24"]
        with (PLACE / "log").open("wb") as log:
            daemon = subprocess.Popen(argv, stdout=log, stderr=log, start_new_session=True)
        try:
            deadline = time.monotonic() + 60
            while not _docker(socket, "version"):
                assert time.monotonic() < deadline, (PLACE / "log").read_text()[-2000:]
                time.sleep(0.2)
            _make_image(socket)
            yield socket
        finally:
            daemon.terminate()
            daemon.wait(60)


def _make_image(socket: str) -> None:
    """Debian with Python, at the path of the Python that runs the tests."""
    if not _docker(socket, "image", "inspect", "crossfade-base:1"):
        tree = PLACE / "tree"
        subprocess.run(("rm", "-rf", str(tree)), check=True)
        include = "--include=python3-minimal"
        argv = ("debootstrap", "--variant=minbase", include, "bookworm", str(tree))
        subprocess.run(argv, check=True, capture_output=True)
        packed = ("tar", "-C", str(tree), "-cf", str(PLACE / "tree.tar"), ".")
        subprocess.run(packed, check=True)
        assert _docker(socket, "import", str(PLACE / "tree.tar"), "crossfade-base:1")
        subprocess.run(("rm", "-rf", str(tree), str(PLACE / "tree.tar")), check=True)
    assert _docker(socket, "build", "-t", IMAGE, "-", stdin=_DOCKERFILE.encode())


@pytest.fixture(scope="module")
def site(engine: str) -> Iterator[Site]:
    """An engine, with the removal of what is made there."""
    found = Site(engine, IMAGE)
    yield found
    found.end()
