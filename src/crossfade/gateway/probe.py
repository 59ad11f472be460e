"""Whether an application answers, where it may just be starting.

What forwards a container's port accepts before the application listens, and breaks off once it
has found that out.  So an accepted connection says nothing, and a write must not be what finds
out: it could not be sent again.  With TLS the handshake tells.
"""

from __future__ import annotations

import asyncio

from crossfade.model import Address

__all__ = ["Probe"]


class Probe:
    """Asks once at a time, for all who want to know, until there was an answer.

    wanted says that nobody knows.  seconds is how long it may take to accept, and to answer."""

    def __init__(self, seconds: float) -> None:
        self.wanted = False
        self._seconds = seconds
        self._asked: asyncio.Task[bool] | None = None

    async def answers(self, target: Address) -> bool:
        """Whether it answers; then ``wanted`` ends."""
        if self._asked is None or self._asked.done():
            self._asked = asyncio.get_running_loop().create_task(self._ask(target))
        answered = await asyncio.shield(self._asked)
        self.wanted = self.wanted and not answered
        return answered

    async def _ask(self, target: Address) -> bool:
        """Ask for the head of its first page, which changes nothing (RFC 9110, 9.2.1).

        A connection that still stands when the time is over counts as an answer: an application
        may be slow."""
        try:
            async with asyncio.timeout(self._seconds):
                reader, writer = await asyncio.open_connection(target.host, target.port)
        except (OSError, TimeoutError):
            return False
        try:
            question = f"HEAD / HTTP/1.1\r\nHost: {target}\r\nConnection: close\r\n\r\n"
            writer.write(question.encode())
            async with asyncio.timeout(self._seconds):
                return bool(await reader.read(1))
        except TimeoutError:
            return True
        except OSError:
            return False
        finally:
            writer.transport.abort()
