"""The JSON report and its schema."""

from __future__ import annotations

import copy
import json
from importlib.resources import files
from typing import Any

import jsonschema
import pytest
from tests.report.sample import broken, report

from crossfade.report import ReportData, as_json


def schema() -> dict[str, Any]:
    """The published schema."""
    text = files("crossfade.report").joinpath("report.schema.json").read_text("utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


@pytest.mark.parametrize("make", [report, broken])
def test_json_is_the_data_and_follows_the_schema(make: Any) -> None:
    """What is written reads back as the very data, and holds against the schema."""
    data = make()
    read = json.loads(as_json(data))
    assert read == json.loads(json.dumps(data))
    # Thousands of alike samples prove no more than some, and take the validator seconds.
    read["requests"]["samples"] = read["requests"]["samples"][::40]
    jsonschema.Draft202012Validator.check_schema(schema())
    jsonschema.validate(read, schema())


def test_report_without_a_cutover_follows_the_schema() -> None:
    """Null stands where there was no pause, no record and no configuration."""
    data = report(around=0.1)
    data |= {"pause": None, "requests": None, "configuration": None, "runs": []}
    jsonschema.validate(json.loads(as_json(data)), schema())


def test_schema_names_every_key_of_the_data() -> None:
    """The schema and the typed structure have the same top-level keys, none optional."""
    assert set(schema()["properties"]) == set(ReportData.__annotations__)
    assert set(schema()["required"]) == set(ReportData.__annotations__)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("outcome",), "fine"),
        (("live",), "both"),
        (("more",), 1),
        (("pause", "seconds"), "1.2"),
        (("runs", 0, "steps", 0, "findings", 0, "holds"), "yes"),
        (("requests", "samples", 0), [1.0, 2.0, 0.0, 200, "blue", "GET"]),
    ],
)
def test_schema_refuses_what_does_not_hold(path: tuple[Any, ...], value: object) -> None:
    """Unknown words, unknown keys and wrong types are complained about."""
    read = json.loads(as_json(report(around=0.1)))
    inside = read
    for key in path[:-1]:
        inside = inside[key]
    inside[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(read, schema())


def test_equal_data_gives_equal_text() -> None:
    """The order in which the data was put together does not show."""
    data = report()
    turned: Any = dict(reversed(list(copy.deepcopy(data).items())))
    turned["requests"] = dict(reversed(list(turned["requests"].items())))
    turned["plan"] = dict(reversed(list(turned["plan"].items())))
    assert as_json(turned) == as_json(data)


def test_one_line_for_each_request() -> None:
    """Samples have a line each, so that thousands of them can still be read."""
    data = report()
    lines = as_json(data).splitlines()
    assert data["requests"] is not None
    first = data["requests"]["samples"][0]
    assert f"      {json.dumps(first)}," in lines
    assert len(lines) < len(data["requests"]["samples"]) + 1500


def test_undecodable_names_survive() -> None:
    """A file name that is no UTF-8 is written so that the file still can be."""
    data = report()
    data["files"] = {"backup": "/srv/b\udce4ckup"}
    text = as_json(data)
    text.encode("ascii")
    assert json.loads(text)["files"] == data["files"]
