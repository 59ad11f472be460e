"""A machine reached by SSH: a real sshd on this one."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.testbed.sshd import Sshd

from crossfade.drivers.hosts.ssh import SshHost


@pytest.fixture(scope="session")
def sshd() -> Iterator[Sshd]:
    """One that every test may share and none may change."""
    directory = Path(tempfile.mkdtemp(prefix="hosts-sshd-"))
    try:
        with Sshd(directory) as running:
            yield running
    finally:
        shutil.rmtree(directory)


@pytest.fixture(scope="session")
def far(sshd: Sshd) -> Iterator[SshHost]:
    """The host that it serves, for all tests that do no harm to the connection."""
    host = SshHost("far", config=sshd.config)
    yield host
    host.close()


@pytest.fixture
def make_sshd(tmp_path: Path) -> Iterator[Callable[..., Sshd]]:
    """Makes running ones of a test's own; options are lines of their configuration."""
    with ExitStack() as stack:
        count = iter(range(100))

        def make(*options: str, before: tuple[str, ...] = ()) -> Sshd:
            directory = tmp_path / f"sshd{next(count)}"
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

        def make(rule: str = "", password: str = "*") -> str:
            name = f"cf-{secrets.token_hex(4)}"
            argv = ("useradd", "--system", "--shell", "/bin/sh", "--password", password, name)
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
    with tempfile.TemporaryDirectory(prefix="hosts-") as name:
        path = Path(name)
        path.chmod(0o755)
        yield path
        for one in path.rglob("*"):
            if one.is_dir() and not one.is_symlink():
                os.chmod(one, 0o700)  # noqa: PTH101
