"""``crossfade demo``: the main job on a real application, under load, with nothing prepared.

Everything is made below one directory: the application at its old version with data in it, its
database server if it has one, a gate, a client that writes and reads all the time; then the command
line does what an operator would do.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from crossfade.demo.load import Load
from crossfade.demo.mlflow import Mlflow
from crossfade.demo.outcome import gather, summary
from crossfade.demo.place import Place
from crossfade.demo.subject import Subject
from crossfade.demo.synapse import Synapse
from crossfade.errors import UsageError
from crossfade.ports import Teller

__all__ = ["run_demo"]

_SETTLE = 3.0
"""Seconds of load before the rehearsal and after the cutover."""

_SUBJECTS: Mapping[str, Mapping[str, Callable[[], Subject]]] = {
    "sqlite": {"synapse": partial(Synapse, rate=50)},
    "postgres": {"synapse": partial(Synapse, rate=30), "mlflow": Mlflow},
    "mariadb": {"mlflow": Mlflow},
}
"""For each kind of database the applications that can use it; the first is the default."""


def run_demo(
    directory: Path,
    *,
    database: str,
    application: str | None,
    broken: str | None,
    as_json: bool,
    teller: Teller,
) -> int:
    """Run it; returns the exit code of the cutover (of the rehearsal, should that fail).

    Raises UsageError ``demo-unknown`` for an application that cannot use the kind of database."""
    subject = _subject(database, application)
    place = Place(directory, subject, database, teller)
    place.clear()
    try:
        place.build(broken=broken is not None)
        teller.say(f"a client writes and reads {subject.rate} times a second at {place.gate}")
        with Load(place.gate, subject.client(), subject.rate) as load:
            time.sleep(_SETTLE)
            code = _crossfade(place, teller, "rehearse")
            if code == 0:
                code = _crossfade(place, teller, "cutover", "--yes")
            time.sleep(_SETTLE)
        teller.say("reading every acknowledged write back")
        result = gather(place, load, load.found())
    finally:
        place.end()
    if as_json:
        print(json.dumps(result))  # noqa: T201 - the command line's data
    else:
        print(summary(place, result, code))  # noqa: T201 - the command line's data
    return code


def _subject(database: str, application: str | None) -> Subject:
    known = _SUBJECTS[database]
    if application is None:
        return next(iter(known.values()))()
    if application not in known:
        raise UsageError(
            "demo-unknown",
            f"There is no demo of {application} on {database}, only of {', '.join(known)}.",
            next=f"crossfade demo --db {database}",
        )
    return known[application]()


def _crossfade(place: Place, teller: Teller, *words: str) -> int:
    teller.say(f"$ crossfade {' '.join(words)}")
    argv = (sys.executable, "-m", "crossfade", *words, "-f", str(place.manifest))
    # its summary is for its own terminal; ours comes at the end
    return subprocess.run(argv, stdout=subprocess.DEVNULL, check=False).returncode
