"""A machine apart: this one, with directories of its own over /etc, /opt and others, so that a test
may put files where they belong.  What it writes is gone afterwards."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from crossfade.drivers.hosts.local import LocalHost
from crossfade.ports import Completed, Host

__all__ = ["Apart", "apart", "put", "sh"]

_OVER = ("/etc", "/opt", "/home", "/srv", "/usr", "/var/lib", "/var/spool")
_MAKE = """
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs "$1"; place=$1; shift
for over; do
    name=$(echo "$over" | tr / _)
    mkdir -p "$place/$name" "$place/$name.work"
    mount -t overlay overlay -o "lowerdir=$over,upperdir=$place/$name,workdir=$place/$name.work" \
        "$over"
done
echo ready
exec sleep 100000
"""


def put(host: Host, path: str, text: str | bytes, mode: int = 0o644) -> None:
    """Write a file, with its parents."""
    data = text.encode() if isinstance(text, str) else text
    script = 'mkdir -p "${1%/*}" && cat >"$1" && chmod "$2" "$1"'
    sh(host, script, path, f"{mode:o}", stdin=data)


def sh(host: Host, script: str, *words: str, stdin: bytes = b"") -> str:
    """Run a script; its output."""
    return host.run(("sh", "-ec", script, "sh", *words), stdin=stdin).out.decode()


class Apart(LocalHost):
    """Commands and files in a mount namespace, as another account where ``account`` says so."""

    def __init__(self, pid: int, account: int | None = None) -> None:
        super().__init__()
        drop = ("setpriv", f"--reuid={account}", f"--regid={account}", "--clear-groups")
        self._words = ("nsenter", "-m", "-t", str(pid), "--", *(drop if account else ()))
        self.commands: list[tuple[str, ...]] = []
        self.pid = pid

    def other(self, account: int) -> Apart:
        """The same machine as another account."""
        return Apart(self.pid, account)

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        timeout: float = 60.0,
        ok: tuple[int, ...] = (0,),
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Completed:
        self.commands.append(tuple(argv))
        words = (*self._words, *argv)
        return super().run(words, stdin=stdin, timeout=timeout, ok=ok, env=env, cwd=cwd)

    @contextlib.contextmanager
    def reading(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Iterator[BinaryIO]:
        self.commands.append(tuple(argv))
        with super().reading((*self._words, *argv), env=env, cwd=cwd) as stream:
            yield stream

    def read(self, path: Path) -> bytes:
        with self.reading(("cat", "--", str(path))) as stream:
            return stream.read()

    def put(self, path: str, text: str | bytes, mode: int = 0o644) -> None:
        """Write a file, with its parents."""
        put(self, path, text, mode)

    def sh(self, script: str, *words: str) -> str:
        """Run a script; its output."""
        return sh(self, script, *words)

    def begin(self, *words: str, account: int = 0) -> subprocess.Popen[bytes]:
        """Start a program there and leave it running."""
        drop = ("setpriv", f"--reuid={account}", f"--regid={account}", "--clear-groups")
        argv = ("nsenter", "-m", "-t", str(self.pid), "--", *(drop if account else ()), *words)
        return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


@contextlib.contextmanager
def apart(place: Path) -> Iterator[Apart]:
    """Make one, with its scratch at ``place``."""
    place.mkdir(parents=True, exist_ok=True)
    over = [one for one in _OVER if Path(one).is_dir()]
    keeper = subprocess.Popen(
        ("unshare", "-m", "sh", "-c", _MAKE, "sh", str(place), *over),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    assert keeper.stdout is not None
    try:
        assert keeper.stdout.readline() == b"ready\n"
        yield Apart(keeper.pid)
    finally:
        keeper.stdout.close()
        keeper.kill()
        keeper.wait()
