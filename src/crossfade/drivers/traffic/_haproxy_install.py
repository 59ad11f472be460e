"""Our part put into a running HAProxy, and taken out: checked by its own checker, reloaded, proven.

Source: HAProxy 2.6 Management Guide, section 4 (reloading; the master keeps the old process when
the new configuration cannot be started) and section 3 (``-c``).
"""

from __future__ import annotations

import difflib
import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from crossfade.drivers.traffic import _haproxy_edit as edit
from crossfade.drivers.traffic._haproxy_config import Config
from crossfade.drivers.traffic._haproxy_socket import NotRunning, RuntimeSocket
from crossfade.drivers.traffic._haproxy_state import Decided, StateFile
from crossfade.errors import CrossfadeError, Failed, Refused
from crossfade.model import Address, Side

__all__ = ["Installation"]

_CHECK_SECONDS = 60.0
_RELOAD_SECONDS = 60.0
_UP_SECONDS = 20.0
_SCRIPT = Path(__file__).with_name("haproxy.lua")


class Installation:
    """Our part in one configuration file, for one backend."""

    def __init__(
        self,
        backend: str,
        path: Path,
        reload: tuple[str, ...],
        place: Path,
        runtime: RuntimeSocket,
    ) -> None:
        self.path = path
        self._backend = backend
        self._reload = reload
        self._place = place
        self._runtime = runtime
        self._file = StateFile(place, backend)

    def difference(self, targets: Mapping[Side, Address]) -> str:
        """What ``install`` would change, as a diff.  Raises Refused."""
        text = self._text()
        return self._diff(text, self._with(text, targets))

    def without(self, to: Address) -> str:
        """What ``remove`` would change, as a diff."""
        text = self._text()
        return self._diff(text, edit.remove(text, self._backend, to))

    def install(self, targets: Mapping[Side, Address]) -> None:
        """Put it in.  Raises Refused when nothing was changed, Failed else."""
        text = self._text()
        self._must_see_place(Config(text))
        changed = self._with(text, targets)
        if changed != text:
            self._check(self.path, "haproxy-config-invalid")
        self._runtime_answers()
        self._prepare(text, targets)
        try:
            self._replace(text, changed, there=True)
        except CrossfadeError:
            if not edit.installed(text, self._backend):
                self._file.remove()
                with suppress(OSError):
                    self._file.path.unlink()
            raise

    def remove(self, to: Address) -> None:
        """Take it out; the backend then leads to ``to``.  Raises Refused, Failed."""
        text = self._text()
        self._replace(text, edit.remove(text, self._backend, to), there=False)

    def retarget(self, targets: Mapping[Side, Address]) -> None:
        """Other addresses for both sides, for the next start of HAProxy."""
        text = self._text()
        changed = edit.retarget(text, self._backend, targets)
        if changed != text:
            self._write(changed)

    def _with(self, text: str, targets: Mapping[Side, Address]) -> str:
        if edit.installed(text, self._backend):
            return edit.retarget(text, self._backend, targets)
        old, new = targets[Side.OLD], targets[Side.NEW]
        script, runtime = self._file.script, self._runtime.path
        return edit.install(text, self._backend, old, new, script=script, runtime=runtime)

    def _text(self) -> str:
        try:
            return self.path.read_bytes().decode("utf-8", "surrogateescape")
        except OSError as error:
            raise Refused(
                "haproxy-config-missing",
                f"HAProxy's configuration cannot be read: {error.strerror}.",
                where=str(self.path),
            ) from None

    def _diff(self, text: str, changed: str) -> str:
        name = str(self.path)
        lines = difflib.unified_diff(
            text.splitlines(keepends=True), changed.splitlines(keepends=True), name, name
        )
        return "".join(lines)

    def _must_see_place(self, parsed: Config) -> None:
        """HAProxy reads the state while it runs, so the place is below its chroot."""
        chroot = parsed.word("chroot")
        if chroot and not self._place.is_relative_to(chroot):
            raise Refused(
                "haproxy-place",
                f"HAProxy runs in {chroot} and would not see {self._place}.",
                where=f"{self.path}: chroot {chroot}",
                next=f"edit traffic.place in the manifest: {Path(chroot) / 'crossfade'}",
            )

    def _runtime_answers(self) -> None:
        """A socket that is there must be ours to use; one that is not comes with our part."""
        try:
            self._runtime.ask("show info")
        except NotRunning:
            return
        except Failed as failed:
            raise Refused(failed.code, failed.what, where=failed.where, next=failed.next) from None

    def _prepare(self, text: str, targets: Mapping[Side, Address]) -> None:
        """Script, state and counters, before HAProxy hears of them."""
        parsed, file = Config(text), self._file
        try:
            self._place.mkdir(mode=0o755, parents=True, exist_ok=True)
            file.script.write_text(self._script(parsed.word("chroot")), encoding="utf-8")
            file.script.chmod(0o644)
            if not edit.installed(text, self._backend) or file.read() is None:
                before = file.read()
                serial = before.serial + 1 if before else 1
                file.write(Decided(serial=serial, targets=dict(targets)))
                file.counts.write_bytes(b"")
            file.counts.chmod(0o644)
            user = parsed.word("user")
            if user and os.geteuid() == 0:
                os.chown(file.counts, pwd.getpwnam(user).pw_uid, -1)
        except (OSError, KeyError) as error:
            raise Refused(
                "haproxy-place",
                f"What HAProxy reads cannot be written: {error}.",
                where=str(self._place),
            ) from None

    def _script(self, chroot: str) -> str:
        def inside(path: Path) -> str:
            return f"/{path.relative_to(chroot)}" if chroot else str(path)

        words = {
            "@BACKEND@": self._backend,
            "@STATE@": str(self._file.path),
            "@STATE_INSIDE@": inside(self._file.path),
            "@COUNTS@": str(self._file.counts),
            "@COUNTS_INSIDE@": inside(self._file.counts),
        }
        script = _SCRIPT.read_text(encoding="utf-8")
        for word, value in words.items():
            script = script.replace(word, value)
        return script

    def _replace(self, text: str, changed: str, *, there: bool) -> None:
        """Check the new text beside the old, put it in its place, reload, and wait for it.

        What does not come up is put back; the process that ran goes on by itself."""
        beside = self.path.with_name(f"{self.path.name}.crossfade")
        try:
            self._write(changed, beside)
            self._check(beside, "haproxy-change-invalid")
        finally:
            with suppress(OSError):
                beside.unlink()
        self._write(changed)
        try:
            self._run_reload()
            self._wait(lambda: self._is_there() is there)
        except CrossfadeError:
            self._write(text)
            raise

    def _write(self, text: str, path: Path | None = None) -> None:
        """Whole, with the mode and the owner that the configuration has.  Raises Failed."""
        real = Path(os.path.realpath(self.path))
        target = path or real
        partial = target.with_name(f"{target.name}.new")
        try:
            stat = real.stat()
            fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "wb") as file:
                file.write(text.encode("utf-8", "surrogateescape"))
                if os.geteuid() == 0:
                    os.fchown(fd, stat.st_uid, stat.st_gid)
                os.fchmod(fd, stat.st_mode & 0o7777)
                file.flush()
                os.fsync(fd)
            partial.replace(target)
        except OSError as error:
            raise Failed(
                "haproxy-config-unwritable",
                f"HAProxy's configuration cannot be written: {error.strerror}.",
                where=str(target),
            ) from None

    def _check(self, path: Path, code: str) -> None:
        program = (
            shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin") or "haproxy"
        )
        argv = (program, "-c", "-f", str(path))
        status, said = _run(argv, _CHECK_SECONDS)
        if status:
            raise Refused(
                code,
                "HAProxy's configuration does not hold, in its own words.",
                where=f"{' '.join(argv)}\n{said}",
                next=f"haproxy -c -f {self.path}",
            )

    def _run_reload(self) -> None:
        status, said = _run(self._reload, _RELOAD_SECONDS)
        if status:
            raise Failed(
                "haproxy-reload-refused",
                "HAProxy was not reloaded; it goes on with the configuration that it had.",
                where=f"{' '.join(self._reload)}\n{said}",
            )

    def _is_there(self) -> bool | None:
        try:
            return self._runtime.gate(self._backend) is not None
        except (NotRunning, Failed):
            return None

    def _wait(self, done: Callable[[], bool]) -> None:
        until = time.monotonic() + _UP_SECONDS
        while not done():
            if time.monotonic() > until:
                raise Failed(
                    "haproxy-reload-refused",
                    "HAProxy took the reload, but the new configuration did not come up; it goes "
                    "on with the one that it had.",
                    where=f"{' '.join(self._reload)}, then {self._runtime.path}",
                )
            time.sleep(0.05)


def _run(argv: tuple[str, ...], timeout: float) -> tuple[int, str]:
    """Exit status, and the last lines of what it said."""
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError:
        return 127, f"{argv[0]}: no such program"
    except (OSError, subprocess.TimeoutExpired) as error:
        return 126, str(error)
    lines = done.stdout.decode("utf-8", "replace").splitlines()
    return done.returncode, "\n".join(lines[-8:])
