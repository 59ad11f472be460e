"""Values of the environment and of arguments: shown only where they can be no secret."""

from __future__ import annotations

import re

from crossfade.recipes import Fingerprints, looks_secret, may_name_secret

__all__ = ["Masks"]

_PLAIN = re.compile(
    r"true|false|yes|no|on|off|production|development|staging|test|debug|info|warn(ing)?|error"
    r"|[0-9]{1,5}[kmgt]?|[0-9]{1,3}(\.[0-9]{1,3}){3}(:[0-9]{1,5})?|localhost(:[0-9]{1,5})?"
    r"|[a-z]{2}_[A-Z]{2}(\.UTF-?8)?|C(\.UTF-?8)?|UTF-?8",
    re.IGNORECASE,
)
_PATH = re.compile(r"/[\w./@+-]*(:/[\w./@+-]*)*")
_NAME = re.compile(
    r"--[A-Za-z][\w.-]{0,60}|-[A-Za-z]|-D[\w.-]{1,100}|-X[\w:+.-]{1,60}|-javaagent:/[\w./-]+"
    r"|-(cp|classpath|server|jar|module-path)|argument [0-9]+"
)


class Masks:
    """Fingerprints with one key.  When in doubt it is a secret."""

    def __init__(self, key: bytes) -> None:
        self._fingerprints = Fingerprints(key)

    def of(self, name: str, value: str) -> tuple[str | None, str | None]:
        """The value where it may be shown, else None; and its fingerprint."""
        fingerprint = self._fingerprints.of(value.encode("utf-8", "surrogateescape"))
        plain = not value or _PLAIN.fullmatch(value) or _PATH.fullmatch(value)
        if may_name_secret(name) and value:
            return None, fingerprint
        if not plain or any(looks_secret(part) for part in re.split(r"[/:]", value)):
            return None, fingerprint
        return value, fingerprint

    def name(self, name: str) -> str:
        """The name of an argument; one that may hold a value itself is told by its fingerprint."""
        if _NAME.fullmatch(name) and not looks_secret(name):
            return name
        return f"argument ({self._fingerprints.of(name.encode('utf-8', 'surrogateescape'))})"
