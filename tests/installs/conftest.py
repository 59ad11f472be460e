"""Hosts for installs: this machine, and the same as if it were another, over a real sshd."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.testbed.sshd import Sshd

from crossfade.drivers.hosts.local import LocalHost
from crossfade.drivers.hosts.ssh import SshHost
from crossfade.ports import Completed, Host


class WithEnvironment:
    """A host whose commands get more variables: what an account's start-up files would set."""

    def __init__(self, host: Host, env: Mapping[str, str]) -> None:
        self._host = host
        self._env = dict(env)
        self.commands: list[tuple[str, ...]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._host, name)

    def run(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, **more: Any
    ) -> Completed:
        """As the host does, with more environment."""
        self.commands.append(tuple(argv))
        return self._host.run(argv, env=self._env | dict(env or {}), **more)


@pytest.fixture(scope="session")
def far() -> Iterator[SshHost]:
    """Another machine."""
    directory = Path(tempfile.mkdtemp(prefix="installs-"))
    try:
        with Sshd(directory) as sshd:
            host = SshHost("far", config=sshd.config)
            yield host
            host.close()
    finally:
        shutil.rmtree(directory)


@pytest.fixture(params=["local", "far"])
def host(request: pytest.FixtureRequest) -> Host:
    """Each kind of host.  The far one knows the index and the certificates of this machine."""
    if request.param == "local":
        return WithEnvironment(LocalHost(), {})
    passed = ("PIP_", "UV_", "NPM_CONFIG_", "npm_config_", "SSL_CERT", "NODE_EXTRA_CA")
    env = {name: value for name, value in os.environ.items() if name.startswith(passed)}
    if (Path.home() / ".npmrc").exists():
        env.setdefault("NPM_CONFIG_USERCONFIG", str(Path.home() / ".npmrc"))
    return WithEnvironment(request.getfixturevalue("far"), env)
