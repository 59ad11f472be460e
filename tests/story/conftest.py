"""Which stories are told."""

from __future__ import annotations

from tests.testbed import WHOLE

collect_ignore = [] if WHOLE else ["test_real_applications.py", "test_real_traffic.py"]
