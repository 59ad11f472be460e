"""The site's names in the DNS: their TTL is lowered early, they are pointed at the side that serves
once it is the authoritative one, and everyone is given the time to follow.

``_record`` reads what the journal knows of that, ``_naming`` acts.
"""

from crossfade.naming._joined import naming_of
from crossfade.naming._record import Record
from crossfade.naming._words import duration, moment

__all__ = ["Record", "duration", "moment", "naming_of"]
