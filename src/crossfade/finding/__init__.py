"""What was customised in an old installation, and where that is known from.  Changes nothing.

``look`` is the entrance; ``_look.py`` has the order of the detectors.
"""

from crossfade.finding._inventory import Base, Coverage, Evidence, Found, Inventory, Kind
from crossfade.finding._look import look
from crossfade.finding._nearest import Candidate, Nearest, nearest
from crossfade.finding._runtime import usual
from crossfade.finding._scope import Running, Scope
from crossfade.finding._stock import ArchiveStock, Change, Changes, DirectoryStock, PipStock, Stock
from crossfade.finding._words import text

__all__ = [
    "ArchiveStock",
    "Base",
    "Candidate",
    "Change",
    "Changes",
    "Coverage",
    "DirectoryStock",
    "Evidence",
    "Found",
    "Inventory",
    "Kind",
    "Nearest",
    "PipStock",
    "Running",
    "Scope",
    "Stock",
    "look",
    "nearest",
    "text",
    "usual",
]
