"""One long download in flight, again and again, each compared with what was uploaded."""

from __future__ import annotations

import http.client
import os
import threading
import time

from crossfade.demo import tracking
from crossfade.demo.connection import Connection
from crossfade.demo.mlflow import Mlflow
from crossfade.demo.subject import Subject
from crossfade.demo.synapse import Synapse
from crossfade.model import Address

__all__ = ["Downloads", "keep_big"]

_SIZE = 8 << 20
_CHUNK = 64 << 10


def keep_big(subject: Subject, address: Address) -> tuple[str, bytes]:
    """A file of 8 MB, kept with the application: the path that both of its versions serve it at
    without a token, and what is in it."""
    content = os.urandom(_SIZE)
    on = Connection(address)
    try:
        if isinstance(subject, Synapse):
            uri = subject.user.upload(on, "long.bin", content)
            return f"/_matrix/media/v3/download/{uri.removeprefix('mxc://')}", content
        assert isinstance(subject, Mlflow)
        path = f"{subject.experiment}/{subject.runs[0]}/artifacts/long.bin"
        tracking.upload(on, path, content)
        return f"/api/2.0/mlflow-artifacts/artifacts/{path}", content
    finally:
        on.close()


class Downloads:
    """A thread that downloads ``path`` slowly, one time after another, on new connections.  Use as
    a context manager.

    seconds is how long one takes at the least; failures are all that did not come whole."""

    def __init__(self, address: Address, path: str, content: bytes, seconds: float = 3.0) -> None:
        self.address, self.path, self.content = address, path, content
        self.came = 0
        self.failures: list[str] = []
        self._pause = seconds / (len(content) / _CHUNK)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="downloads")

    def __enter__(self) -> Downloads:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._over.is_set():
            began = time.time()
            try:
                got = self._once()
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(f"began {began:.3f}, broke {time.time():.3f}: {error!r}")
                continue
            if got == self.content:
                self.came += 1
            else:
                self.failures.append(f"began {began:.3f}: {len(got)} of {len(self.content)} bytes")

    def _once(self) -> bytes:
        connection = http.client.HTTPConnection(self.address.host, self.address.port, timeout=300)
        try:
            connection.request("GET", self.path, headers={"Connection": "close"})
            answer = connection.getresponse()
            if answer.status != 200:
                raise http.client.HTTPException(f"{answer.status} {answer.read(100)!r}")
            got = bytearray()
            while piece := answer.read(_CHUNK):
                got += piece
                time.sleep(self._pause)
            return bytes(got)
        finally:
            connection.close()
