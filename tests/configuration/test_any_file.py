"""Any file of any format, any change of one value: it is proven, or it is refused."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from crossfade.configuration._mask import difference, holds_secret
from crossfade.configuration._parse import parse
from crossfade.configuration._parsed import apply
from crossfade.configuration._prove import prove_file
from crossfade.configuration._residue import texts
from crossfade.errors import Failed
from crossfade.recipes import Fingerprints

CONTRACTS = (
    *("test_ini.TestContract", "test_json.TestContract", "test_toml.TestContract"),
    *("test_xml.TestContract", "test_python.TestContract", "test_properties.TestContract"),
    *("test_env.TestDotenvContract", "test_env.TestShellContract", "test_mycnf.TestContract"),
    *("test_directive.TestPostgresContract", "test_directive.TestRedisContract"),
    "test_unit.TestContract",
)
"""What the merge's tests know of each format: texts of it, and examples."""
KNOWN: dict[str, Any] = {
    contract: getattr(
        import_module(f"tests.merge.{contract.partition('.')[0]}"), contract.partition(".")[2]
    )
    for contract in CONTRACTS
}

PATHS = st.text("ab/._-é @+", min_size=1, max_size=10).map(lambda text: f"/x{text}y")
URLS = st.text("ab:/@?&=%.9", min_size=1, max_size=20).map(lambda text: f"postgres://{text}z")
PORTS = st.integers(1, 65535)


@pytest.mark.parametrize("contract", CONTRACTS)
@settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
)
@given(st.data())
def test_one_change(contract: str, data: st.DataObject) -> None:
    """The new text is the old one but for the span, and reads as it should."""
    known = KNOWN[contract]
    text = data.draw(st.one_of(known.texts, st.sampled_from(known.examples)))
    try:
        file = parse(known.format.name, Path("/old/x"), text.encode())
    except Failed:
        event("refused")
        assume(False)
        return
    keys = sorted({scalar.key for scalar in file.scalars() if scalar.names})
    found = [value for key in keys for value in file.find(key)]
    assume(found)
    value = data.draw(st.sampled_from(found))
    given_: Any = data.draw(st.one_of(PATHS, URLS, PORTS.map(str)) if value.is_text else PORTS)
    try:
        change = file.change(value, given_)
    except Failed:
        event("cannot be written")
        return
    after = apply(file.text, [change])
    assert after.startswith(file.text[: change.start])
    assert after.endswith(file.text[change.end :])
    new = parse(known.format.name, Path("/new/x"), file.encoded(after))
    findings = prove_file(file, new, [change])
    holds = [finding.holds for finding in findings]
    if contract.startswith("test_env") and not holds[1]:
        return  # a text that only a shell could read has become one for all: it is not written
    assert holds == [True, True], (text, change)
    assert str(given_) in [piece.text for piece in texts(new)] or not value.is_text
    assert holds_secret(new) in (True, False)
    difference(file, new, {value.key}, Fingerprints(b"key"))
