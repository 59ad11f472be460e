"""Jobs that a machine runs at set times for an installation: cron's and systemd's timers.

They are found on the old side and handed over at the switch; what cannot be is told.  ``_find``
looks, ``_carry`` decides and rewrites, ``_acts`` switches, ``_handover`` keeps the record.
"""

from crossfade.jobs._between import between
from crossfade.jobs._carry import Move
from crossfade.jobs._find import find
from crossfade.jobs._handover import HandedOver, Handover

__all__ = ["HandedOver", "Handover", "Move", "between", "find"]
