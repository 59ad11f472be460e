"""Verdicts say what the new side gets in the end, after merging and rewriting."""

from __future__ import annotations

from pathlib import Path

from crossfade.configuration._told import in_the_end
from crossfade.ports import Judgement

SOURCE = Path("/old/app.yaml")
BEFORE = b"listeners:\n  - port: 9001\n    tls: false\nstore: /old/store\nname: ours\n"
AFTER = b"listeners:\n  - port: 9002\n    tls: false\nstore: /new/store\nname: ours\n"


def shown(names: tuple[str, ...], raw: str) -> str:
    """Values, but for those of names that are secret."""
    return "hidden" if "name" in names else raw


def told(*judged: Judgement, after: bytes = AFTER, format: str = "yaml") -> dict[str, Judgement]:
    """What is said, by the last of the names."""
    found = in_the_end(judged, SOURCE, format, BEFORE, after, shown)
    return {one.setting[-1] if one.setting else "": one for one in found}


def test_a_file_that_is_taken_whole() -> None:
    """Every setting of it is carried, or is the new side's, and a secret is not shown."""
    found = told()
    assert {name: one.verdict for name, one in found.items()} == {
        "port": "rewritten",
        "tls": "carried",
        "store": "rewritten",
        "name": "carried",
    }
    assert (found["store"].yours, found["store"].new_default) == ("/old/store", "/new/store")
    assert (found["name"].yours, found["store"].line) == ("hidden", 4)


def test_what_was_merged_and_then_rewritten() -> None:
    """The merge has the old version's names for entries of a list; questions stay as they are."""
    port = Judgement(str(SOURCE), ("listeners", "[port=8008]", "port"), "carried", "", line=2)
    store = Judgement(str(SOURCE), ("store",), "conflict", "", line=4, choices=("yours", "new"))
    found = told(port, store)
    assert (found["port"].verdict, found["port"].new_default) == ("rewritten", "9002")
    assert found["store"] == store


def test_what_nobody_can_read() -> None:
    """One verdict on the file: it is not looked into, or no format knows it."""
    assert told(format="opaque").keys() == {""}
    assert told(after=b"\xff").keys() == {""}
    assert told(format="opaque")[""].verdict == "carried"
