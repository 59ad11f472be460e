"""A load on a real application in a process of its own: ``tests.gateway.load``, in its own words.

Open loop: half of the requests on kept connections, half on connections of their own; 40 % write,
each with a body that is read back afterwards, and half of the rest read what was written.  Where
the processor is shared with all else, they are the writes that cost an application least.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tests.gateway.load import Load, serve_load

from crossfade.demo import tracking
from crossfade.demo.connection import Connection
from crossfade.demo.load import reads
from crossfade.demo.mlflow import Mlflow
from crossfade.demo.subject import Subject
from crossfade.demo.synapse import Synapse
from crossfade.model import Address

__all__ = ["Steady", "steady"]

_FILES = "/api/2.0/mlflow-artifacts/artifacts"
_METRIC = "steady"


def content(number: int) -> bytes:
    """What the write of this number says."""
    return f"steady {number} 🦊\n".encode() * 100


class _Real(Load):
    """Requests that every version of an application answers."""

    patience = 300.0

    def __init__(self, host: str, port: int, seed: int, said: Mapping[str, Any]) -> None:
        super().__init__(host, port, seed)
        self.said = said
        self.written: dict[int, str] = {}
        self.kept: list[int] = []

    async def _request(self, number: int) -> None:
        keep, number = number % 2 == 0, number + self.said["first"]
        if number % 5 < 2:
            await self.write(keep, number, posts=number % 5 == 0)
        elif number % 5 == 2 and self.kept:
            await self.read(keep, self.random.choice(self.kept[-200:]))
        else:
            await self.ask(keep, "GET", self.said["cheap"][number % 2])

    async def ask(
        self, keep: bool, method: str, path: str, body: bytes = b"", kind: str = "text/plain"
    ) -> bytes:
        """The body of an answer of 200."""
        reader, writer = await self._connection(keep)
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.host}:{self.port}"]
        lines += [] if keep else ["Connection: close"]
        lines += [f"Authorization: Bearer {self.said['token']}"] if self.said["token"] else []
        lines += [f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        await writer.drain()
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        answer = await _body(reader, head)
        if not head.startswith("http/1.1 200 "):
            writer.close()
            raise ValueError(f"{method} {path}: {head[:60]!r} {answer[:100]!r}")
        if keep and "connection: close" not in head:
            self.idle.append((reader, writer))
        else:
            writer.close()
        return answer

    async def write(self, keep: bool, number: int, *, posts: bool) -> None:
        """Write, and remember it once it is acknowledged."""
        raise NotImplementedError

    async def read(self, keep: bool, number: int) -> None:
        """Read what was written."""
        raise NotImplementedError

    def report(self) -> dict[str, Any]:
        """What came of it, and every acknowledged write."""
        return {**super().report(), "failures": self.failures, "written": self.written}


async def _body(reader: asyncio.StreamReader, head: str) -> bytes:
    if "transfer-encoding: chunked" not in head:
        length = int(head.split("content-length:")[1].split("\r\n")[0])
        return await reader.readexactly(length)
    found = b""
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        found += await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readuntil(b"\r\n")
    return found


class _Synapse(_Real):
    """Media by POST, account data by PUT."""

    def _data(self, number: int) -> str:
        return f"/_matrix/client/v3/user/{self.said['user']}/account_data/steady.{number}"

    async def write(self, keep: bool, number: int, *, posts: bool) -> None:
        if posts:
            path = f"/_matrix/media/v3/upload?filename={number}.txt"
            answer = await self.ask(keep, "POST", path, content(number))
            self.written[number] = json.loads(answer)["content_uri"]
            return
        body = json.dumps({"value": number}).encode()
        await self.ask(keep, "PUT", self._data(number), body, "application/json")
        self.written[number] = ""
        self.kept.append(number)

    async def read(self, keep: bool, number: int) -> None:
        value = json.loads(await self.ask(keep, "GET", self._data(number)))["value"]
        if value != number:
            raise ValueError(f"read {value} instead of {number}")


class _Mlflow(_Real):
    """Metrics by POST, files by PUT."""

    def _file(self, number: int) -> str:
        return f"{_FILES}/{self.said['files']}/steady{number}.txt"

    async def write(self, keep: bool, number: int, *, posts: bool) -> None:
        if posts:
            run = self.said["runs"][number // 5 % len(self.said["runs"])]
            value = {"key": _METRIC, "step": number, "value": float(number), "timestamp": number}
            body = json.dumps({"run_id": run, **value}).encode()
            path = "/api/2.0/mlflow/runs/log-metric"
            await self.ask(keep, "POST", path, body, "application/json")
            self.written[number] = run
            return
        await self.ask(keep, "PUT", self._file(number), content(number))
        self.written[number] = ""
        self.kept.append(number)

    async def read(self, keep: bool, number: int) -> None:
        if await self.ask(keep, "GET", self._file(number)) != content(number):
            raise ValueError(f"file {number} was changed")


_KINDS: Mapping[str, type[_Real]] = {"synapse": _Synapse, "mlflow": _Mlflow}


@dataclass
class Steady:
    """A load that runs or has run; ``end`` fills the rest.  Writes have numbers."""

    address: Address
    subject: Subject
    sent: int = 0
    failures: list[str] = field(default_factory=list)
    written: dict[int, str] = field(default_factory=dict)

    def end(self, process: subprocess.Popen[bytes]) -> None:
        """Have it wait for its last answers, and take what it says."""
        process.terminate()
        out, _ = process.communicate(timeout=600)
        said = json.loads(out)
        self.sent, self.failures = said["sent"], said["failures"]
        self.written = {int(number): what for number, what in said["written"].items()}

    def lost(self) -> list[int]:
        """The acknowledged writes that cannot be read back."""
        on = Connection(self.address)
        try:
            if isinstance(self.subject, Synapse):
                return self._lost_of_synapse(on, self.subject)
            assert isinstance(self.subject, Mlflow)
            return self._lost_of_mlflow(on, self.subject)
        finally:
            on.close()

    def _lost_of_synapse(self, on: Connection, subject: Synapse) -> list[int]:
        def is_there(number: int, uri: str) -> bool:
            if uri:
                return reads(partial(subject.user.download, on, uri), content(number))
            # it says a number, where the demo's clients write text
            return reads(partial(subject.user.get_data, on, f"steady.{number}"), str(number))

        return [number for number, uri in self.written.items() if not is_there(number, uri)]

    def _lost_of_mlflow(self, on: Connection, subject: Mlflow) -> list[int]:
        runs = set(filter(None, self.written.values()))
        metrics = {run: tracking.metrics_of(on, run, _METRIC) for run in runs}
        files = _files(subject)

        def is_there(number: int, run: str) -> bool:
            if run:
                return metrics[run].get(number) == float(number)
            path = f"{files}/steady{number}.txt"
            return reads(partial(tracking.download, on, path), content(number))

        return [number for number, run in self.written.items() if not is_there(number, run)]


def _files(subject: Mlflow) -> str:
    return f"{subject.experiment}/{subject.runs[0]}/artifacts"


@contextmanager
def steady(address: Address, subject: Subject, rate: float, first: int) -> Iterator[Steady]:
    """So many requests a second to the address, from inside to outside; the first write's number is
    not below ``first``."""
    said: dict[str, Any] = {"kind": subject.application, "first": first, "token": ""}
    if isinstance(subject, Synapse):
        said |= {"token": subject.user.token, "user": subject.user.name}
        said |= {"cheap": ["/health", "/_matrix/client/versions"]}
    else:
        assert isinstance(subject, Mlflow)
        said |= {"runs": subject.runs[-10:], "files": _files(subject)}
        said |= {"cheap": ["/health", "/version"]}
    program = (sys.executable, "-m", "tests.testbed.steady")
    process = subprocess.Popen(
        (*program, address.host, str(address.port), str(rate)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    try:
        assert process.stdin
        process.stdin.write(json.dumps(said).encode())
        process.stdin.close()
        process.stdin = None
        load = Steady(address, subject)
        yield load
        load.end(process)
    finally:
        process.kill()
        process.wait()


def main(host: str, port: str, rate: str) -> None:
    """Run the load that standard input describes, for half an hour at most."""
    said = json.load(sys.stdin)
    serve_load(_KINDS[said["kind"]](host, int(port), 7, said), float(rate), 1800.0)


if __name__ == "__main__":
    main(*sys.argv[1:])
