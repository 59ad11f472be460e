"""One HTTP connection of the demo's clients."""

from __future__ import annotations

import http.client
import json
import select
from typing import Any

from crossfade.model import Address

__all__ = ["Connection", "WrongAnswer"]


class WrongAnswer(Exception):
    """An answer that is not 200, or that says something else than was written."""


class Connection:
    """One keep-alive connection to a server.  Not for several threads at once."""

    def __init__(self, address: Address, timeout: float = 300.0) -> None:
        self._http = http.client.HTTPConnection(address.host, address.port, timeout=timeout)
        self.answers = 0

    def call(
        self, method: str, path: str, body: object = None, token: str = "", raw: bytes | None = None
    ) -> bytes:
        """One request; the body of its answer.  Raises WrongAnswer, OSError or HTTPException."""
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "text/plain" if raw is not None else "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self._http.request(method, path, data, headers)
        answer = self._http.getresponse()
        text = answer.read()
        self.answers += 1
        if answer.status != 200:
            said = text[:100].decode("utf-8", "replace")
            raise WrongAnswer(f"{method} {path.partition('?')[0]}: {answer.status} {said}")
        return text

    def json(self, method: str, path: str, body: object = None, token: str = "") -> dict[str, Any]:
        """The same, with a JSON object as answer."""
        found = json.loads(self.call(method, path, body, token))
        if not isinstance(found, dict):
            raise WrongAnswer(f"{method} {path}: not an object")
        return found

    @property
    def dropped(self) -> bool:
        """Whether the server has closed it meanwhile, as whoever keeps connections asks first."""
        sock = self._http.sock
        return sock is None or bool(select.select((sock,), (), (), 0)[0])

    def close(self) -> None:
        """Close it; a broken one too."""
        self._http.close()
