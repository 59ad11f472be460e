"""What a text tells: whether it may be a secret, and whether it names a path.

Instead of a secret stands a keyed fingerprint.  The key is random and is kept by nobody, so that a
fingerprint tells "the same as there" and nothing else, also about a short password.
"""

from __future__ import annotations

import hmac
import json
import math
import re
from collections import Counter
from collections.abc import Iterator

from crossfade.recipes._spec import is_secret_name

__all__ = ["Fingerprints", "looks_secret", "may_name_secret", "mentions", "name_is_secret"]

_MORE_NAMES = re.compile(r"pw|auth|pepper|cookie|session|signature|cert", re.IGNORECASE)
_USERINFO = re.compile(r"://[^/\s@]+@|@(?:tcp|unix)\(")
_PASSWORD = re.compile(r"(?:password|passwd|pwd)\s*=\s*[^\s&;]", re.IGNORECASE)
_NAMED = re.compile(r"([\w.-]+)=[^\s&;,]|(?<!\S)--?([\w.-]+)\s+[^\s-]")
_PIECE = re.compile(r"[A-Za-z0-9_-]{16,}")
_HEX = re.compile(r"[0-9a-fA-F]+\Z")
_DOTTED_NAME = re.compile(r"[A-Za-z_]+(\.[A-Za-z_]+)+\Z")
_IN_LONGER_PATH = re.compile(r"/[\w.-]+\Z")
_IN_URL_PATH = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s/?#=]+(?:/[^\s?#=&,;]*)?\Z")


class Fingerprints:
    """Keyed fingerprints of one rendering."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def of(self, value: object) -> str:
        """16 hex digits; equal for equal values only, and different with every key."""
        data = value if isinstance(value, bytes) else json.dumps(value, default=repr).encode()
        return hmac.new(self._key, data, "sha256").hexdigest()[:16]


def may_name_secret(name: str) -> bool:
    """Whether what stands under this name may be a secret, asked more widely than of a recipe's
    keys."""
    return is_secret_name(name) or bool(_MORE_NAMES.search(name))


def looks_secret(value: str) -> bool:
    """Whether a value looks like a secret: a key, a password in an address or behind a name or an
    option, random letters."""
    if "-----BEGIN" in value or _USERINFO.search(value) or _PASSWORD.search(value):
        return True
    if any(may_name_secret(match[1] or match[2]) for match in _NAMED.finditer(value)):
        return True
    return any(_random(word) for word in _words(value))


def name_is_secret(name: str) -> bool:
    """Whether a name of a setting is a secret itself, such as a token to which a user is given.
    Asked more narrowly than of a value: people have to find their settings by these names."""
    if "-----BEGIN" in name or _USERINFO.search(name):
        return True
    return any(_drawn(piece) for piece in _PIECE.findall(name))


def _drawn(piece: str) -> bool:
    """Whether letters and digits were drawn, and not put together by a person."""
    if len(piece) >= 32 and _HEX.match(piece):
        return True
    cases = re.search("[a-z]", piece) and re.search("[A-Z]", piece)
    return bool(cases) and len(re.findall("[0-9]+", piece)) > 1 and _random(piece)


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


def mentions(text: str, path: str) -> bool:
    """Whether ``text`` names ``path`` or something below it.

    ``/var/lib/app`` is named by ``file:///var/lib/app/x`` but neither by ``/var/lib/app-new``, nor
    by ``/srv/var/lib/app``, nor by the path of a web address.
    """
    for match in re.finditer(re.escape(path) + r"(?![\w-]|\.\w)", text):
        before = text[: match.start()]
        if not _IN_LONGER_PATH.search(before) and not _IN_URL_PATH.search(before):
            return True
    return False
