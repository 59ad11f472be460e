"""A door that sends PostgreSQL's clients on to the next host of their list.

libpq takes lists of hosts and ports.  A server that cannot be connected to now (SQLSTATE 57P03)
makes libpq 14 and newer try the next one.  So the door stands first in such a list, the database
second: while it is closed, whoever has said its name waits for an answer; once it is open,
everybody is sent on, and the program speaks with its database without us in between.

Read are the first messages alone (PostgreSQL's documentation, "Message Formats"): a wish for
encryption is declined, and the startup message, which has no secret in it, is taken.  A client that
insists on encryption goes away then, before any pause.
"""

from __future__ import annotations

import select
import socket
import struct
from contextlib import suppress

from crossfade.drivers.services.doors import Door
from crossfade.drivers.services.relay import GONE

__all__ = ["SendingDoor"]

_WISHES = (80877103, 80877104)  # SSLRequest, GSSENCRequest
_PROTOCOL = 3
_LONGEST = 10_000
_FIELDS = b"SFATAL\0VFATAL\0C57P03\0M" + (
    b"the database is at the next host of the list, where libpq 14 or newer goes by itself\0\0"
)
_ELSEWHERE = b"E" + struct.pack("!I", 4 + len(_FIELDS)) + _FIELDS


class SendingDoor(Door):
    """A door at which only those wait who have sent their startup message.

    Nothing is ever opened to the target."""

    def _welcome(self, client: socket.socket) -> None:
        got = bytearray()
        fd = client.fileno()
        self.arriving[fd] = client
        self._loop.watch(fd, select.EPOLLIN | GONE, lambda _: self._read(client, got))

    def _read(self, client: socket.socket, got: bytearray) -> None:
        try:
            data = client.recv(_LONGEST)
            got += data
            known = self._understood(client, got) if data else False
        except BlockingIOError:
            return
        except OSError:
            known = False
        if known is None:
            return
        fd = client.fileno()
        del self.arriving[fd]
        if known:
            self._waits(client)
        else:
            self.gave_up += 1
            self._loop.close(client)

    def _understood(self, client: socket.socket, got: bytearray) -> bool | None:
        """Whether it has said all that it says before an answer; None when it goes on."""
        while len(got) >= 8:
            length, code = struct.unpack_from("!II", got)
            if code in _WISHES and length == 8:
                client.send(b"N")
                del got[:8]
                continue
            if code >> 16 != _PROTOCOL or not 8 <= length <= _LONGEST:
                return False
            return True if len(got) >= length else None
        return None

    def _let_through(self, client: socket.socket) -> None:
        del self.waiting[client.fileno()]
        self.sent_on += 1
        with suppress(OSError):  # it has just gone; the others are still to be sent on
            client.send(_ELSEWHERE)
        self._loop.close(client)
