"""Secrets by reference: ``env:NAME`` and ``file:path``.  What they hold is never shown."""

from __future__ import annotations

import os
import re
from pathlib import Path

from crossfade.errors import UsageError

__all__ = ["holds_userinfo", "is_reference", "resolve"]

_USERINFO = re.compile(r"://[^/\s@:]*:[^/\s@]+@")


def is_reference(text: str) -> bool:
    """Whether ``text`` says where a secret is, rather than being one."""
    return text.startswith(("env:", "file:"))


def holds_userinfo(text: str) -> bool:
    """Whether ``text`` has a password inside an address (scheme://user:password@host)."""
    return bool(_USERINFO.search(text))


def resolve(reference: str, base: Path) -> str:
    """What ``env:NAME`` or ``file:path`` (relative to ``base``) holds; other text as it is.

    A file's last line break is no part of the secret.  Raises UsageError ``secret-missing`` that
    names the reference, never the value.
    """
    kind, colon, name = reference.partition(":")
    if not colon or kind not in ("env", "file"):
        return reference
    if kind == "env":
        value = os.environ.get(name)
        if value is None:
            raise _missing(reference, "this environment variable is not set")
        return value
    try:
        text = (base / name).read_bytes().decode()
    except OSError as error:
        raise _missing(reference, error.strerror or "it cannot be read") from None
    except UnicodeDecodeError:
        raise _missing(reference, "the file is not UTF-8 text") from None
    return text.removesuffix("\n").removesuffix("\r")


def _missing(reference: str, reason: str) -> UsageError:
    return UsageError(
        "secret-missing",
        f"the secret {reference} cannot be read: {reason}",
        where=reference,
        next="crossfade plan",
    )
