"""What may be shown of a configuration file: secrets never, not even in part or in length.

Instead of a secret stands a keyed fingerprint.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection
from pathlib import Path

from crossfade.configuration._parsed import ParsedFile, Scalar
from crossfade.recipes import Fingerprints, looks_secret, may_name_secret

__all__ = ["difference", "holds_secret", "is_secret"]

_PLACEHOLDER = "# …"


def is_secret(scalar: Scalar) -> bool:
    """Whether this scalar may be a secret: by the names around it, or by its looks.  What an alias
    shows under other names as well may be one of theirs."""
    if looks_secret(scalar.value) or (scalar.shared and not scalar.is_key):
        return True
    return not scalar.is_key and any(may_name_secret(name) for name in scalar.names)


def holds_secret(file: ParsedFile) -> bool:
    """Whether a file holds anything that may be a secret, in its values."""
    return any(is_secret(scalar) and scalar.value for scalar in file.scalars())


def difference(
    old: ParsedFile, new: ParsedFile, shown: Collection[str], fingerprints: Fingerprints
) -> str:
    """A unified diff of what may be shown.  ``shown`` are the keys that the rewriting changed by
    rule, so that their values are known to be paths and addresses."""
    before = _masked(old, shown, fingerprints).splitlines(keepends=True)
    after = _masked(new, shown, fingerprints).splitlines(keepends=True)
    lines = difflib.unified_diff(before, after, str(old.path), str(new.path))
    return "".join(line if line.endswith("\n") else line + "\n" for line in lines)


def opaque_difference(old: Path, new: Path, data: bytes, fingerprints: Fingerprints) -> str:
    """What is said of a file that is copied as it is."""
    return f"--- {old}\n+++ {new}\n same (fingerprint {fingerprints.of(data)})\n"


def _masked(file: ParsedFile, shown: Collection[str], fingerprints: Fingerprints) -> str:
    """The text without its secrets, and without its comments: they may hold anything."""
    pieces = []
    position = 0
    for scalar in file.scalars():
        pieces.append(_veiled(file, position, scalar.start, fingerprints))
        text = file.text[scalar.start : scalar.end]
        if is_secret(scalar) and (scalar.is_key or scalar.key not in shown):
            text = f"(secret, fingerprint {fingerprints.of(scalar.value)})" + _ending(text)
        pieces.append(text)
        position = scalar.end
    pieces.append(_veiled(file, position, len(file.text), fingerprints))
    return "".join(pieces)


def _veiled(file: ParsedFile, start: int, end: int, fingerprints: Fingerprints) -> str:
    """What stands between scalars, without comments, and without names that look like secrets."""
    pieces = []
    position = start
    for remark in [*file.remark.finditer(file.text, start, end), None]:
        stop = remark.start() if remark else end
        for line in file.text[position:stop].splitlines(keepends=True):
            if looks_secret(line):
                line = f"(secret, fingerprint {fingerprints.of(line)})" + _ending(line)
            pieces.append(line)
        if remark:
            pieces.append(_PLACEHOLDER)
            position = remark.end()
    return "".join(pieces)


def _ending(text: str) -> str:
    """The line break at the end of block text, which belongs to its span."""
    return text[len(text.rstrip("\r\n")) :]
