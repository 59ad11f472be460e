"""The report as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import cast

from crossfade.report.data import ReportData, Requests, Sample

__all__ = ["as_json"]


def as_json(data: ReportData) -> str:
    """The data as indented JSON in ASCII, ended by a line feed; equal data gives equal text.

    Top-level keys stand in the order of ReportData, and each request has one line, so that a
    report of thousands of requests can still be read and compared.
    """
    whole = cast("Mapping[str, object]", data)
    members = {key: _plain(whole[key]) for key in ReportData.__annotations__}
    if data["requests"] is not None:
        members["requests"] = _requests(data["requests"])
    return _block("{", (f"{json.dumps(k)}: {v}" for k, v in members.items()), "}") + "\n"


def _requests(requests: Requests) -> str:
    """The counters as they are, the samples with one line each."""
    members = {key: _plain(value) for key, value in sorted(requests.items()) if key != "samples"}
    rows = [_row(row) for row in requests["samples"]]
    members["samples"] = _block("[", rows, "]") if rows else "[]"
    return _block("{", (f"{json.dumps(k)}: {v}" for k, v in members.items()), "}")


def _row(row: Sample) -> str:
    return json.dumps(row, allow_nan=False)


def _plain(value: object) -> str:
    return json.dumps(value, indent=2, allow_nan=False, sort_keys=True)


def _block(first: str, items: Iterable[str], last: str) -> str:
    # A line feed inside a JSON string is written as \n, so indenting lines never alters a value.
    inside = ",\n".join(items).replace("\n", "\n  ")
    return f"{first}\n  {inside}\n{last}"
