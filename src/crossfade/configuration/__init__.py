"""Configuration, first form: carry the old side's files over and rewrite what belongs to a side.

``CarriedConfiguration`` implements ``crossfade.ports.Configuration``.
"""

from crossfade.configuration._carried import CarriedConfiguration, facts
from crossfade.configuration._places import Reads, locate, mapped
from crossfade.configuration._residue import mentions

__all__ = ["CarriedConfiguration", "Reads", "facts", "locate", "mapped", "mentions"]
