"""What a recipe says, as frozen values.

Texts may hold the placeholders of ``PLACEHOLDERS`` in braces; ``fill`` replaces them with what they
stand for on one installation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

__all__ = [
    "DATABASE_PLACEHOLDERS",
    "INSTALL_OPTIONS",
    "PLACEHOLDERS",
    "SERVER_DRIVERS",
    "CanarySpec",
    "CheckSpec",
    "Condition",
    "ConfigurationSpec",
    "EffectSpec",
    "InstallSpec",
    "KeyReference",
    "MuteSpec",
    "PartSpec",
    "Recipe",
    "RequirementSpec",
    "RewriteSpec",
    "ServiceSpec",
    "StockSpec",
    "fill",
    "is_secret_name",
]

PLACEHOLDERS = ("root", "config", "data", "host", "port", "address", "version")

DATABASE_PLACEHOLDERS = (
    "host",
    "port",
    "address",
    "database",
    "user",
    "url",
    "sqlalchemy",
    "passfile",
)
"""After the name of a database on a server and a dot: {main.url}."""
SERVER_DRIVERS = ("postgres", "mysql")
"""Kinds of database on a server; the manifest says where."""

INSTALL_OPTIONS = {"python": "python", "node": "npm", "strip": "tarball"}
"""Options of an install, each with the one of our drivers that knows it."""

_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_-]*(?:\.[a-z]+)?)\}")
_SECRET = re.compile(r"pass|secret|token|key|salt|credential|private|dsn", re.IGNORECASE)


def fill(text: str, variables: Mapping[str, str]) -> str:
    """``text`` with every ``{name}`` of ``variables`` replaced once; other braces stay."""
    return _PLACEHOLDER.sub(lambda match: variables.get(match[1], match[0]), text)


def is_secret_name(name: str) -> bool:
    """Whether a key of this name may hold a secret.  When unsure: yes."""
    return bool(_SECRET.search(name))


@dataclass(frozen=True, slots=True)
class KeyReference:
    """A key in one of the application's configuration files; ``file`` is relative to {config}, and
    of that format."""

    file: str
    key: str
    format: str = "yaml"


@dataclass(frozen=True, slots=True)
class Condition:
    """A question about a key: is it ``equals``, or (without ``compares``) is it set at all.

    Set means present and neither null nor empty.  format is the file's.  With ``variable`` it is
    about that variable of the service; file and key are empty then.
    """

    file: str
    key: str
    compares: bool = False
    equals: object = None
    format: str = "yaml"
    variable: str = ""


@dataclass(frozen=True, slots=True)
class MuteSpec:
    """A setting of the rehearsal alone: a key that gets ``value``, or is taken out (``drop``); or a
    variable of its service that gets a text.  file and key are empty then."""

    file: str
    key: str
    drop: bool = False
    value: object = None
    variable: str = ""

    @property
    def place(self) -> tuple[str, str]:
        """What it sets: a file and a key in it, or the environment and a variable."""
        return ("environment", self.variable) if self.variable else (self.file, self.key)


@dataclass(frozen=True, slots=True)
class EffectSpec:
    """Something that the application does to the outside world.

    Active when one condition of ``when`` holds (or there are none) and none of ``unless`` does.
    mute silences it in a rehearsal.
    """

    name: str
    what: str
    when: tuple[Condition, ...] = ()
    unless: tuple[Condition, ...] = ()
    mute: tuple[MuteSpec, ...] = ()


@dataclass(frozen=True, slots=True)
class CanarySpec:
    """A value that only who has a key of the site can read.

    make runs with the old version's program and the old side's configuration: it gets a word on
    its standard input and prints it sealed (signed, encrypted) with the key.  read runs with the
    new version's program and the new side's configuration: it gets what make printed, and prints
    the word.  Neither may write anything."""

    name: str
    what: str
    make: tuple[str, ...]
    read: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RequirementSpec:
    """Something that the recipe takes for granted; conditions are read as for an effect.

    database is a driver: then it counts only for a site whose first database is of that kind."""

    what: str
    when: tuple[Condition, ...] = ()
    unless: tuple[Condition, ...] = ()
    database: str = ""


@dataclass(frozen=True, slots=True)
class InstallSpec:
    """How a version gets onto a host: the kind of installer and the packages it is asked for.

    options go to the driver by name: those of ``INSTALL_OPTIONS`` that the recipe has."""

    driver: str
    packages: tuple[str, ...]
    options: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CheckSpec:
    """One question to a running application (``path``) or to a program (``command``).

    path: the answer to GET has this ``status``, its body contains ``contains``, and the value at
    ``json`` (dots and list indexes) exists and, when ``compares``, equals ``equals``.
    command: it exits with ``status``, its output contains ``contains`` and, when ``compares``,
    equals ``equals`` once white space around it is taken away.  ``timeout`` is in seconds.
    Values of ``headers`` may be secret references (env:, file:), relative to ``base``.
    """

    name: str
    path: str = ""
    command: tuple[str, ...] = ()
    status: int = 200
    contains: str = ""
    json: str = ""
    compares: bool = False
    equals: object = None
    timeout: float = 10.0
    headers: Mapping[str, str] = field(default_factory=dict)
    base: Path = Path()


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """How the application runs.  It runs in {data}, so its relative paths count from there.

    preload are modules whose import needs no data (held start); times are in seconds.  migrate is
    a command that must have ended well before the program starts.  held_start False says that the
    program must not be started before its databases answer.  defaults are variables like those of
    environment, but what the old program has itself goes before them.
    """

    driver: str
    command: tuple[str, ...]
    migrate: tuple[str, ...] = ()
    held_start: bool = True
    preload: tuple[str, ...] = ()
    start_timeout: float = 60.0
    stop_timeout: float = 30.0
    environment: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RewriteSpec:
    """A key whose value is translated from the old side to the new one.

    to        what kind of value it is: path, port, host, address or version; or database-host,
              -port, -address, -name, -user, -password of the database on a server that
              ``database`` names, or database-url: all of it in one text (also one in a file)
    required  the old side's value must be found at least once
    outside   for a path that is below neither directory of the old side: ``keep`` it, ``refuse``
              it, or take its file name ``into-data`` (for what the application writes)
    """

    key: str
    to: str
    required: bool = False
    outside: str = "keep"
    database: str = "main"


@dataclass(frozen=True, slots=True)
class ConfigurationSpec:
    """One configuration file, or (a path_from key with ``*``) several of one kind.

    path is relative to {config}.  Without ``path``, the files are those that path_from names, and
    there are none when its key is not set.  identity is the keys that must come over unchanged, or
    True for the whole file.  stock is where the file stands as a version comes with it: below
    {root}, or the name of a file that ``Recipe.stock`` makes; empty when there is none, and then
    the old side's file is taken whole.  checked_by is the version's own checker: a command that
    reads the file on its standard input, and ends with 0 when the program would start with it.
    """

    format: str
    path: str = ""
    path_from: tuple[KeyReference, ...] = ()
    rewrite: tuple[RewriteSpec, ...] = ()
    identity: tuple[str, ...] | bool = ()
    stock: str = ""
    checked_by: tuple[str, ...] = ()

    def with_rules(self, more: ConfigurationSpec) -> ConfigurationSpec:
        """This one with what another says of the same file; the other's rules come first."""
        keys: tuple[str, ...] | bool = True
        if self.identity is not True and more.identity is not True:
            keys = (*(more.identity or ()), *(self.identity or ()))
        return replace(self, rewrite=(*more.rewrite, *self.rewrite), identity=keys)


