"""The ``systemd`` service: a unit of a machine's own service manager, here or over ssh.

The old side's unit is only started, stopped and, after the switch, no longer started at boot.  The
new side's is ours: the old unit, its drop-ins and the files of its variables come over file by file
with the paths of the new side, and one last drop-in says what is run (``unit_text.our_part``).
Secrets go into a file that only root reads.  A migration is a second unit of the same kind, which
runs once.  ``unit_account`` says what becomes of each setting.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from crossfade.drivers.services import unit_text
from crossfade.drivers.services.spawn import ProcessSpec
from crossfade.drivers.services.unit_old import OldUnit, read_old
from crossfade.errors import Failed
from crossfade.manifest import resolve
from crossfade.model import Finding
from crossfade.ports import Completed, Host, ServiceState

__all__ = ["SystemdService", "UnitSpec"]

_PLACE: Final = Path("/etc/systemd/system")
_OURS: Final = "zz-crossfade.conf"
"""Drop-ins are read in the order of their names; ``systemctl edit`` calls its own override.conf."""
_SECRETS: Final = "crossfade.env"
_SHOWN: Final = ("LoadState", "ActiveState", "SubState", "MainPID", "NRestarts", "Result")
_GONE: Final = ("inactive", "failed")
_AGAIN: Final = 3
_KILL: Final = 10.0
_LATELY: Final = 300


@dataclass(frozen=True, slots=True)
class UnitSpec:
    """A unit, and what it runs (of ``process``: command, directory, environment, migration).

    ours says that we make it; then like is the old side's unit, whose settings come over with the
    paths in moved, and user the account it runs as (empty: the old unit's, or root)."""

    unit: str
    process: ProcessSpec
    ours: bool
    like: SystemdService | None = None
    moved: Mapping[str, str] = field(default_factory=dict)
    user: str = ""


class SystemdService:
    """One side's program as a unit.  host acts as root."""

    def __init__(self, spec: UnitSpec, host: Host) -> None:
        self.spec = spec
        self.host = host
        self._written = False
        self._root = False

    def held(self) -> list[Finding]:
        """Nothing: a unit is always started plainly."""
        return []

    def command(self) -> tuple[str, ...]:
        """The command that starts it."""
        return ("systemctl", "start", self.spec.unit)

    def look(self) -> ServiceState:
        """How systemd says it stands.  One that waits to be started again after it ended counts as
        ended.  Raises Failed(root-needed) when we could only look."""
        self._needs_root()
        shown = self._show(_SHOWN)
        state, sub = shown.get("ActiveState", ""), shown.get("SubState", "")
        running = bool(state) and state not in _GONE and sub != "auto-restart"
        pid = int(shown.get("MainPID") or 0)
        words = f"unit {self.spec.unit} on {self.host.name} is {state or 'unknown'} ({sub})"
        if shown.get("LoadState") == "not-found":
            words = f"there is no unit {self.spec.unit} on {self.host.name}"
        elif shown.get("Result", "success") != "success":
            words += f", result {shown['Result']}, {shown.get('NRestarts')} restarts"
        return ServiceState(running, (pid,) if pid else (), words)

    def _needs_root(self) -> None:
        if self._root:
            return
        if self.host.run(("id", "-u")).out.strip() != b"0":
            raise Failed(
                "root-needed",
                f"Units of {self.host.name} are started and stopped as root, and there we are not.",
                where="id -u",
                next="edit crossfade.yaml: add sudo: true to its host",
            )
        self._root = True

    def prepare(self) -> None:
        """Write the unit, before the pause."""
        if self.spec.ours:
            self._write()

    def start(self) -> None:
        """Migrate, then start it; fine when it runs.  Raises Failed: migration-failed,
        unit-missing."""
        if self.look().running:
            return
        if self.spec.ours and not self._written:
            self._write()
        if self.spec.process.migrate:
            self._migrate()
        self._ctl("start", "--no-block", self.spec.unit)

    def stop(self, timeout: float, *, keep_prepared: bool = False) -> None:
        """Stop it; kill what is left after ``timeout`` seconds.  Fine when nothing runs."""
        for unit in (self.spec.unit, *((self._migration,) if self.spec.process.migrate else ())):
            self._stop(unit, timeout)
        state = self.look()
        if state.running:
            what = "The program is still there after SIGTERM and SIGKILL."
            raise Failed("service-does-not-stop", what, where=state.detail)

    def _stop(self, unit: str, timeout: float) -> None:
        self._ctl("stop", "--no-block", unit, ok=(0, 5))
        if self._over(unit, timeout):
            return
        self._ctl("kill", "--signal=KILL", unit, ok=(0, 1))
        self._over(unit, _KILL)

    def _over(self, unit: str, timeout: float) -> bool:
        """Whether it has ended within some seconds."""
        until = time.monotonic() + timeout
        while True:
            if self._show(("ActiveState",), unit).get("ActiveState") in (*_GONE, "", None):
                return True
            if time.monotonic() > until:
                return False
            time.sleep(0.02)

    def revival(self) -> tuple[str, ...]:
        """The command that starts it without us."""
        return self.host.outside(("systemctl", "start", "--no-block", self.spec.unit))

    def burial(self) -> tuple[str, ...]:
        """The command that stops it without us, at once."""
        order = (
            'timeout 2 systemctl stop "$1" || '
            '{ systemctl kill --signal=KILL "$1"; timeout 5 systemctl stop "$1"; }; exit 0'
        )
        return self.host.outside(("sh", "-c", order, "sh", self.spec.unit))

    def log_tail(self, lines: int) -> list[str]:
        """The last lines of its journal (at most 200 characters each): what the program itself said
        lately, if anything; else what systemd says of it."""
        lately = (f"_SYSTEMD_UNIT={self.spec.unit}", f"--since=-{_LATELY}s")
        for which in (lately, ("-u", self.spec.unit)):
            words = ("journalctl", "--quiet", "--reverse", *which, "-n", str(lines), "-o", "cat")
            done = self.host.run((*words, "--no-pager"), ok=(0, 1))
            if said := done.out.decode("utf-8", "replace").splitlines()[:lines]:
                return [line[:200] for line in reversed(said)]
        return []

    def at_boot(self) -> bool:
        """Whether the machine starts it at boot."""
        done = self._ctl("is-enabled", self.spec.unit, ok=(0, 1, 4))
        return done.out.strip() in (b"enabled", b"enabled-runtime", b"linked")

    def set_at_boot(self, on: bool) -> None:
        """Say whether the machine starts it at boot from now on."""
        if self.at_boot() != on:
            self._ctl("enable" if on else "disable", "--quiet", self.spec.unit)

    def own(self, paths: Sequence[Path]) -> None:
        """Give files to the account that it runs as."""
        account = self.account()
        if account and paths:
            self.host.run(("chown", "--no-dereference", f"{account}:", *map(str, paths)))

    def stands(self) -> list[str]:
        """The unit and its migration's, if they are ours."""
        if not self.spec.ours or not self.host.exists(_PLACE / f"{self.spec.unit}.d" / _OURS):
            return []
        there = [u for u in (self.spec.unit, self._migration) if self.host.exists(_PLACE / u)]
        return [f"unit {unit} on {self.host.name}" for unit in there]

    def remove(self) -> None:
        """Stop and remove the unit, if it is ours; fine when it is gone."""
        if not self.spec.ours or not self._is_there():
            return
        self.stop(5.0)
        self._ctl("disable", "--quiet", self.spec.unit, ok=(0, 1))
        for unit in (self.spec.unit, self._migration):
            self.host.remove(_PLACE / unit)
            self.host.remove(_PLACE / f"{unit}.d")
        self._ctl("daemon-reload")
        self._ctl("reset-failed", self.spec.unit, ok=(0, 1))
        self._written = False

    def retire(self, archive: Path) -> list[Finding]:
        """Keep the unit's files and remove them, but for those of a package, which is only told not
        to start it."""
        if self._show(("LoadState",)).get("LoadState") != "loaded":
            return []
        files = self.files()
        for path in files:
            kept = archive / "unit" / str(path).lstrip("/")
            kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            kept.write_bytes(self.host.read(path))
        self._ctl("disable", "--quiet", self.spec.unit, ok=(0, 1))
        mine = [path for path in files if path.is_relative_to(_PLACE)]
        for path in mine:
            self.host.remove(path)
            if path.parent != _PLACE:
                self.host.run(("rmdir", "--ignore-fail-on-non-empty", str(path.parent)), ok=(0, 1))
        if any(path.name == _OURS for path in mine):  # an earlier upgrade's: with our own files
            self.host.remove(self.variables_place)
        self._ctl("daemon-reload")
        words = f"{len(mine)} of {len(files)} files removed, the others are a package's"
        return [Finding(f"unit {self.spec.unit} is kept and removed", "kept", words, "host", True)]

    def files(self) -> list[Path]:
        """The files of a unit as systemd reads them, the drop-ins in order."""
        shown = self._show(("FragmentPath", "DropInPaths", "LoadState"))
        if shown.get("LoadState") != "loaded":
            raise Failed(
                "unit-missing",
                f"There is no unit {self.spec.unit} on {self.host.name}.",
                where=f"systemctl show {self.spec.unit}: {shown.get('LoadState')}",
            )
        return [Path(p) for p in (shown["FragmentPath"], *shown["DropInPaths"].split()) if p]

    # -- our own unit --

    @property
    def _migration(self) -> str:
        return f"{self.spec.unit.removesuffix('.service')}-migrate.service"

    def _is_there(self) -> bool:
        """Whether a unit of ours stands there.  Raises Failed when it is somebody else's."""
        if self.host.exists(_PLACE / f"{self.spec.unit}.d" / _OURS):
            return True
        if self._show(("LoadState",)).get("LoadState") not in ("not-found", "", None):
            raise Failed(
                "unit-in-the-way",
                f"{self.host.name} has a unit {self.spec.unit} that is not ours.",
                where=f"systemctl cat {self.spec.unit}",
                next="edit crossfade.yaml: another name for new.service.unit",
            )
        return False

    def account(self) -> str:
        """The account that it runs as; empty for root's."""
        if self.spec.user or not self.spec.ours:
            return self.spec.user or self._show(("User",)).get("User", "")
        return self.spec.like.account() if self.spec.like else ""

    def old_unit(self) -> OldUnit:
        """The unit's files and those of its variables, without a part of ours from an upgrade.

        Raises Failed: unit-missing, and for what cannot be read."""
        words = ("systemctl", "show", "--property=EnvironmentFiles", "--", self.spec.unit)
        shown = self.host.run(words).out.decode("utf-8", "surrogateescape").splitlines()
        return read_old(self.host, [p for p in self.files() if p.name != _OURS], shown)

    def _write(self) -> None:
        self._is_there()
        old = self.spec.like.old_unit() if self.spec.like else None
        for name, text in self.planned(old).items():
            secret = name.endswith(".env") or unit_text.sets_secret(text)
            data = text.encode("utf-8", "surrogateescape")
            self.host.write(_PLACE / name, data, mode=0o600 if secret else 0o644)
        self._ctl("daemon-reload")
        self._written = True

    def planned(self, old: OldUnit | None) -> dict[str, str]:
        """The files of our unit and of its migration's, by their names below systemd's directory,
        secrets and all; old is the unit that it is to be like."""
        process, unit = self.spec.process, self.spec.unit
        files = self._text_of(unit, process.command, old)
        if process.migrate:
            files |= self._text_of(self._migration, process.migrate, old, once=True)
        if old is not None:
            files |= old.carried(f"{unit}.d", self.spec.moved)
        files[f"{unit}.d/{_SECRETS}"] = unit_text.environment_file(self._environment())
        return files

    @property
    def variables_place(self) -> Path:
        """Where the files of variables stand that our unit reads."""
        return _PLACE / f"{self.spec.unit}.d"

    def _text_of(
        self, unit: str, command: Sequence[str], old: OldUnit | None, *, once: bool = False
    ) -> dict[str, str]:
        """The files of a unit of ours, by their names below systemd's directory."""
        files = {unit: unit_text.bare(self.spec.process.command[0])}
        if old is not None:
            moved = {**self.spec.moved, **old.variables_moved(self.variables_place)}
            (_, main), *drop_ins = old.files
            files[unit] = unit_text.rewritten(main, moved)
            for path, text in drop_ins:
                name = Path(path).name
                name = name if name < _OURS else f"zy-{name}"  # so that ours is the last
                files[f"{unit}.d/{name}"] = unit_text.rewritten(text, moved)
        found = unit_text.settings(files.values())
        kinds = [s.value for s in found if (s.section, s.name) == ("Service", "Type")]
        kind = "oneshot" if once else kinds[-1] if kinds else "exec"
        more = {"Type": "exec" if kind in ("forking", "oneshot") and not once else kind}
        if once:
            more |= {"Restart": "no", "TimeoutStartSec": "infinity"}
        if account := self.account():  # an earlier upgrade may have said it in its own part
            more["User"] = account
        secrets = str(_PLACE / f"{self.spec.unit}.d" / _SECRETS)
        directory = self.spec.process.directory
        files[f"{unit}.d/{_OURS}"] = unit_text.our_part(command, directory, more, secrets)
        return files

    def _environment(self) -> dict[str, str]:
        spec = self.spec.process
        base = Path(spec.base)
        return {name: resolve(value, base) for name, value in spec.environment.items()}

    def _migrate(self) -> None:
        spec = self.spec.process
        done = self._ctl("start", self._migration, ok=(0, 1, 3), timeout=spec.migrate_at_most)
        if done.status != 0:
            words = ("journalctl", "-u", self._migration, "-n", "5", "-o", "cat", "--no-pager")
            said = self.host.run(words, ok=(0, 1)).out.decode("utf-8", "replace")
            raise Failed(
                "migration-failed",
                f"The migration ended with status {done.status}.",
                where=f"{' '.join(spec.migrate)}\n{said.strip()}",
            )

    # -- systemctl --

    def _show(self, names: Sequence[str], unit: str = "") -> dict[str, str]:
        words = [f"--property={name}" for name in names]
        done = self._ctl("show", *words, "--", unit or self.spec.unit)
        lines = done.out.decode("utf-8", "replace").splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)

    def _ctl(self, *words: str, ok: tuple[int, ...] = (0,), timeout: float = 60.0) -> Completed:
        """systemctl; all of what we ask of it may be asked again when the link is cut."""
        for _ in range(_AGAIN - 1):
            try:
                return self.host.run(("systemctl", *words), ok=ok, timeout=timeout)
            except Failed as failed:
                if failed.code != "host-lost":
                    raise
        return self.host.run(("systemctl", *words), ok=ok, timeout=timeout)
