"""A Docker Engine of the tests' own, and the images that its machines are made of.

It keeps its images below one directory between runs, listens at a socket there, and has a bridge of
its own.  Test processes share it: each holds a lock while it uses it, and the last one ends it, by
its process id.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import IO

__all__ = ["GATEWAY", "LABEL", "Engine", "running_engine"]

PLACE = Path(os.environ.get("CROSSFADE_TESTBED", "/var/tmp/crossfade-testbed"))
LABEL = "crossfade.testbed"
GATEWAY = "172.31.240.1"
"""Where containers and machines reach this machine."""
_BRIDGE, _NETWORK = "crossfade0", f"{GATEWAY}/22"

_daemons: list[subprocess.Popen[bytes]] = []
"""Kept, for Python warns of children that are forgotten; any test process may end it."""

_PACKAGES = (
    "systemd systemd-sysv openssh-server sudo python3 python3-venv rsync ca-certificates iproute2 "
    "cron"
)
_MACHINE = f"""\
FROM crossfade-base
RUN apt-get update -qq \\
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends {_PACKAGES} \\
    >/dev/null && apt-get clean
RUN systemctl mask getty.target console-getty.service systemd-udevd.service \\
      systemd-logind.service systemd-networkd-wait-online.service \\
      dpkg-db-backup.timer apt-daily.timer apt-daily-upgrade.timer \\
 && useradd --create-home --shell /bin/bash op && useradd --create-home --shell /bin/bash guarded \\
 && echo 'op ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/op \\
 && echo 'guarded ALL=(ALL) ALL' >/etc/sudoers.d/guarded \\
 && for home in /root /home/op /home/guarded; do mkdir -m 700 $home/.ssh; done \\
 && chown op: /home/op/.ssh && chown guarded: /home/guarded/.ssh
CMD ["/sbin/init"]
"""


class Engine:
    """A running engine; ``docker`` runs its client."""

    def __init__(self) -> None:
        self.socket = PLACE / "docker.sock"
        self.key = PLACE / "key"

    def docker(self, *words: str, ok: Sequence[int] = (0,), stdin: bytes = b"") -> str:
        """The output of ``docker WORDS``."""
        done = subprocess.run(
            ("docker", "-H", f"unix://{self.socket}", *words),
            input=stdin,
            capture_output=True,
            check=False,
            env={**os.environ, "DOCKER_BUILDKIT": "0"},
        )
        said = done.stderr.decode(errors="replace")
        assert done.returncode in ok, f"docker {' '.join(words)}: {said[-2000:]}"
        return done.stdout.decode(errors="replace")

    def machine_image(self) -> str:
        """The image of a machine with systemd and sshd; made once for each recipe."""
        tag = f"crossfade-machine:{sha256(_MACHINE.encode()).hexdigest()[:12]}"
        if not self.docker("images", "-q", tag).strip():
            self._base()
            context = ("build", "--network=host", "--quiet", "--tag", tag, "-")
            self.docker(*context, stdin=_MACHINE.encode())
        return tag

    def _base(self) -> None:
        """A bare Debian, from the same place as this machine's own packages."""
        if self.docker("images", "-q", "crossfade-base").strip():
            return
        targets = ("apt-get", "indextargets", "--format", "$(SITE)")
        sites = subprocess.run(targets, capture_output=True, text=True, check=False).stdout.split()
        mirror = [site for site in sites if "security" not in site][:1]
        with tempfile.TemporaryDirectory(dir=PLACE) as place:
            tree = Path(place) / "tree"
            words = ("debootstrap", "--variant=minbase", "bookworm", str(tree), *mirror)
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout[-2000:]
            _as_here(tree)
            tar = ("tar", "--create", "--directory", str(tree), ".")
            with subprocess.Popen(tar, stdout=subprocess.PIPE) as packed:
                words = ("docker", "-H", f"unix://{self.socket}", "import", "-", "crossfade-base")
                subprocess.run(words, stdin=packed.stdout, check=True, capture_output=True)

    def sweep(self) -> None:
        """Remove whatever earlier tests left."""
        ours = ("--quiet", "--filter", f"label={LABEL}")
        if left := self.docker("ps", "--all", *ours).split():
            self.docker("rm", "--force", "--volumes", *left)
        for kind in ("network", "volume"):
            if left := self.docker(kind, "ls", *ours).split():
                self.docker(kind, "rm", *left)


