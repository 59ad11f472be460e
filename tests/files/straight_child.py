"""Run as a program, to be killed or stopped: copies a tree straight from one machine to another.

python straight_child.py OLD OLD-CONFIG NEW NEW-CONFIG PATH SILENCE

Says one line once the first bytes have gone: empty, or why they do not go straight."""

from __future__ import annotations

import sys
from pathlib import Path

from crossfade.drivers.files import _far_straight
from crossfade.drivers.files.far import FarTree
from crossfade.drivers.hosts.ssh import SshHost

if __name__ == "__main__":
    old, old_config, new, new_config, path, silence = sys.argv[1:]
    _far_straight._SILENCE = int(silence)  # type: ignore[misc]
    straights = _far_straight.Straights("test")
    one, two = SshHost(old, config=Path(old_config)), SshHost(new, config=Path(new_config))
    waiting = [straights]

    def told(done: int, _: int | None) -> None:
        """The first time, that line."""
        if done and waiting:
            sys.stdout.write(f"{' '.join(waiting.pop()._refused.values())}\n")
            sys.stdout.flush()

    FarTree("t", Path(path), one, straights=straights).copy_to(FarTree("t", Path(path), two), told)
