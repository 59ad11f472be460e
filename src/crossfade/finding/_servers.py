"""Database servers, proxies and packages that the installation uses: what was changed there."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from crossfade.finding._book import Book
from crossfade.finding._far import Far
from crossfade.finding._mentions import databases
from crossfade.finding._packages import Packages
from crossfade.finding._references import References
from crossfade.finding._rules import below
from crossfade.finding._switches import proxy_switches
from crossfade.finding._trees import Trees

__all__ = ["database_servers", "whole_packages"]

_SERVERS: Final = {
    "mysql": ("/etc/mysql", "/etc/my.cnf.d", "/etc/my.cnf"),
    "postgres": ("/etc/postgresql", "/etc/postgresql-common"),
}


def database_servers(
    far: Far,
    book: Book,
    packages: Packages,
    references: References,
    hosts: Collection[str],
    given: Collection[str],
) -> None:
    """What is customised of database servers on the same machine: those that are given, and those
    that found files name."""
    kinds = dict.fromkeys((*given, *databases(book, hosts)))
    places = [place for kind in kinds for place in _SERVERS.get(kind, ())]
    there = list(far.look(places))
    if not there:
        return
    trees = Trees({}, dict.fromkeys(there, "database"), (), {}, {})
    trees.list(far, book)
    trees.unowned(far, book, packages)
    references.roots += there
    shipped = packages.shipped(set(packages.below(there).values()))
    packages.judge_files(book, [path for path in shipped if below(path, there)], "database")
    trees.late(book)
    references.read(book, book.files())


def whole_packages(
    far: Far, book: Book, packages: Packages, programs: Collection[str], root: str
) -> None:
    """Everything of the packages that the program, its unit and its root belong to; and what
    packages have shipped beside the found files of a proxy."""
    if not packages.there:
        return
    owners = packages.owners([*programs, root])
    packages.judge(book, set(owners.values()))
    proxies = {
        match[0]
        for (name, value), one in book.found.items()
        if one.component == "proxy" and not value and (match := re.match(r"/etc/[^/]+", name))
    }
    shipped = packages.shipped(set(packages.below(proxies).values()))
    packages.judge_files(book, [path for path in shipped if below(path, proxies)])
    proxy_switches(far, book, packages, proxies)
