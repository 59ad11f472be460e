"""A machine reached by SSH: a real sshd on this one."""

from __future__ import annotations

import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from tests.testbed.sshd import Sshd

from crossfade.drivers.hosts.ssh import SshHost


@pytest.fixture(scope="session")
def sshd() -> Iterator[Sshd]:
    """One that every test may share and none may change."""
    with _open_directory() as directory, Sshd(directory) as running:
        yield running


@pytest.fixture(scope="session")
def far(sshd: Sshd) -> Iterator[SshHost]:
    """The host that it serves, for all tests that do no harm to the connection."""
    host = SshHost("far", config=sshd.config)
    yield host
    host.close()


@pytest.fixture
def make_sshd() -> Iterator[Callable[..., Sshd]]:
    """Makes running ones of a test's own; options are lines of their configuration."""
    with ExitStack() as stack:

        def make(*options: str, before: tuple[str, ...] = ()) -> Sshd:
            directory = stack.enter_context(_open_directory())
            return stack.enter_context(Sshd(directory, options=options, before=before))

        yield make


@pytest.fixture
def make_host() -> Iterator[Callable[..., SshHost]]:
    """Makes hosts that notice soon when a link is cut; they are closed in the end."""
    with ExitStack() as stack:

        def make(sshd: Sshd, destination: str = "far", **given: object) -> SshHost:
            settings = {"connect_timeout": 2, "alive_interval": 1, "alive_count": 2} | given
            host = SshHost(destination, config=sshd.config, **settings)  # type: ignore[arg-type]
            stack.callback(host.close)
            return host

        yield make


@pytest.fixture(scope="session")
def make_account() -> Iterator[Callable[..., str]]:
    """Makes accounts of this machine, with a rule for sudo; they are removed in the end."""
    with ExitStack() as stack:

        def make(rule: str = "") -> str:
            name = f"cf-{secrets.token_hex(4)}"
            argv = ("useradd", "--system", "--shell", "/bin/sh", "--password", "*", name)
            subprocess.run(argv, check=True)
            stack.callback(subprocess.run, ("userdel", name), check=True)
            if rule:
                file = Path("/etc/sudoers.d") / name
                file.touch(0o440)
                stack.callback(file.unlink)
                file.write_text(f"{name} {rule}\n", encoding="utf-8")
            return name

        yield make


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A directory that every account of this machine can get into, but only we can write to."""
    with _open_directory() as path:
        yield path


@contextmanager
def _open_directory() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="hosts-"))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path)
