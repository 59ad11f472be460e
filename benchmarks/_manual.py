"""The seed's manual method, as a careful person does it in one go with everything prepared."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks._synapse import Client, Filled, asks, wait_until

from crossfade.demo.place import Place
from crossfade.drivers import procfs
from crossfade.model import Side

__all__ = ["Pause", "manual"]


@dataclass(frozen=True)
class Pause:
    """One pause: its seconds, what it was spent on (seconds by name), what a client saw of it
    (the longest time between two acknowledged writes), and the client's failed writes."""

    seconds: float
    parts: dict[str, float]
    gap: float
    failed: int


def manual(filled: Filled) -> Pause:
    """Stop old, copy database and media, start new, wait for health, check.

    Prepared beforehand: the new version stands, its configuration is edited.  The pause lasts from
    SIGTERM to the first right answer of the new version; where traffic goes is changed in no time
    (by the client itself), which flatters this method: a person edits DNS or a proxy.
    """
    place = filled.place
    new = place.directory / "manual"
    _edit_configuration(place, new)
    site = place.site()
    old = site.side(site.manifest.old, Side.OLD)
    pid = old.service.look().pids[0]
    command = (
        str(site.manifest.new.root / "bin" / "python"),
        *("-m", "synapse.app.homeserver", "-c", str(new / "homeserver.yaml")),
    )
    site.journal.close()
    with Client(place.old, filled.user) as client, (new / "out.log").open("wb") as log:
        time.sleep(1)
        clock = _Clock()
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not procfs.alive(pid), 60)
        clock.part("stop")
        for path in place.data.glob("homeserver.db*"):
            shutil.copy2(path, new / path.name)
        clock.part("copy database")
        subprocess.run(("cp", "-a", place.data / "media_store", new), check=True)
        clock.part("copy media")
        process = subprocess.Popen(command, cwd=new, stdout=log, stderr=log, start_new_session=True)
        try:
            wait_until(lambda: site.side(site.manifest.new, Side.NEW).health.run().holds, 120)
            clock.part("start")
            wait_until(lambda: asks(filled.question, place.new), 30)
            clock.part("check")
            assert process.poll() is None, "somebody else answered"
            client.address = place.new
            time.sleep(1)
        finally:
            process.terminate()
            process.wait(60)
    return Pause(clock.seconds, clock.parts, client.longest, client.failed)


class _Clock:
    """Stops the time of one part after another."""

    def __init__(self) -> None:
        self._last = time.monotonic()
        self.parts: dict[str, float] = {}

    def part(self, name: str) -> None:
        now = time.monotonic()
        self.parts[name], self._last = now - self._last, now

    @property
    def seconds(self) -> float:
        return sum(self.parts.values())


def _edit_configuration(place: Place, new: Path) -> None:
    """The configuration, the log's configuration and the signing key, in the new place."""
    new.mkdir()
    for source in (path for path in place.data.iterdir() if path.suffix in (".yaml", ".key")):
        shutil.copy2(source, new)
    for source in place.data.glob("*.log.config"):
        shutil.copy2(source, new)
    for path in (new / "homeserver.yaml", *new.glob("*.log.config")):
        text = path.read_text(encoding="utf-8").replace(f"{place.data}/", f"{new}/")
        text = text.replace(f"{place.data}\n", f"{new}\n")
        text = text.replace(f"port: {place.old.port}", f"port: {place.new.port}")
        path.write_text(text, encoding="utf-8")
