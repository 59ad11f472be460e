"""Crossfade upgrades self-hosted applications in parallel: rehearsed, in one short pause."""

__version__ = "0.1.0"

__all__ = ["__version__"]
