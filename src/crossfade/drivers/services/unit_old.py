"""An old unit as it is: its files, the files of its variables, and what a package ships of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from crossfade.drivers.services.environment_text import Variable, in_directive, in_file
from crossfade.drivers.services.unit_text import Setting, environment_file, moved_in, placed
from crossfade.ports import Host

__all__ = ["OldUnit", "VariableFile", "read_old", "shipped"]

_SHOWN: Final = re.compile(r"EnvironmentFiles=(.*) \(ignore_errors=(?:yes|no)\)")
_FOUND: Final = """
IFS=
for f in $1; do [ ! -f "$f" ] || printf '%s\\0' "$f"; done
"""
_SHIPPED: Final = r"""
LC_ALL=C; export LC_ALL
for p; do
    [ -f "$p" ] && sum=$(md5sum <"$p" | cut -c1-32) || continue
    for n in "$p" "/usr$p" "${p#/usr}"; do
        grep -qsxF -e "$sum  ${n#/}" -- /var/lib/dpkg/info/*.md5sums || continue
        printf '%s\0' "$p"
        break
    done
done
"""
_VENDORS: Final = (Path("/usr/lib/systemd/system"), Path("/lib/systemd/system"))


@dataclass(frozen=True, slots=True)
class VariableFile:
    """An ``EnvironmentFile=``: its value as the unit says it, and the files that it means, each
    with its path and text."""

    said: str
    files: tuple[tuple[str, str], ...]

    def variables(self) -> list[tuple[str, Variable]]:
        """What they set, in order, each with its file."""
        return [(path, one) for path, text in self.files for one in in_file(text)]


@dataclass(frozen=True, slots=True)
class OldUnit:
    """A unit's files in the order in which systemd reads them, each with its path and text; and the
    files of its variables."""

    files: tuple[tuple[str, str], ...]
    variables: tuple[VariableFile, ...]

    def settings(self) -> list[Setting]:
        """What holds."""
        return placed(self.files)

    def names(self) -> set[str]:
        """The variables that it sets."""
        said = [s.value for s in self.settings() if s.name == "Environment"]
        found = {one.name for value in said for one in in_directive(value)}
        return found | {one.name for part in self.variables for _, one in part.variables()}

    def variables_moved(self, place: Path) -> dict[str, str]:
        """Where the files of variables stand for a unit like it, by how the old one names them."""
        names = [one.said.removeprefix("-") for one in self.variables]
        return {said: str(place / _name(number)) for number, said in enumerate(names, 1)}

    def carried(self, below: str, moved: Mapping[str, str]) -> dict[str, str]:
        """Those files for it, by their names below a directory, with the paths in moved."""
        found = {}
        for number, one in enumerate(self.variables, 1):
            if not one.files:  # there is none, and the unit does not mind
                continue
            values = {v.name: moved_in(v.value, moved) for _, v in one.variables()}
            sources = ", ".join(path for path, _ in one.files)
            head = f"# Made by Crossfade from {sources!a}.\n"
            found[f"{below}/{_name(number)}"] = head + environment_file(values)
        return found


def _name(number: int) -> str:
    return f"variables-{number}.env"


def read_old(host: Host, paths: Sequence[Path], shown: Sequence[str]) -> OldUnit:
    """Read a unit's files, and those of its variables; shown are the lines of ``systemctl show`` on
    these, in which nothing has to be replaced any more.  Raises Failed for what cannot be read."""
    files = tuple((str(path), _text(host, path)) for path in paths)
    said = [s.value for s in placed(files) if (s.section, s.name) == ("Service", "EnvironmentFile")]
    real = [found[1] for line in shown if (found := _SHOWN.fullmatch(line))]
    variables = []
    for number, one in enumerate(said):
        path = real[number] if number < len(real) else one.removeprefix("-")
        variables.append(VariableFile(one, tuple(_read(host, path, one))))
    return OldUnit(files, tuple(variables))


def _read(host: Host, path: str, said: str) -> list[tuple[str, str]]:
    if re.search(r"[*?\[]", path):
        names = host.run(("sh", "-c", _FOUND, "sh", path)).out.split(b"\0")[:-1]
        paths = [Path(name.decode("utf-8", "surrogateescape")) for name in names]
    else:
        missing = said.startswith("-") and not host.exists(Path(path))
        paths = [] if missing else [Path(path)]
    return [(str(one), _text(host, one)) for one in paths]


def _text(host: Host, path: Path) -> str:
    return host.read(path).decode("utf-8", "surrogateescape")


def shipped(host: Host, old: OldUnit) -> list[tuple[str, str]]:
    """Files of a unit as a package ships them, path and text: those of the old one that nobody has
    changed, and the one in whose place it stands.  Knows packages of Debian's kind."""
    main = Path(old.files[0][0])
    behind = [place / main.name for place in _VENDORS if main.parent not in _VENDORS]
    asked = [path for path, _ in old.files] + [str(path) for path in behind]
    said = host.run(("sh", "-c", _SHIPPED, "sh", *asked)).out.split(b"\0")[:-1]
    names = [name.decode("utf-8", "surrogateescape") for name in said]
    paths = {name.removeprefix("/usr"): name for name in names}.values()  # /lib may be /usr/lib
    texts = dict(old.files)
    return [(path, texts.get(path) or _text(host, Path(path))) for path in paths]
