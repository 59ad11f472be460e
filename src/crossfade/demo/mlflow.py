"""The demo's MLflow: experiments, runs with metrics, parameters and tags, and artifacts."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from crossfade.demo import tracking
from crossfade.demo.connection import Connection, WrongAnswer
from crossfade.demo.load import pick, reads, same
from crossfade.demo.subject import Act, Client, Ground
from crossfade.ports import Teller

__all__ = ["Mlflow"]

EXPERIMENTS, RUNS, STEPS, FILES = 4, 40, 200, 40


class Mlflow:
    """``subject.Subject``: an MLflow tracking server, on PostgreSQL or on MariaDB."""

    application = "mlflow"
    title = "MLflow"
    old_version = "2.9.2"
    new_version = "3.17.2"
    packages: tuple[str, ...] = ("mlflow==2.9.2", "psycopg2-binary", "PyMySQL", "setuptools<70")
    exclude_newer = "2024-01-31"
    rate = 6
    max_pause = 240
    locale = "C.UTF-8"

    def __init__(self) -> None:
        self.experiment = self.known = ""
        self.runs: list[str] = []

    def configure(self, ground: Ground) -> None:
        """A place for the artifacts; all else are arguments and environment, in the recipe."""
        ground.host.make_directory(ground.data / "artifacts", mode=0o755)

    def fill(self, ground: Ground, teller: Teller) -> None:
        """Experiments, runs with a history, and files, over HTTP."""
        on = Connection(ground.address)
        names = [f"experiment {number}" for number in range(EXPERIMENTS)]
        experiments = [tracking.create_experiment(on, name) for name in names]
        self.experiment = experiments[0]
        with teller.bar(f"{RUNS} runs of {STEPS} values, {FILES} files") as progress:
            for number in range(RUNS):
                experiment = experiments[number % EXPERIMENTS]
                run = tracking.create_run(on, experiment, f"run {number}")
                values = {step: 1.0 / (1 + step + number) for step in range(STEPS)}
                settings = {f"setting {n}": f"value {n}" for n in range(20)}
                tracking.log_batch(on, run, values, settings)
                self.runs.append(run)
                progress(number + 1, RUNS)
            for number in range(FILES):
                path = f"{self.experiment}/{self.runs[0]}/artifacts/model{number}.bin"
                tracking.upload(on, path, os.urandom(20_000 + 1000 * number))
        self.known = tracking.create_run(on, self.experiment, "this run must survive")
        on.close()

    def checks(self, directory: Path) -> list[Mapping[str, Any]]:
        """A run that was made is there."""
        return [
            {
                "name": "a known run can be read",
                "path": f"/api/2.0/mlflow/runs/get?run_id={self.known}",
                "json": "run.info.run_name",
                "equals": "this run must survive",
            }
        ]

    def client(self) -> Client:
        """Two writes (metrics, tags, parameters, runs, files) for each read of what was written."""
        return _Client(self.experiment, self.runs[-10:])


class _Client:
    """Keys are (run, key) pairs; the steps of the metric are numbers that no other write gets."""

    def __init__(self, experiment: str, runs: Sequence[str]) -> None:
        self.experiment, self.runs = experiment, runs
        self.metrics: dict[tuple[str, int], float] = {}
        self.tags: dict[tuple[str, str], str] = {}
        self.parameters: dict[tuple[str, str], str] = {}
        self.made: dict[str, str] = {}
        self.files: dict[str, bytes] = {}
        self.acts: Sequence[Act] = (
            *([self._metric] * 6 + [self._tag] * 6 + [self._parameter] * 4),
            *([self._run] * 2 + [self._upload] * 2),
            *([self._read_run] * 6 + [self._read_file] * 4),
        )

    @property
    def acknowledged(self) -> int:
        kinds = (self.metrics, self.tags, self.parameters, self.made, self.files)
        return sum(len(kind) for kind in kinds)

    def _of(self, number: str) -> str:
        return self.runs[int(number) % len(self.runs)]

    def _metric(self, on: Connection, number: str) -> None:
        run, step = self._of(number), 1000 + int(number)
        tracking.log_metric(on, run, "progress", step, float(number))
        self.metrics[run, step] = float(number)

    def _tag(self, on: Connection, number: str) -> None:
        run = self._of(number)
        tracking.set_tag(on, run, f"tag {number}", f"value {number} 🦊")
        self.tags[run, f"tag {number}"] = f"value {number} 🦊"

    def _parameter(self, on: Connection, number: str) -> None:
        run = self._of(number)
        tracking.log_parameter(on, run, f"parameter {number}", f"value {number}")
        self.parameters[run, f"parameter {number}"] = f"value {number}"

    def _run(self, on: Connection, number: str) -> None:
        self.made[tracking.create_run(on, self.experiment, f"new {number}")] = f"new {number}"

    def _upload(self, on: Connection, number: str) -> None:
        path = f"{self.experiment}/{self._of(number)}/artifacts/{number}.txt"
        content = f"file {number}\n".encode() * 200
        tracking.upload(on, path, content)
        self.files[path] = content

    def _read_run(self, on: Connection, number: str) -> None:
        if picked := pick(self.tags):
            (run, key), value = picked
            same(tracking.run_of(on, run)["tags"].get(key), value)

    def _read_file(self, on: Connection, number: str) -> None:
        if picked := pick(self.files):
            same(tracking.download(on, picked[0]), picked[1])

    def found(self, on: Connection) -> int:
        found = self._found_of_runs(on)
        for run, name in self.made.items():
            found += reads(partial(_name, on, run), name)
        for path, content in self.files.items():
            found += reads(partial(tracking.download, on, path), content)
        return found

    def _found_of_runs(self, on: Connection) -> int:
        """Metrics, tags and parameters, with a question or two for each run."""
        expected: dict[str, set[tuple[str, object, object]]] = defaultdict(set)
        for (run, step), value in self.metrics.items():
            expected[run].add(("metric", step, value))
        for (run, key), text in self.tags.items():
            expected[run].add(("tag", key, text))
        for (run, key), text in self.parameters.items():
            expected[run].add(("parameter", key, text))
        return sum(len(wanted & _content(on, run)) for run, wanted in expected.items())


def _name(on: Connection, run: str) -> str:
    return str(tracking.run_of(on, run)["name"])


def _content(on: Connection, run: str) -> set[tuple[str, object, object]]:
    """Metrics, tags and parameters of a run; empty when it is not there."""
    try:
        there = tracking.run_of(on, run)
        metrics = tracking.metrics_of(on, run, "progress")
    except WrongAnswer:
        return set()
    return {
        *(("metric", step, value) for step, value in metrics.items()),
        *(("tag", key, value) for key, value in there["tags"].items()),
        *(("parameter", key, value) for key, value in there["params"].items()),
    }
