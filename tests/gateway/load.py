"""A load in a process of its own: ``python -m tests.gateway.load HOST PORT RATE SECONDS SEED``,
and with one word more, a certificate's file, by TLS.

Open loop: requests start at their time whether earlier ones are answered or not.  Half of them use
kept connections, half a connection of their own; 40 % are POSTs whose body the answer proves by
its MD5 (2 kB, every fiftieth 300 kB); every hundredth takes a second.  No retry: any error is a
failure.  SIGTERM ends it early.  Prints one JSON object.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import resource
import select
import signal
import ssl
import sys
import time
from typing import Any

import uvloop

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Load:
    """What is sent to one address, and what came of it."""

    patience = 60.0
    """Seconds after which a request that was not answered has failed."""

    def __init__(self, host: str, port: int, seed: int, certificate: str = "") -> None:
        self.host, self.port = host, port
        self.tls = ssl.create_default_context(cafile=certificate) if certificate else None
        if self.tls:
            self.tls.check_hostname = False
        self.random = random.Random(seed)
        self.idle: list[Connection] = []
        self.failures: list[str] = []
        self.sent = self.posts = 0
        self.longest = 0.0
        self.over = False
        self.bodies = [self.random.randbytes(2_000), self.random.randbytes(300_000)]

    async def request(self, number: int) -> None:
        """Send one request and check its answer."""
        started = time.monotonic()
        try:
            async with asyncio.timeout(self.patience):
                await self._request(number)
        except Exception as error:  # noqa: BLE001 - every kind of error is a failure
            self.failures.append(f"{number}: {type(error).__name__}: {error}")
        self.longest = max(self.longest, time.monotonic() - started)

    async def _request(self, number: int) -> None:
        keep, post = number % 2 == 0, number % 5 < 2
        body = self.bodies[number % 50 == 1] if post else b""
        path = f"/item{number}" + ("?sleep=1" if number % 100 == 7 else "")
        reader, writer = await self._connection(keep)
        close = "" if keep else "Connection: close\r\n"
        head = f"{'POST' if post else 'GET'} {path} HTTP/1.1\r\nHost: load\r\n{close}"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        await writer.drain()
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        if not head.startswith("http/1.1 200 "):
            raise ValueError(f"wrong answer: {head[:60]!r}")
        length = int(head.split("content-length:")[1].split("\r\n")[0])
        answer = json.loads(await reader.readexactly(length))
        if answer["path"] != path:
            raise ValueError(f"the answer to another: {answer['path']!r}")
        if answer["md5"] != hashlib.md5(body, usedforsecurity=False).hexdigest():
            raise ValueError("the body was changed")
        if keep and "connection: close" not in head:
            self.idle.append((reader, writer))
        else:
            writer.close()

    async def _connection(self, keep: bool) -> Connection:
        while keep and self.idle:
            reader, writer = self.idle.pop()
            if not reader.at_eof() and not writer.is_closing() and not _dropped(writer):
                return reader, writer
            writer.close()
        return await asyncio.open_connection(self.host, self.port, ssl=self.tls)

    async def run(self, rate: float, seconds: float) -> None:
        """Send at the rate for so long, and wait for the last answer."""
        started = time.monotonic()
        async with asyncio.TaskGroup() as group:
            while (due := self.sent / rate) < seconds and not self.over:
                await asyncio.sleep(max(0.0, started + due - time.monotonic()))
                self.posts += self.sent % 5 < 2
                group.create_task(self.request(self.sent))
                self.sent += 1
        for _, writer in self.idle:
            writer.close()

    def report(self) -> dict[str, Any]:
        """What came of it."""
        return {
            "sent": self.sent,
            "posts": self.posts,
            "failed": len(self.failures),
            "failures": self.failures[:50],
            "longest": round(self.longest, 3),
        }


def _dropped(writer: asyncio.StreamWriter) -> bool:
    """Whether the kernel knows already that the server closed it, which the loop may hear of only
    after its other work.  Whoever keeps connections (urllib3, browsers) asks before a request."""
    asked = select.poll()
    asked.register(writer.get_extra_info("socket").fileno(), select.POLLIN | select.POLLRDHUP)
    return bool(asked.poll(0))


async def _run(load: Load, rate: float, seconds: float) -> None:
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, setattr, load, "over", True)
    await load.run(rate, seconds)


def serve_load(load: Load, rate: float, seconds: float) -> None:
    """Run it, until SIGTERM at the latest, and print its report."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a hold keeps many connections
    uvloop.run(_run(load, rate, seconds))
    # Not sys.stdout, which with PYTHONUNBUFFERED writes as much as the pipe takes, and no more.
    with open(1, "w", encoding="ascii", closefd=False) as out:
        out.write(json.dumps(load.report()) + "\n")


def main(host: str, port: str, rate: str, seconds: str, seed: str, certificate: str = "") -> None:
    """Run the load that the command line asks for."""
    serve_load(Load(host, int(port), int(seed), certificate), float(rate), float(seconds))


if __name__ == "__main__":
    main(*sys.argv[1:])
