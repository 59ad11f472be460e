"""What a provisioner says of a machine: the JSON object at the end of its output."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from crossfade.errors import Failed
from crossfade.ports import MadeMachine

__all__ = ["machine_of"]

_ADDRESS: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:_-]*")
_HOST_KEY: Final = re.compile(r"((?:ssh-|ecdsa-|sk-)[A-Za-z0-9@.-]+) ([A-Za-z0-9+/=]+)(?: .*)?")


def machine_of(output: bytes, name: str, upgrade: str, where: str) -> MadeMachine:
    """The machine that the output tells of.  Nothing else of the output is kept or shown: it may
    hold secrets.

    Raises Failed: provision-output-invalid, provision-not-ours."""
    said = _object(output.decode(errors="replace"))
    if said is None:
        raise _invalid("it does not end with a JSON object", where)
    bears = _text(said, "upgrade")
    if bears != upgrade:
        seen = f"says upgrade {bears!r}" if bears else "does not say of which upgrade it is"
        what = f"The machine is not ours: its provisioner {seen}, not {upgrade!r}."
        raise Failed("provision-not-ours", what, where=where)
    address = _text(said, "address")
    if not _ADDRESS.fullmatch(address):
        problem = "its address is no host name or IP address" if address else "it has no address"
        raise _invalid(problem, where)
    return MadeMachine(name, upgrade, address, _host_keys(said, where), _text(said, "id"))


def _object(text: str) -> dict[str, Any] | None:
    """The object that the output ends with; other lines may stand before it."""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if line.lstrip().startswith("{"):
            try:
                found = json.loads("\n".join(lines[number:]))
            except ValueError:
                continue
            return found if isinstance(found, dict) else None
    return None


def _value(said: Mapping[str, Any], key: str) -> object:
    """A value, also in the form of ``terraform output -json``."""
    value = said.get(key)
    return value.get("value") if isinstance(value, dict) else value


def _text(said: Mapping[str, Any], key: str) -> str:
    value = _value(said, key)
    return str(value) if isinstance(value, str | int) else ""


def _host_keys(said: Mapping[str, Any], where: str) -> tuple[str, ...]:
    """The machine's public keys, each as kind and key."""
    value = _value(said, "host_key") or []
    lines = value.splitlines() if isinstance(value, str) else value
    if not isinstance(lines, list):
        raise _invalid("its host_key is neither text nor a list", where)
    found = [_HOST_KEY.fullmatch(str(line).strip()) for line in lines if str(line).strip()]
    if not all(found):
        raise _invalid("its host_key is no public key of ssh", where)
    return tuple(f"{key[1]} {key[2]}" for key in found if key)


def _invalid(problem: str, where: str) -> Failed:
    what = f"The provisioner's output does not hold: {problem}."
    return Failed("provision-output-invalid", what, where=where)
