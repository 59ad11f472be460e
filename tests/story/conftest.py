"""Which stories are told."""

from __future__ import annotations

from tests.testbed import WHOLE

_LONG = ["test_real_applications.py", "test_real_traffic.py", "test_synapse_settings.py"]
collect_ignore = [] if WHOLE else _LONG
