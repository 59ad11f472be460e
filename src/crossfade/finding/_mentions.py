"""Files of the system that name the installation: its paths, unit, addresses and accounts."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

from crossfade.finding._book import Book
from crossfade.finding._far import PARSED, Far, as_text
from crossfade.finding._inventory import Kind
from crossfade.finding._packages import Packages
from crossfade.finding._references import decoded
from crossfade.finding._rules import BACKUP, GENERATED, LONG, below, classified
from crossfade.recipes import mentions

__all__ = ["Names", "databases", "mentioning", "periphery"]

_WHERE: Final = (
    *("/etc", "/var/spool/cron", "/usr/local/etc", "/usr/local/lib/systemd"),
    *("/lib/systemd/system", "/usr/lib/systemd/system", "/usr/local/bin", "/usr/local/sbin"),
)
_GREP: Final = r"""
LC_ALL=C; export LC_ALL
patterns=$1; shift
for d; do
    [ -d "$d" ] && [ ! -h "${d%/systemd/system}" ] || continue
    printf '%s\n' "$patterns" | grep -rlIZ -s -F -D skip -f - -- "$d"
    find "$d" -xdev \( -type d ! \( -readable -executable \) -o -type f ! -readable \) \
        -printf '!%p\0' -prune 2>/dev/null
done
printf 'end\0'
"""
_LINKS: Final = r"""
LC_ALL=C; export LC_ALL
find /etc/nginx /etc/apache2 /etc/lighttpd /etc/systemd/system -type l -printf '%p\0' 2>/dev/null |
    xargs -0 -r -n1 sh -c 'printf "%s\0" "$1"; readlink -z -f -- "$1" || printf "\0"' sh
