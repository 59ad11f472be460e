"""What was found: frozen values, as they are shown and written down.  No secret is in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum

__all__ = ["DETECTORS", "Base", "Coverage", "Evidence", "Found", "Inventory", "Kind"]

DETECTORS = {
    "stock-diff": "the tree against its pristine files",
    "package-db": "what packages say that they shipped",
    "runtime": "the running program and its unit",
    "references": "files that found files name",
    "mentions": "files of the system that name the installation",
    "unowned": "files that nothing has shipped",
    "periphery": "what surrounds the program on its machine",
    "hints": "backups and late changes",
}
"""The detectors, and what each looks at."""


class Kind(StrEnum):
    """What a finding is."""

    MODIFIED = "modified"
    """Shipped, and different now."""
    ADDED = "added"
    """Not shipped by anything, in a place of the program's, its unit's or its servers'."""
    DELETED = "deleted"
    """Shipped, and not there."""
    OVERLAY = "overlay"
    """A file of the operator's only, over defaults that are inside the program."""
    ENVIRONMENT = "environment"
    """A variable of the running program."""
    ARGUMENT = "argument"
    """An argument of the running program."""
    ASSET = "asset"
    """A file or directory that configuration names: a certificate, a script, uploads."""
    PERIPHERY = "periphery"
    """Around the program: listed, never carried unasked."""
    HINT = "hint"
    """Nothing by itself: a backup, a file that was changed late."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Where a finding is known from: the detector, and what it saw, in words without values."""

    detector: str
    detail: str


@dataclass(frozen=True, slots=True)
class Base:
    """What a file was before it was customised.

    how is archive, directory, image, package, pip, ucf or inferred; sha256 is that of the pristine
    file, None where only another sum of it is known.  margin is, for an inferred one, how many
    lines further away the next best text is.
    """

    how: str
    version: str | None = None
    sha256: str | None = None
    margin: int | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """Something that was customised.

    name is a path, or the name of a variable or argument.  mode are the permission bits.  shown is
    the value of a variable or an argument where it can be no secret; fingerprint a keyed one of it.
    A directory's name ends with a slash, and nothing else of it is told.  Names are as the system
    has them, with surrogates for bytes that are no UTF-8.
    """

    name: str
    kind: Kind
    component: str
    evidence: tuple[Evidence, ...]
    sha256: str | None = None
    mode: int | None = None
    owner: str | None = None
    group: str | None = None
    size: int | None = None
    base: Base | None = None
    link: str | None = None
    shown: str | None = None
    fingerprint: str | None = None


@dataclass(frozen=True, slots=True)
class Coverage:
    """What was looked at, and what was not.

    roots are the trees and directories, files how many files were looked at in them.  unreadable
    are paths that the account may not read; without_base those of which nobody knows what they were
    (that is not to say that they were changed); left_out how many files each rule left out;
    unparsed files that were not looked into, each with why.  detectors says of each that it "ran",
    or why it could not, or not wholly.
    """

    account: str
    roots: tuple[str, ...]
    files: int
    processes: int
    unreadable: tuple[str, ...] = ()
    without_base: tuple[str, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)
    unparsed: Mapping[str, str] = field(default_factory=dict)
    detectors: Mapping[str, str] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        """Whether every detector ran and everything could be read."""
        return not self.unreadable and all(word == "ran" for word in self.detectors.values())


@dataclass(frozen=True, slots=True)
class Inventory:
    """Everything that was found in an installation, in the order of its names."""

    host: str
    root: str
    found: tuple[Found, ...]
    coverage: Coverage

    def of(self, *kinds: Kind) -> tuple[Found, ...]:
        """The findings of these kinds."""
        return tuple(one for one in self.found if one.kind in kinds)

    def as_json(self) -> dict[str, object]:
        """For ``json.dumps``; what is not known is left out."""
        return {
            "schema": 1,
            "host": self.host,
            "root": self.root,
            "found": [
                {key: value for key, value in asdict(one).items() if value is not None}
                for one in self.found
            ],
            "coverage": asdict(self.coverage) | {"whole": self.coverage.whole},
        }
