"""What the demo needs of an application that it upgrades."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from crossfade.demo.connection import Connection
from crossfade.drivers.hosts.local import LocalHost
from crossfade.model import Address, Endpoint
from crossfade.ports import Host, Teller

__all__ = ["Act", "Client", "Ground", "Subject"]

Act = Callable[[Connection, str], None]
"""One request on a connection; the text is a number that no other act gets.  What it finds wrong
it raises as WrongAnswer."""


class Client(Protocol):
    """Who writes and reads while the upgrade goes on, and knows every acknowledged write."""

    acts: Sequence[Act]

    @property
    def acknowledged(self) -> int:
        """Writes that were acknowledged."""

    def found(self, on: Connection) -> int:
        """How many of them the server has, each read back."""


@dataclass(frozen=True, slots=True)
class Ground:
    """Where the old side stands, on the machine ``host``.  database is None where it is a file
    below data; the password is the application's at its database."""

    root: Path
    data: Path
    address: Address
    database: Endpoint | None = None
    password: str = ""
    host: Host = field(default_factory=LocalHost)


class Subject(Protocol):
    """An application at its old version.

    packages are those of the old version, resolved as of the day ``exclude_newer``; rate is how
    many requests a second the demo sends; max_pause is the limit that its manifest names, in
    seconds.
    """

    application: str
    title: str
    old_version: str
    new_version: str
    packages: tuple[str, ...]
    exclude_newer: str
    rate: int
    max_pause: int
    locale: str

    def configure(self, ground: Ground) -> None:
        """Make the old side's data directory and configuration.  Its database is empty."""

    def fill(self, ground: Ground, teller: Teller) -> None:
        """Write data into the old side, which runs; remember what ``checks`` will ask for."""

    def checks(self, directory: Path) -> list[Mapping[str, object]]:
        """The manifest's own checks: the data is there.  Secrets go to files in ``directory``."""

    def client(self) -> Client:
        """A client of the filled old side."""