@dataclass(frozen=True, slots=True)
class StockSpec:
    """How a version of the application is had to make its configuration files, as for a new site.

    command runs on the machine of that version with {root} and {version} of it, all else as on the
    old side, and {stock}, an empty directory where the files are to be made.  ``values`` are more
    names for its braces, each with the key of the old side's configuration that it stands for.
    """

    command: tuple[str, ...]
    values: Mapping[str, KeyReference] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PartSpec:
    """A database or a tree of files.  path is relative to {data}; the first path_from key that is
    set wins over it.  A database on a server has no path: the manifest says where it is; several
    of one name are choices, of which the manifest takes one.  bookkeeping and host_lists: see
    model.Endpoint."""

    name: str
    driver: str
    path: str = ""
    path_from: tuple[KeyReference, ...] = ()
    bookkeeping: tuple[str, ...] = ()
    host_lists: bool = False


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is known of an application.  ``source`` is the file it was read from; writes_on_reads
    what it writes when it is only read from, empty when nothing."""

    application: str
    title: str
    source: Path
    install: InstallSpec
    service: ServiceSpec
    health: CheckSpec
    installed_version: CheckSpec | None = None
    version: CheckSpec | None = None
    checks: tuple[CheckSpec, ...] = ()
    effects: tuple[EffectSpec, ...] = ()
    requires: tuple[RequirementSpec, ...] = ()
    configuration: tuple[ConfigurationSpec, ...] = ()
    databases: tuple[PartSpec, ...] = ()
    files: tuple[PartSpec, ...] = ()
    writes_on_reads: str = ""
    stock: StockSpec | None = None
    canaries: tuple[CanarySpec, ...] = ()

    @property
    def muted_variables(self) -> dict[str, str]:
        """The variables that mutes set.  A service may have them from many places, so they are set
        for every effect, whether it is active or not."""
        mutes = (mute for effect in self.effects for mute in effect.mute)
        return {mute.variable: str(mute.value) for mute in mutes if mute.variable}