def _as_here(tree: Path) -> None:
    """Packages and certificates come from where this machine has them."""
    sources = Path("/etc/apt/sources.list.d")
    if sources.is_dir() and any(sources.iterdir()):
        shutil.copytree(sources, tree / "etc/apt/sources.list.d", dirs_exist_ok=True)
        (tree / "etc/apt/sources.list").write_text("")
    if Path("/etc/ssl/certs").is_dir():
        shutil.copytree("/etc/ssl/certs", tree / "etc/ssl/certs", dirs_exist_ok=True)
    if Path("/etc/pip.conf").exists():
        shutil.copy("/etc/pip.conf", tree / "etc/pip.conf")


@contextlib.contextmanager
def running_engine() -> Iterator[Engine]:
    """The engine, started if it does not run; ended when nobody uses it any more."""
    PLACE.mkdir(mode=0o700, parents=True, exist_ok=True)
    engine = Engine()
    with (PLACE / "users").open("w") as users:
        with _locked("start"):
            fcntl.flock(users, fcntl.LOCK_SH)
            if not _answers(engine):
                _start(engine)
                engine.sweep()
            engine.machine_image()
        try:
            yield engine
        finally:
            with _locked("start"):
                if _last(users):
                    engine.sweep()
                    _end()


def _last(users: IO[str]) -> bool:
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def _locked(name: str) -> Iterator[None]:
    with (PLACE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _answers(engine: Engine) -> bool:
    words = ("docker", "-H", f"unix://{engine.socket}", "version")
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


def _start(engine: Engine) -> None:
    for name in ("key", "key.pub"):
        (PLACE / name).unlink(missing_ok=True)
    keygen = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(engine.key))
    subprocess.run(keygen, check=True)
    subprocess.run(
        ("ip", "link", "add", _BRIDGE, "type", "bridge"), check=False, capture_output=True
    )
    subprocess.run(("ip", "address", "replace", _NETWORK, "dev", _BRIDGE), check=True)
    subprocess.run(("ip", "link", "set", _BRIDGE, "up"), check=True)
    (PLACE / "dockerd.pid").unlink(missing_ok=True)
    with (PLACE / "dockerd.log").open("wb") as log:
        daemon = subprocess.Popen(
            (
                *(
                    "dockerd",
                    "--data-root",
                    str(PLACE / "data"),
                    "--exec-root",
                    str(PLACE / "exec"),
                ),
                *("--pidfile", str(PLACE / "dockerd.pid"), "--host", f"unix://{engine.socket}"),
                *("--bridge", _BRIDGE),
            ),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    _daemons.append(daemon)
    until = time.monotonic() + 60
    while not _answers(engine):
        said = (PLACE / "dockerd.log").read_text(errors="replace")[-3000:]
        assert time.monotonic() < until, f"the Docker Engine did not start:\n{said}"
        time.sleep(0.1)


def _end() -> None:
    """End the engine by its process id, and wait for it."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError, ValueError):
        pid = int((PLACE / "dockerd.pid").read_text())
        os.kill(pid, signal.SIGTERM)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
        until = time.monotonic() + 30
        while Path(f"/proc/{pid}").exists() and time.monotonic() < until:
            time.sleep(0.05)
    subprocess.run(("ip", "link", "del", _BRIDGE), check=False, capture_output=True)


def inspected(engine: Engine, name: str, format: str) -> str:
    """One field of ``docker inspect``."""
    return str(json.loads(engine.docker("inspect", "-f", f"{{{{json {format}}}}}", name)))
