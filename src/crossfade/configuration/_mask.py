"""What may be shown of a configuration file: secrets never, not even in part or in length.

Instead of a secret stands a keyed fingerprint.  The key is random and is kept by nobody, so that a
fingerprint tells "the same as there" and nothing else, also about a short password.
"""

from __future__ import annotations

import difflib
import hmac
import json
import math
import re
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

from crossfade.configuration._document import Scalar, YamlFile
from crossfade.recipes import is_secret_name

__all__ = ["Fingerprints", "difference", "holds_secret", "is_secret"]

_MORE_NAMES = re.compile(r"pw|auth|pepper|cookie|session|signature|cert", re.IGNORECASE)
_USERINFO = re.compile(r"://[^/\s@]+@")
_DOTTED_NAME = re.compile(r"[A-Za-z_]+(\.[A-Za-z_]+)+\Z")
_COMMENT = re.compile(r"#[^\r\n]*")
_PLACEHOLDER = "# …"


class Fingerprints:
    """Keyed fingerprints of one rendering."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def of(self, value: object) -> str:
        """16 hex digits; equal for equal values only, and different with every key."""
        data = value if isinstance(value, bytes) else json.dumps(value, default=repr).encode()
        return hmac.new(self._key, data, "sha256").hexdigest()[:16]


def is_secret(scalar: Scalar) -> bool:
    """Whether this scalar may be a secret: by the names around it, or by its looks.  What an alias
    shows under other names as well may be one of theirs."""
    if _looks_secret(scalar.value) or (scalar.shared and not scalar.is_key):
        return True
    return not scalar.is_key and any(
        is_secret_name(name) or _MORE_NAMES.search(name) for name in scalar.names
    )


def holds_secret(file: YamlFile) -> bool:
    """Whether a file holds anything that may be a secret, in its values."""
    return any(is_secret(scalar) and scalar.value for scalar in file.scalars())


def difference(
    old: YamlFile, new: YamlFile, shown: Collection[str], fingerprints: Fingerprints
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


def _masked(file: YamlFile, shown: Collection[str], fingerprints: Fingerprints) -> str:
    """The text without its secrets, and without its comments: they may hold anything."""
    pieces = []
    position = 0
    for scalar in file.scalars():
        pieces.append(_COMMENT.sub(_PLACEHOLDER, file.text[position : scalar.start]))
        text = file.text[scalar.start : scalar.end]
        if is_secret(scalar) and (scalar.is_key or scalar.key not in shown):
            text = f"(secret, fingerprint {fingerprints.of(scalar.value)})" + _ending(text)
        pieces.append(text)
        position = scalar.end
    pieces.append(_COMMENT.sub(_PLACEHOLDER, file.text[position:]))
    return "".join(pieces)


def _ending(text: str) -> str:
    """The line break at the end of block text, which belongs to its span."""
    return text[len(text.rstrip("\r\n")) :]


def _looks_secret(value: str) -> bool:
    if "-----BEGIN" in value or _USERINFO.search(value):
        return True
    return any(_random(word) for word in _words(value))


def _words(value: str) -> Iterator[str]:
    for word in value.split():
        if not word.startswith(("/", "./")) and "://" not in word:
            yield word


def _random(word: str) -> bool:
    """Long, of several kinds of characters, hardly repeating itself: likely made by a machine."""
    if len(word) < 16 or _DOTTED_NAME.match(word):
        return False
    kinds = sum(bool(re.search(kind, word)) for kind in ("[a-z]", "[A-Z]", "[0-9]"))
    counts = Counter(word).values()
    entropy = -sum(count / len(word) * math.log2(count / len(word)) for count in counts)
    return kinds >= 2 and entropy > 3.2
