"""A client that writes and reads through the gate and remembers everything it was told."""

from __future__ import annotations

import http.client
import itertools
import json
import random
import select
import threading
import time
from dataclasses import dataclass, field

from crossfade.model import Address

__all__ = ["Client"]


@dataclass
class Client:
    """Writers and readers on keep-alive connections, until stopped.

    acknowledged are the ids that were answered with 201; failures are all other outcomes.  With
    ``stays_behind`` writes may be left behind by a rollback, so only a note that was there from
    the beginning is read.  With ``drops_closed`` an idle connection that the other end has closed
    is not used again, as in urllib3 and browsers.
    """

    address: Address
    name: str = "w"
    threads: int = 2
    pause: float = 0.03
    stays_behind: bool = False
    drops_closed: bool = False
    acknowledged: set[str] = field(default_factory=set)
    failures: list[str] = field(default_factory=list)
    longest: float = 0.0
    requests: int = 0

    def __post_init__(self) -> None:
        self._over = threading.Event()
        self._count = itertools.count()
        self._lock = threading.Lock()
        self._running = [threading.Thread(target=self._work) for _ in range(self.threads)]

    def __enter__(self) -> Client:
        for thread in self._running:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._running:
            thread.join()

    def _work(self) -> None:
        connection: http.client.HTTPConnection | None = None
        while not self._over.is_set():
            if connection and self.drops_closed and self._closed(connection):
                connection.close()
                connection = None
            if connection is None:
                connection = http.client.HTTPConnection(
                    self.address.host, self.address.port, timeout=90
                )
            began = time.monotonic()
            try:
                self._once(connection)
            except (OSError, http.client.HTTPException, ValueError, AssertionError) as error:
                connection.close()
                connection = None
                with self._lock:
                    self.failures.append(f"{time.time():.3f} {error!r}")
            with self._lock:
                self.requests += 1
                self.longest = max(self.longest, time.monotonic() - began)
            time.sleep(self.pause)
        if connection:
            connection.close()

    @staticmethod
    def _closed(connection: http.client.HTTPConnection) -> bool:
        return bool(connection.sock) and bool(select.select([connection.sock], [], [], 0)[0])

    def _once(self, connection: http.client.HTTPConnection) -> None:
        note = f"{self.name}-{next(self._count)}"
        if self.acknowledged and random.random() < 0.4:
            with self._lock:
                note = "n0" if self.stays_behind else random.choice(tuple(self.acknowledged))
            text = "text 0" if self.stays_behind else f"text of {note}"
            status, body = self.ask(connection, "GET", f"/notes/{note}")
            assert (status, body) == (200, {"text": text}), (note, status, body)
            return
        data = json.dumps({"id": note, "text": f"text of {note}"}).encode()
        status, _ = self.ask(connection, "POST", "/notes", data)
        assert status == 201, (note, status)
        with self._lock:
            self.acknowledged.add(note)

    @staticmethod
    def ask(
        connection: http.client.HTTPConnection, method: str, path: str, data: bytes | None = None
    ) -> tuple[int, object]:
        """One request; its status and JSON body."""
        connection.request(method, path, data)
        answer = connection.getresponse()
        body = answer.read()
        try:
            return answer.status, json.loads(body or b"null")
        except ValueError:
            raise ValueError(f"{method} {path}: {answer.status} {body[:300]!r}") from None

    def lost(self, address: Address) -> set[str]:
        """Acknowledged ids that the application at ``address`` does not have."""
        connection = http.client.HTTPConnection(address.host, address.port, timeout=30)
        try:
            status, ids = self.ask(connection, "GET", "/notes")
        finally:
            connection.close()
        assert status == 200
        assert isinstance(ids, list)
        return self.acknowledged - set(ids)
