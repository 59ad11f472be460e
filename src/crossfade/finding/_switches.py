"""Links that switch on what a package has shipped: modules, sites and the like."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from crossfade.finding._book import Book
from crossfade.finding._far import Far
from crossfade.finding._inventory import Kind
from crossfade.finding._packages import Packages

__all__ = ["proxy_switches", "switches"]

_APACHE = re.compile(r"/etc/apache2/(mod|conf|site)s?-enabled/(.+)\.(?:load|conf)")
_RECORDS = {"mod": "module", "conf": "conf", "site": "site"}
_OF_PACKAGES = re.compile(
    r"/etc/nginx/(modules-enabled/.*|sites-enabled/default)"
    r"|/etc/apache2/sites-enabled/000-default\.conf"
)


def switches(far: Far, packages: Packages, links: Collection[str]) -> Mapping[str, str | None]:
    """Those of the links that lead to a shipped file, each with that file; None where the package
    itself has made the link, as far as is known."""
    real = far.real(links)
    owned = packages.owners(real.values())
    shipped = {link: end for link, end in real.items() if end in owned}
    records = {link: record for link in shipped if (record := _record(link))}
    by_package = far.look(records.values())
    return {
        link: None
        if _OF_PACKAGES.fullmatch(link)
        or records.get(link) in by_package
        or "/alternatives/" in end
        else end
        for link, end in shipped.items()
    }


def _record(link: str) -> str | None:
    """Where Apache's tools write down that a package has switched this on."""
    found = _APACHE.fullmatch(link)
    return f"/var/lib/apache2/{_RECORDS[found[1]]}/enabled_by_maint/{found[2]}" if found else None


def proxy_switches(far: Far, book: Book, packages: Packages, places: Collection[str]) -> None:
    """What somebody has switched on in a proxy that serves the installation."""
    kinds = ("mods", "conf", "modules")
    there = far.look(f"{place}/{kind}-enabled" for place in places for kind in kinds)
    links = [one.path for one in far.tree(sorted(there), "", 1) if one.kind == "l"]
    for link, end in switches(far, packages, links).items():
        if end is not None:
            detail = f"switched on: a link to {end}, which a package has shipped"
            book.note(link, Kind.ADDED, "proxy", "unowned", detail)
