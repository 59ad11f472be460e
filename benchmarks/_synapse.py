"""A Synapse that was filled once and can be had again and again as it was then: stopped, at the
same paths, with 1x or 20x the data."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from benchmarks._growth import grow

from crossfade.demo.connection import Connection, WrongAnswer
from crossfade.demo.matrix import User
from crossfade.demo.place import Place
from crossfade.demo.synapse import Synapse
from crossfade.drivers.hosts.local import LocalHost
from crossfade.engine.work import Silent
from crossfade.model import Address, Side

__all__ = ["Client", "Filled", "Said", "asks", "run", "wait_until"]

WATCH = 1.0
"""Seconds that a cutover watches after the switch; they are not part of the pause."""


class Said(Silent):
    """A teller that prints a line for each thing done."""

    def say(self, text: str) -> None:
        """One line for people."""
        print(f"  {text}", flush=True)


def wait_until(holds: object, seconds: float) -> None:
    """Ask every 10 ms until it holds.  Raises SystemExit after ``seconds``."""
    assert callable(holds)
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise SystemExit(f"not so after {seconds:.0f} s")
        time.sleep(0.01)


def run(manifest: Path, *words: str) -> None:
    """Run ``crossfade WORDS``.  Raises SystemExit with what it said when it fails."""
    argv = (sys.executable, "-m", "crossfade", *words, "-f", str(manifest))
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"crossfade {words[0]} ended with {done.returncode}:\n{done.stderr}")


@dataclass(frozen=True)
class Question:
    """A read of a message that was written when the site was filled, and its right answer."""

    path: str
    token: str
    text: str


def asks(question: Question, address: Address) -> bool:
    """Whether the server at ``address`` gives the right answer."""
    on = Connection(address, timeout=10)
    try:
        content = on.json("GET", question.path, token=question.token)["content"]
    except (OSError, HTTPException, WrongAnswer):
        return False
    finally:
        on.close()
    return isinstance(content, dict) and content["body"] == question.text


class Filled:
    """The demo's place, kept stopped as it was when it was full.

    build() installs both versions and fills the old one (about a minute); grow() adds data;
    reset() makes everything but the installations as it was, and starts the old side.
    """

    def __init__(self, directory: Path) -> None:
        self.synapse = Synapse(0)
        self.place = Place(directory / "site", self.synapse, "sqlite", Said())
        self.kept = directory / "kept"
        self.question = Question("", "", "")

    def build(self) -> None:
        """Install, fill, stop, keep."""
        place = self.place
        place.clear()
        try:
            place.build(broken=False)
            place.teller.say(f"installing Synapse {self.synapse.new_version}")
            site = place.site()
            site.side(site.manifest.new, Side.NEW).install.install()
        finally:
            self.stop()
        manifest = json.loads(place.manifest.read_text(encoding="utf-8"))
        manifest["limits"]["watch"] = WATCH
        place.manifest.write_text(json.dumps(manifest, indent=2), encoding="utf-8")
        check = manifest["checks"][0]
        self.question = Question(check["path"], self.user.token, check["equals"])
        shutil.copytree(place.data, self.kept, symlinks=True)

    def grow(self, *, rooms: int, media: int) -> None:
        """Multiply what is kept."""
        grow(self.kept, rooms=rooms, media=media)

    def sizes(self) -> tuple[int, int, int]:
        """What is kept: bytes of the database, media files, bytes of media."""
        media = [p.stat().st_size for p in (self.kept / "media_store").rglob("*") if p.is_file()]
        return (self.kept / "homeserver.db").stat().st_size, len(media), sum(media)

    def reset(self) -> None:
        """The old side as it was when full, running; nothing of the new side; no journal.

        Raises SystemExit when something of the last round still listens: it would answer for the
        next one."""
        place = self.place
        for address in (place.old, place.new, place.rehearsal, place.gate):
            if left := LocalHost().listener(address):
                raise SystemExit(f"the last round left something at {address}: {left}")
        for name in ("state", "synapse-data", "synapse-data-new", "rehearsal", "manual"):
            shutil.rmtree(place.directory / name, ignore_errors=True)
        subprocess.run(("cp", "-a", self.kept, place.data), check=True)
        os.sync()  # what was copied here shall not be written out inside somebody's pause
        site = place.site()
        old = site.side(site.manifest.old, Side.OLD)
        old.service.start()
        wait_until(lambda: asks(self.question, place.old), 120)
        site.journal.close()

    def stop(self) -> None:
        """Stop whatever of it runs."""
        if self.place.manifest.exists():
            self.place.end()

    @property
    def user(self) -> User:
        """Who has filled it."""
        return self.synapse.user


class Client:
    """A light client: about ten writes a second, one after another, as a person's device would:
    what fails is tried again.  ``address`` may be changed while it works.

    longest is the longest time in seconds between two acknowledged writes, failed the number of
    writes that failed.  Use as a context manager.
    """

    def __init__(self, address: Address, user: User) -> None:
        self.address = address
        self.user = user
        self.longest = 0.0
        self.failed = 0
        self.acknowledged = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="client")

    def __enter__(self) -> Client:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _work(self) -> None:
        on, last, kind = Connection(self.address), time.monotonic(), random.randrange(10**9)
        while not self._over.wait(0.1):
            try:
                self.user.put_data(on, f"net.example.bench{kind}", str(self.acknowledged))
            except (OSError, HTTPException, WrongAnswer):
                self.failed += 1
                on.close()
                with suppress(OSError):
                    on = Connection(self.address)
                continue
            now = time.monotonic()
            self.longest, last = max(self.longest, now - last), now
            self.acknowledged += 1
        on.close()
