"""Just enough of MLflow's REST API to fill a tracking server, load it and read it back.

Endpoints as documented in MLflow's REST API (version 2.0), and for files those of its artifact
proxy, through which a server keeps them without the clients knowing where.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from crossfade.demo.connection import Connection

__all__ = [
    "create_experiment",
    "create_run",
    "download",
    "log_batch",
    "log_metric",
    "log_parameter",
    "metrics_of",
    "run_of",
    "set_tag",
    "upload",
]

_API = "/api/2.0/mlflow"
_FILES = "/api/2.0/mlflow-artifacts/artifacts"


def create_experiment(on: Connection, name: str) -> str:
    """Make an experiment; its id."""
    return str(on.json("POST", f"{_API}/experiments/create", {"name": name})["experiment_id"])


def create_run(on: Connection, experiment: str, name: str) -> str:
    """Begin a run; its id."""
    body = {"experiment_id": experiment, "run_name": name, "start_time": _now()}
    return str(on.json("POST", f"{_API}/runs/create", body)["run"]["info"]["run_id"])


def log_metric(on: Connection, run: str, key: str, step: int, value: float) -> None:
    """One value of a metric."""
    body = {"run_id": run, "key": key, "step": step, "value": value, "timestamp": _now()}
    on.json("POST", f"{_API}/runs/log-metric", body)


def log_parameter(on: Connection, run: str, key: str, value: str) -> None:
    """One parameter; it cannot be changed later."""
    body = {"run_id": run, "key": key, "value": value}
    on.json("POST", f"{_API}/runs/log-parameter", body)


def set_tag(on: Connection, run: str, key: str, value: str) -> None:
    """One tag."""
    on.json("POST", f"{_API}/runs/set-tag", {"run_id": run, "key": key, "value": value})


def log_batch(
    on: Connection, run: str, metrics: Mapping[int, float], parameters: Mapping[str, str]
) -> None:
    """Values of the metric ``loss`` by step, and parameters, in one request."""
    now = _now()
    body = {
        "run_id": run,
        "metrics": [
            {"key": "loss", "value": value, "step": step, "timestamp": now}
            for step, value in metrics.items()
        ],
        "params": [{"key": key, "value": value} for key, value in parameters.items()],
    }
    on.json("POST", f"{_API}/runs/log-batch", body)


def run_of(on: Connection, run: str) -> dict[str, Any]:
    """A run: name, params and tags by key."""
    found = on.json("GET", f"{_API}/runs/get?run_id={run}")["run"]
    return {
        "name": found["info"]["run_name"],
        "params": {item["key"]: item["value"] for item in found["data"].get("params", [])},
        "tags": {item["key"]: item["value"] for item in found["data"].get("tags", [])},
    }


def metrics_of(on: Connection, run: str, key: str) -> dict[int, float]:
    """Every value of a metric by step."""
    found = on.json("GET", f"{_API}/metrics/get-history?run_id={run}&metric_key={key}")
    return {int(item["step"]): float(item["value"]) for item in found.get("metrics", [])}


def upload(on: Connection, path: str, content: bytes) -> None:
    """Keep a file with the server."""
    on.call("PUT", f"{_FILES}/{quote(path)}", raw=content)


def download(on: Connection, path: str) -> bytes:
    """Read it."""
    return on.call("GET", f"{_FILES}/{quote(path)}")


def _now() -> int:
    return int(time.time() * 1000)
