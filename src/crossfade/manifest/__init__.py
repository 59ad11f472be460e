"""The manifest: one site's ``crossfade.yaml``, joined with its recipe.  ``load`` reads it."""

from crossfade.manifest._images import is_pinned
from crossfade.manifest._load import SCHEMA, load
from crossfade.manifest._machine import with_machine
from crossfade.manifest._secrets import is_reference, resolve
from crossfade.manifest._skeleton import skeleton
from crossfade.manifest._spec import (
    DnsSpec,
    FrontSpec,
    HostSpec,
    Limits,
    Manifest,
    NameSpec,
    ProvisionSpec,
    ServiceOverrides,
    SideSpec,
    TlsSpec,
    TrafficSpec,
)

__all__ = [
    "SCHEMA",
    "DnsSpec",
    "FrontSpec",
    "HostSpec",
    "Limits",
    "Manifest",
    "NameSpec",
    "ProvisionSpec",
    "ServiceOverrides",
    "SideSpec",
    "TlsSpec",
    "TrafficSpec",
    "is_pinned",
    "is_reference",
    "load",
    "resolve",
    "skeleton",
    "with_machine",
]
