"""Something done to the world at a named moment of a run of ours, while the run waits for it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

__all__ = ["Moments"]


class Moments:
    """Reads the names of the crash points that a run passes from a named pipe.

    The run waits at every point until we have taken its name, so what is done at a point is done
    before the run passes the next one.  Give ``environment`` to the run.  A moment whose deed
    failed, or that did not come, is a failure when the context ends."""

    def __init__(self, directory: Path, deeds: Mapping[str, Callable[[], object]]) -> None:
        self.passed: list[str] = []
        self._pipe = directory / "moments"
        self._deeds = dict(deeds)
        self._trouble: list[BaseException] = []
        self._over = False
        self._thread = threading.Thread(target=self._read)

    @property
    def environment(self) -> dict[str, str]:
        """What the run needs in its environment."""
        return {"CROSSFADE_CRASH_TRACE": str(self._pipe)}

    def __enter__(self) -> Moments:
        self._pipe.unlink(missing_ok=True)
        os.mkfifo(self._pipe)
        self._thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._over = True
        while self._thread.is_alive():  # it may be about to open the pipe
            try:
                os.close(os.open(self._pipe, os.O_WRONLY | os.O_NONBLOCK))
            except OSError:
                self._thread.join(0.05)
        self._pipe.unlink()
        if self._trouble:
            raise self._trouble[0]
        if kind is None:
            assert not self._deeds, f"{list(self._deeds)} did not come; passed: {self.passed}"

    def _read(self) -> None:
        while not self._over:
            with self._pipe.open(encoding="utf-8") as stream:  # waits for the run to open it
                # the run's next point finds another pipe, and waits until we open that one
                following = self._pipe.with_name("moments.next")
                os.mkfifo(following)
                following.rename(self._pipe)
                points = stream.read().split()
            for point in points:
                self.passed.append(point)
                if point in self._deeds:
                    try:
                        self._deeds.pop(point)()
                    except BaseException as error:  # noqa: BLE001 - raised again at the end
                        self._trouble.append(error)
