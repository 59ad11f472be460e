"""The names of a site, joined with manifest, gate and journal."""

from __future__ import annotations

from crossfade.drivers import driver
from crossfade.engine.journal import SqliteJournal
from crossfade.manifest import Manifest, resolve
from crossfade.naming._naming import Naming
from crossfade.naming._record import Record
from crossfade.ports import Teller, Traffic

__all__ = ["naming_of"]


def naming_of(
    manifest: Manifest, journal: SqliteJournal, traffic: Traffic, teller: Teller
) -> Naming:
    """The names of a manifest that has ``traffic.dns``."""
    spec, base = manifest.traffic.dns, manifest.path.parent
    if spec is None:
        raise TypeError("the manifest names no names")
    return Naming(
        zone=driver("dns", spec.driver)(spec.zone, spec.options, lambda r: resolve(r, base)),
        names=spec.names,
        ttl=spec.ttl,
        patience=spec.patience,
        quiet=spec.stragglers,
        traffic=traffic,
        record=Record(journal),
        teller=teller,
    )
