"""What the manifest says of TLS at the gate."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from crossfade.manifest._spec import TlsSpec
from crossfade.model import Side
from crossfade.recipes._yaml import Keys

__all__ = ["tls_complaints", "tls_spec"]


def tls_spec(data: Mapping[str, Any], base: Path) -> TlsSpec:
    """The values, their paths absolute."""

    def path(key: str) -> Path:
        return Path(os.path.normpath(base / data[key]))

    sides = tuple(side for side in Side if data.get(side.value, "tls") == "tls")
    trust = path("trust") if "trust" in data else None
    return TlsSpec(path("certificate"), path("key"), sides, trust, data.get("name", ""))


def tls_complaints(data: Mapping[str, Any], kind: str) -> Iterator[tuple[Keys, str]]:
    """What does not hold in ``traffic``, whose gate is of this kind."""
    place: Keys = ("traffic", "tls")
    if kind != "gateway":
        yield place, "is for the built-in gate (traffic.driver: gateway)"
    if "front" in data and "redirect" not in data["front"]:
        yield place, "is for a gate that no web server stands before: that keeps TLS itself"
    if "trust" in data["tls"] and "name" not in data["tls"]:
        yield (*place, "trust"), "needs name as well: the name that those certificates are for"
