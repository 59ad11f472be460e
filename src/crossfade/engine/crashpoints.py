"""Named places in the real code where a test may kill us with SIGKILL.

``CROSSFADE_CRASH_AT=name`` kills this process when it passes that place for the first time;
``CROSSFADE_CRASH_TRACE=file`` appends every name passed, which is how the crash matrix learns
which places there are.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

__all__ = ["crash_point"]


def crash_point(name: str) -> None:
    """Say that we pass the place called ``name``, such as ``cutover.stop.after-act``."""
    trace = os.environ.get("CROSSFADE_CRASH_TRACE")
    if trace:
        with Path(trace).open("a", encoding="utf-8") as file:
            file.write(name + "\n")
    if os.environ.get("CROSSFADE_CRASH_AT") == name:
        os.kill(os.getpid(), signal.SIGKILL)
