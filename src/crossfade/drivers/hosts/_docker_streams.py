"""The streams of a command in a container: fetched as they are read, or collected."""

from __future__ import annotations

import contextlib
import io
import threading
import time
from typing import Any, BinaryIO, Final, cast

from crossfade.drivers.hosts._docker_exec import ERRORS, Exec
from crossfade.errors import Failed
from crossfade.ports import Completed

__all__ = ["Collected", "Inlet", "Outlet", "buffered"]

_PORTION: Final = 65536
_MOMENT: Final = 2.0


class Outlet(io.RawIOBase):
    """The command's standard output as a stream; nothing is fetched before it is asked for."""

    def __init__(self, run: Exec, keep: int) -> None:
        self._run, self._keep = run, keep
        self.errors = b""

    def readable(self) -> bool:
        """It is for reading."""
        return True

    def readinto(self, buffer: Any) -> int:
        """The next bytes; 0 at the end."""
        view = memoryview(buffer).cast("B")
        while True:
            stream, data = self._run.frame(len(view))
            if stream == ERRORS:
                self.errors = (self.errors + data)[-self._keep :]
            else:
                view[: len(data)] = data
                return len(data)


class Inlet(io.RawIOBase):
    """A stream into the command's standard input."""

    def __init__(self, run: Exec) -> None:
        self._run = run

    def writable(self) -> bool:
        """It is for writing."""
        return True

    def write(self, data: Any) -> int:
        """All of it, when there is room."""
        view = memoryview(data).cast("B")
        self._run.send(view)
        return len(view)


def buffered(stream: Outlet | Inlet) -> BinaryIO:
    """The stream with a buffer."""
    if isinstance(stream, Outlet):
        return cast(BinaryIO, io.BufferedReader(stream, _PORTION))
    return cast(BinaryIO, io.BufferedWriter(stream, _PORTION))


class Collected:
    """Reads both streams in a thread, and keeps the last ``keep`` bytes of each (None: all)."""

    def __init__(self, run: Exec, keep: int | None) -> None:
        self._run, self._keep = run, keep
        self._kept = {1: bytearray(), ERRORS: bytearray()}
        self._trouble: Failed | None = None
        self._left = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            while (part := self._run.frame())[0]:
                kept = self._kept[part[0]]
                kept += part[1]
                if self._keep is not None:
                    del kept[: -self._keep]
        except Failed as failed:
            self._trouble = failed
        except OSError:  # it was closed while we read
            return

    def wait(self, seconds: float | None) -> bool:
        """Wait for the end; False when it did not come in time."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def let_writers_go(self) -> None:
        """Watch, in a thread: an engine does not end the streams of a command that has ended while
        somebody still writes to it."""
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        with contextlib.suppress(Failed):
            while not self._left and self._run.running():
                time.sleep(_MOMENT / 8)
        self.wait(_MOMENT / 2)
        if not self._left:
            self._run.cut()

    def leave(self) -> None:
        """The streams are about to be closed."""
        self._left = True

    def over(self) -> bool:
        """Whether the output ends about now."""
        return self.wait(_MOMENT)

    def completed(self, words: tuple[str, ...]) -> Completed:
        """The command with its status and output.  Raises Failed: see ``Exec.status``."""
        if self._trouble is not None:
            raise self._trouble
        out, err = bytes(self._kept[1]), bytes(self._kept[ERRORS])
        return Completed(words, self._run.status(), out, err)
