"""The ``docker`` service: a container as the running program of one side.

A new container is made from the old one's settings and another image.  The dead-man's switch
starts and stops it without us: ``python -m crossfade.drivers.services.docker start URL NAME``.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from crossfade.drivers.containers import Engine
from crossfade.drivers.services import _docker_making as making
from crossfade.drivers.services._compose import others_of
from crossfade.drivers.services._docker_making import DockerSpec
from crossfade.drivers.services.container_text import (
    USUAL_POLICY,
    own_variables,
    restart_policy,
)
from crossfade.errors import Failed
from crossfade.model import Finding
from crossfade.ports import Host, ServiceState

__all__ = ["DockerService", "DockerSpec"]

_KILLED_AFTER: Final = 2.0
_UNREACHABLE: Final = 255


class DockerService:
    """One side's container, started and stopped through the engine.  host is the container as a
    machine, for what has to be done inside."""

    def __init__(self, spec: DockerSpec, host: Host | None = None) -> None:
        self.spec = spec
        self._host = host
        self._engine = Engine(spec.socket)

    def close(self) -> None:
        """End the connections to the engine."""
        self._engine.close()

    def make(self) -> tuple[str, ...]:
        """Make the new container, stopped: see ``_docker_making.make``."""
        return making.make(self._engine, self.spec)

    def remove(self) -> None:
        """Remove the container and the volumes that were made for it; fine when they are gone."""
        making.remove(self._engine, self.spec)

    def look(self) -> ServiceState:
        """How the container stands: state, process, health, how often it was started again."""
        found = self._engine.container(self.spec.container)
        if found is None:
            return ServiceState(False, (), f"no container {self.spec.container}")
        state = found["State"]
        words = [f"container {self.spec.container} is {state['Status']}"]
        if state.get("Health"):
            words.append(f"health {state['Health']['Status']}")
        if found.get("RestartCount"):
            words.append(f"started again {found['RestartCount']} times")
        if not state["Running"] and state.get("ExitCode"):
            words.append(f"status {state['ExitCode']}")
        running = bool(state["Running"]) or bool(state.get("Restarting"))
        pids = (int(state["Pid"]),) if state.get("Pid") else ()
        return ServiceState(running, pids, ", ".join(words))

    def variables(self) -> dict[str, str]:
        """Those that somebody set on the container, not those of its image.  Raises Failed."""
        found = self._known(self.spec.container)
        image = self._engine.image(found["Image"]) or {}
        return own_variables(found["Config"], image.get("Config") or {})

    def command(self) -> tuple[str, ...]:
        """The command that starts it."""
        return ("docker", "start", self.spec.container)

    def prepare(self) -> None:
        """Make the container, before the pause."""
        self.make()

    def held(self) -> list[Finding]:
        """Nothing was held."""
        return []

    def start(self) -> None:
        """Migrate, then start it; fine when it already runs.

        Raises Failed: migration-failed, service-does-not-start, and as ``make`` does."""
        if self.look().running:
            return
        self.make()
        self._migrate()
        try:
            with self._engine.explained(f"start container {self.spec.container}"):
                self._engine.api.start(self.spec.container)
        except Failed as failed:
            if failed.code not in ("engine-refused", "container-missing"):
                raise
            raise Failed("service-does-not-start", failed.what, where=failed.where) from failed

    def _migrate(self) -> None:
        process = self.spec.process
        if self.spec.changes is None or process is None or not process.migrate:
            return
        words = process.migrate
        said = making.run_once(self._engine, self.spec, words, process.migrate_at_most)
        if said is not None:
            what = f"The migration ended with {said.partition(chr(10))[0]}."
            raise Failed("migration-failed", what, where=f"{' '.join(words)}\n{said}")

    def stop(self, timeout: float, *, keep_prepared: bool = False) -> None:
        """Stop it by its own signal, and kill what is left after ``timeout`` seconds: at once where
        it never hears that signal, which would only make the pause longer.

        Raises Failed(service-does-not-stop)."""
        found = self._engine.container(self.spec.container)
        if found is None:
            return
        if not self._hears(found):
            timeout = 0
        with self._engine.explained(f"stop container {self.spec.container}"):
            self._engine.api.stop(self.spec.container, timeout=max(0, round(timeout)))
        if self.look().running:
            what = "The container still runs after it was stopped."
            raise Failed("service-does-not-stop", what, where=self.look().detail)

    def _hears(self, found: Mapping[str, Any]) -> bool:
        """Whether its first process catches the signal that stops it.  The kernel gives the first
        process of a namespace no other ones (pid_namespaces(7)); True where nobody can tell."""
        told = str(found["Config"].get("StopSignal") or "SIGTERM")
        own = found["HostConfig"].get("PidMode", "") in ("", "private")
        if not own or not found["State"]["Running"]:
            return True
        name = f"SIG{told.removeprefix('SIG')}"
        with suppress(Failed, LookupError, ValueError), self._engine.explained("look inside"):
            number = int(told) if told.isdigit() else signal.Signals[name]
            words = ["cat", "/proc/1/status"]
            made = self._engine.api.exec_create(self.spec.container, words, stderr=False)
            _, _, caught = self._engine.api.exec_start(made["Id"]).partition(b"SigCgt:")
            return bool(int(caught.split()[0], 16) >> (number - 1) & 1)
        return True

    def at_boot(self) -> bool | None:
        """Whether the engine starts it by itself when the machine boots; None where nothing can
        be said of that, or changed."""
        found = self._engine.container(self.spec.container)
        if found is None or not self._engine.changes_policies():
            return None
        return bool(restart_policy(found)["Name"] != "no")

    def set_at_boot(self, on: bool) -> None:
        """Say whether the engine starts it by itself.  It gets back the policy that it had, or, on
        the new side, the one of the old container.  Nothing is done where it cannot be changed."""
        found = self._known(self.spec.container)
        now = restart_policy(found)
        if on == (now["Name"] != "no") or not self._engine.changes_policies():
            return
        if not on:
            self._remember(now)
        policy = self._remembered() if on else {"Name": "no", "MaximumRetryCount": 0}
        with self._engine.explained(f"change container {self.spec.container}"):
            self._engine.api.update_container(self.spec.container, restart_policy=policy)

    def _remember(self, policy: dict[str, Any]) -> None:
        if self.spec.keep:
            self.spec.keep.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._memory(self.spec.container).write_text(json.dumps(policy), encoding="utf-8")

    def _remembered(self) -> dict[str, Any]:
        """The policy that this container had, or the old one has or had."""
        for name in (self.spec.container, self.spec.old):
            if name and self.spec.keep and self._memory(name).exists():
                return dict(json.loads(self._memory(name).read_text(encoding="utf-8")))
            old = self._engine.container(name) if name else None
            if old is not None and restart_policy(old)["Name"] != "no":
                return restart_policy(old)
        return dict(USUAL_POLICY)

    def _memory(self, name: str) -> Path:
        return (self.spec.keep or Path()) / f"{name}.restart.json"

    def account(self) -> str:
        """The account that it runs as, in its own image's words; empty for root's."""
        found = self._engine.container(self.spec.container)
        return str(found["Config"].get("User") or "") if found else ""

    def own(self, paths: Sequence[Path]) -> None:
        """Give files to the account that it runs as."""
        account = self.account()
        if self._host and account and paths:
            owner = account if ":" in account else f"{account}:"
            if owner[0].isdigit() and owner.endswith(":"):  # a bare number has no group to look up
                owner = owner[:-1]
            self._host.run(("chown", "--no-dereference", owner, *map(str, paths)))

    def stands(self) -> list[str]:
        """What this upgrade made at the engine."""
        if self.spec.changes is None:
            return []
        return [f"{one} at {self._engine.url}" for one in self._engine.made_for(self.spec.upgrade)]

    def retire(self, archive: Path) -> list[Finding]:
        """Keep what the engine knows of the container, and remove it.  Its volumes stay until what
        is in them was archived."""
        found = self._engine.container(self.spec.container)
        if found is None:
            return []
        archive.mkdir(mode=0o700, parents=True, exist_ok=True)
        kept = archive / "container.json"
        kept.touch(mode=0o600)
        kept.write_text(json.dumps(found, indent=2), encoding="utf-8")
        with self._engine.explained(f"remove container {self.spec.container}"):
            self._engine.api.remove_container(found["Id"])
        what = f"container {self.spec.container} is kept and removed"
        told = [Finding(what, "kept", f"described in {kept.name}", "engine", True)]
        if others := others_of(self._engine, found["Config"].get("Labels") or {}):
            what = f"its Compose project still has {', '.join(others)}"
            told.append(Finding(what, "left as it is", "not Crossfade's to stop", "engine", True))
        return told

    def revival(self) -> tuple[str, ...]:
        """The command that starts it without us."""
        return self._without_us("start")

    def burial(self) -> tuple[str, ...]:
        """The command that stops it without us, at once."""
        return self._without_us("stop")

    def _without_us(self, verb: str) -> tuple[str, ...]:
        return (sys.executable, "-m", __name__, verb, self._engine.url, self.spec.container)

    def log_tail(self, lines: int) -> list[str]:
        """The last lines of its log (at most 200 characters each)."""
        try:
            with self._engine.explained("read the log"):
                text = self._engine.api.logs(self.spec.container, tail=lines)
        except Failed:
            return []
        return [line[:200] for line in text.decode("utf-8", "replace").splitlines()[-lines:]]

    def _known(self, name: str) -> dict[str, Any]:
        found = self._engine.container(name)
        if found is None:
            what = f"There is no container {name}."
            raise Failed("container-missing", what, where=self._engine.url)
        return found


def main(words: Sequence[str]) -> None:
    """``start URL NAME`` or ``stop URL NAME``, for the dead-man's switch; it ends with 255 when the
    engine cannot be reached."""
    verb, url, name = words
    service = DockerService(DockerSpec(name, url))
    try:
        if verb == "start":
            service.start()
        else:
            service.stop(_KILLED_AFTER)
    except Failed as failed:
        sys.exit(_UNREACHABLE if failed.code == "engine-unreachable" else str(failed))


if __name__ == "__main__":
    main(sys.argv[1:])
