"""What two machines say while bytes go straight from one to the other, and what it comes to."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import BinaryIO, Final

__all__ = ["Both", "Broken", "Cut"]

_LINGER: Final = 20.0
_LOST: Final = "255"
"""What ssh ends with when the connection is cut."""
_TROUBLED: Final = "7"
"""What the far ``cat`` ends with when nobody takes, or gives, any more."""


class Cut(Exception):
    """The way was cut."""


class Broken(Exception):
    """One side is over in the middle of it."""


class Both:
    """What the two machines say while bytes go from one to the other."""

    def __init__(self, told: Callable[[int], None]) -> None:
        self._told, self._done = told, 0
        self._words: SimpleQueue[tuple[int, bytes]] = SimpleQueue()
        self._rest = [b"", b""]
        self.statuses: dict[str, str] = {}
        self._over: set[int] = set()

    def follow(self, sends: BinaryIO, receives: BinaryIO) -> None:
        """Listen to both until they are over; only to one when the other is in the way."""
        for number, stream in enumerate((sends, receives)):
            threading.Thread(target=self._listen, args=(number, stream), daemon=True).start()
        while len(self._over) < 2:
            hurry = self.statuses.get("s", "0") != "0" or self.statuses.get("r", "0") != "0"
            try:
                number, words = self._words.get(timeout=_LINGER if hurry else None)
            except Empty:
                raise (Cut if self.statuses.get("s", "0") != "0" else Broken) from None
            self._hear(number, words)
            if self.statuses.get("s") == _LOST:
                raise Cut
            if 0 in self._over and "r" not in self.statuses:
                raise Broken

    def check(self) -> None:
        """Raises Cut unless what was sent has arrived."""
        if self.statuses.get("s") not in ("0", _TROUBLED):
            raise Cut

    @property
    def at_fault(self) -> bool:
        """Whether the command that sends failed, and not for lack of somebody to send to."""
        return self.statuses.get("r", "0") != "0" and self.statuses.get("s") == "0"

    @property
    def whole(self) -> bool:
        """Whether all of it went through, or as much as the other command wanted."""
        told = self.statuses
        return told.get("s") == _TROUBLED or (told.get("d"), told.get("s")) == ("0", "0")

    def _listen(self, number: int, stream: BinaryIO) -> None:
        read = getattr(stream, "read1", stream.read)
        try:
            while words := read(65536):
                self._words.put((number, words))
        except (OSError, ValueError):
            pass  # it was closed, for another reason
        self._words.put((number, b""))

    def _hear(self, number: int, words: bytes) -> None:
        if not words:
            self._over.add(number)
        lines = (self._rest[number] + words).replace(b"\r", b"\n").split(b"\n")
        self._rest[number] = lines.pop()[-1000:]
        for line in lines:
            first, *others = line.decode("ascii", "replace").split() or [""]
            if first == "end":
                self.statuses |= {one[0]: one[1:] for one in others}
            elif others[:1] == ["bytes"] and first.isdigit():
                self._told(int(first) - self._done)
                self._done = int(first)
