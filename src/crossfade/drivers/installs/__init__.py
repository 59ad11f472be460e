"""Installs: how a version gets onto a host, all through ``ports.Host``."""

from crossfade.drivers.installs._deeds import NOTE

__all__ = ["NOTE"]
