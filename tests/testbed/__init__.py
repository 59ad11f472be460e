"""A small real application, and a site of it to upgrade."""

import os

WHOLE = os.environ.get("CROSSFADE_WHOLE", "") == "1"
"""Whether time does not matter (``make test-whole``): every point, the longest waits."""