printf 'end\0'
"""
_GUARDS: Final = re.compile(r"/etc/(sudoers|security|cron)|/var/spool/cron|/etc/logrotate")
_AROUND: Final = (
    *("/etc/fail2ban", "/etc/sysctl.d", "/etc/sysctl.conf", "/etc/security", "/etc/ufw"),
    *("/etc/nftables.conf", "/etc/letsencrypt/renewal", "/etc/profile.d"),
)
_URL: Final = re.compile(
    r"(?:jdbc:)?(mysql|mariadb|postgres(?:ql)?)(?:\+\w+)?:(?://)?(?:[^@\s/]*@)?"
    r"(\[[0-9a-fA-F:]+\]|[\w.-]*)(?::\d+)?(?:/|%2F)"
)
_SPLIT: Final = re.compile(
    r"(?:db|database)[\w.-]*(?:type|engine|driver|connection)\W+[\w.]*(mysql|mariadb|postgres|psycopg2)",
    re.IGNORECASE,
)
_HERE: Final = ("", "localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True, slots=True)
class Names:
    """What the installation is called.  hosts are names and addresses that its ports go with."""

    paths: Collection[str]
    units: Collection[str]
    ports: Collection[int]
    hosts: Collection[str]
    public: Collection[str]
    accounts: Collection[str]

    def patterns(self) -> str:
        """Fixed texts, one a line: whatever names the installation has one of them."""
        ports = [f":{port}" for port in self.ports]
        units = [unit.removesuffix(".service") for unit in self.units]
        words = [*self.paths, *units, *ports, *self.public, *self.accounts]
        return "\n".join(sorted({word for word in words if word and "\n" not in word}))

    def of(self, path: str, line: str) -> str | None:
        """What a line of this file names, in words; None when nothing."""
        for place in self.paths:
            if mentions(line, place):
                return place
        if len(line) > LONG:
            return None
        for unit in self.units:
            short = re.escape(unit.removesuffix(".service"))
            command = rf"\b(?:systemctl|service)\s(?:.*\s)?{short}(?![\w.@-])"
            if re.search(rf"(?<![\w.@-]){re.escape(unit)}(?![\w-])|{command}", line):
                return f"the unit {unit}"
        for host, port in re.findall(r"([\w.*-]+|\[[0-9a-fA-F:]*\])?:([0-9]{1,5})(?![\w.:])", line):
            if int(port) in self.ports and host in self.hosts:
                return f"{host}:{port}"
        for name in self.public:
            if re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", line):
                return name
        if _GUARDS.match(path):
            for name in self.accounts:
                if re.search(rf"(?<![\w./-]){re.escape(name)}(?![\w-])", line):
                    return f"the account {name}"
        return None


def mentioning(
    far: Far, book: Book, packages: Packages, names: Names, apart: Collection[str]
) -> None:
    """Write down the files that name it, but for those that are as they were shipped, and those in
    trees that were looked at already (``apart``)."""
    paths, sizes = [], {}
    for word in far.stream(_GREP, names.patterns(), *_WHERE):
        name = as_text(word)
        if name.startswith("!"):
            book.unreadable.add(name[1:])
        elif name.startswith("/") and not below(name, apart) and name not in GENERATED:
            paths.append(name)
    book.roots += [one for one in _WHERE if one not in book.roots]
    entries = far.look(paths)
    for path, one in entries.items():
        book.seen(one)
        if one.size > PARSED:
            book.unparsed[path] = "over 5 MB"
        elif one.kind == "f":
            sizes[path] = one.size
    said = {}
    for path, data in far.texts(sizes).items():
        text = decoded(data) or ""
        where = next(_naming(names, path, text), None)
        if where:
            said[path] = where
            book.texts[path] = text
    packages.judge_files(book, said)
    packages.judge_ucf(book, said)
    links = _links(far) if said else {}
    for path, (line, what) in said.items():
        if path not in book.unchanged:
            _note(book, path, f"names {what} in line {line}", links.get(path, ()))


def _note(book: Book, path: str, detail: str, links: Collection[str]) -> None:
    component, kind = classified(path)
    if BACKUP.search(path):
        component, kind = component, Kind.HINT
    elif component == "unit" and not path.endswith((".service", ".socket", ".conf")):
        kind = Kind.ADDED if path.startswith("/etc/default") else Kind.PERIPHERY
    detector = "periphery" if kind == Kind.PERIPHERY else "mentions"
    book.note(path, kind, component, "mentions", detail)
    if detector == "periphery":
        book.note(path, kind, component, "periphery", "outside the program")
    for link in links:
        book.note(path, kind, component, "mentions", f"{link} leads to it")


def _naming(names: Names, path: str, text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith(("#", ";")) and not line.startswith("#!"):
            continue
        what = names.of(path, line)
        if what:
            yield number, what


def _links(far: Far) -> dict[str, list[str]]:
    """Links that switch a site or a unit on, by where they lead."""
    words = [as_text(word) for word in far.ask(_LINKS)]
    found: dict[str, list[str]] = {}
    for link, target in zip(words[::2], words[1::2], strict=False):
        found.setdefault(target, []).append(link)
    return found


def periphery(far: Far, book: Book, packages: Packages) -> None:
    """Files around any program that no package has shipped, or that were changed: listed only."""
    there = [
        one
        for one in far.tree(_AROUND, "")
        if one.kind == "f" and one.path not in GENERATED and not one.path.endswith("README")
    ]
    for one in there:
        book.seen(one)
    paths = {one.path for one in there}
    owned = packages.judge_files(book, paths)
    for path in sorted(paths - set(owned)):
        if not BACKUP.search(path) and path not in packages.ucf:
            component = classified(path)[0]
            detail = "no package owns it; it may concern the program or not"
            book.note(path, Kind.PERIPHERY, component, "periphery", detail)
    packages.judge_ucf(book, paths)


def databases(book: Book, hosts: Collection[str]) -> dict[str, str]:
    """Kinds of database servers on this machine (mysql, postgres) that found files name, each with
    the file and line."""
    found: dict[str, str] = {}
    for path, text in book.texts.items():
        for number, line in enumerate(text.splitlines(), 1):
            if line.lstrip().startswith(("#", ";", "//")) or len(line) > LONG:
                continue
            for match in _URL.finditer(line):
                if match[2] in _HERE or match[2] in hosts:
                    kind = "postgres" if match[1].startswith("postgres") else "mysql"
                    found.setdefault(kind, f"{posixpath.basename(path)} line {number}")
            if split := _SPLIT.search(line):
                kind = "postgres" if split[1].lower().startswith(("postgres", "psy")) else "mysql"
                found.setdefault(kind, f"{posixpath.basename(path)} line {number}")
    return found
