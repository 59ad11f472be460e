"""A small installation of nobody's: a directory with a program, and no process."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from crossfade.drivers.hosts.local import LocalHost
from crossfade.finding import Evidence, Found, Inventory
from crossfade.model import Address, Installation, Side
from crossfade.ports import Completed

__all__ = ["Hooked", "evidence", "installed", "kinds", "one"]

UNUSED = Address("127.0.0.1", 1)
"""Where nothing listens."""


def installed(
    root: str | Path, config: str | Path = "", data: str | Path = "", address: Address = UNUSED
) -> Installation:
    """An installation at these places."""
    return Installation(
        application="app",
        version="1",
        side=Side.OLD,
        host="local",
        root=Path(root),
        config=Path(config or root),
        data=Path(data or root),
        address=address,
    )


def kinds(inventory: Inventory, below: str = "/") -> dict[str, str]:
    """What was found below a place, each with its kind."""
    return {
        found.name: found.kind.value for found in inventory.found if found.name.startswith(below)
    }


def one(inventory: Inventory, name: str) -> Found:
    """The only finding of this name."""
    (found,) = [found for found in inventory.found if found.name == name]
    return found


def evidence(inventory: Inventory, name: str) -> list[Evidence]:
    """What is known of it, and from where."""
    return list(one(inventory, name).evidence)


class Hooked(LocalHost):
    """This machine, with something done to each script before it runs."""

    def __init__(self, hook: Callable[[str], str]) -> None:
        super().__init__()
        self._hook = hook

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        timeout: float = 60.0,
        ok: tuple[int, ...] = (0,),
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Completed:
        words = [self._hook(word) if "\n" in word else word for word in argv]
        return super().run(words, stdin=stdin, timeout=timeout, ok=ok, env=env, cwd=cwd)

    @contextlib.contextmanager
    def reading(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Iterator[BinaryIO]:
        words = [self._hook(word) if "\n" in word else word for word in argv]
        with super().reading(words, env=env, cwd=cwd) as stream:
            yield stream
