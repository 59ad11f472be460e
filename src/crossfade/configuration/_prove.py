"""The proof for each rendered file: only what was decided has changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from crossfade.configuration._parsed import Change, ParsedFile, same
from crossfade.model import Finding
from crossfade.ports import Judgement
from crossfade.recipes import Fingerprints

__all__ = ["identity", "kept_keys", "prove_file", "same"]


def prove_file(old: ParsedFile, new: ParsedFile, changes: Sequence[Change]) -> tuple[Finding, ...]:
    """Two findings: the spans are where we think, and the result is the old model as decided."""
    name = new.path.name
    holds = old.becomes(new, changes)
    return (
        Finding.equal(
            f"{name}: writing every value over itself gives the same bytes",
            "the same",
            "the same" if old.spans_hold(changes) else "other bytes",
            str(old.path),
        ),
        Finding(
            f"{name}: another parser reads the old file with exactly the decided changes",
            f"{len(changes)} changes: {', '.join(_sorted_keys(changes)) or 'none'}",
            "exactly these" if holds else "something else",
            str(new.path),
            holds,
        ),
    )


def identity(
    old: ParsedFile, new: ParsedFile, keys: Iterable[str], fingerprints: Fingerprints
) -> tuple[Finding, ...]:
    """A finding for each key that must come over unchanged; values only as fingerprints."""
    return tuple(
        Finding.equal(
            f"{new.path.name}: {key} came over unchanged",
            _fingerprint(old, key, fingerprints),
            _fingerprint(new, key, fingerprints),
            str(new.path),
        )
        for key in keys
    )


def kept_keys(
    keys: Iterable[str], yours: ParsedFile, settings: Iterable[Judgement]
) -> tuple[str, ...]:
    """Those of the identity keys that must come over; not those that the old side never had, and
    about which somebody decided."""
    decided = [".".join(one.setting) + "." for one in settings if one.decided and not one.yours]
    return tuple(
        key
        for key in keys
        if yours.find(key) or not any(name.startswith(f"{key}.") for name in decided)
    )


def _fingerprint(file: ParsedFile, key: str, fingerprints: Fingerprints) -> str:
    values = file.values(key)
    return fingerprints.of(values) if values else "not set"


def _sorted_keys(changes: Iterable[Change]) -> list[str]:
    return [change.found.key for change in sorted(changes, key=lambda change: change.start)]
