"""The ``http`` check: ask a running application one question and look at the answer."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field

from crossfade.gateway.tls import TlsError, leaf_of, peer_of
from crossfade.manifest import TlsSpec
from crossfade.model import Address, Finding

__all__ = ["HttpCheck", "HttpQuestion"]

_LIMIT = 1 << 20


@dataclass(frozen=True, slots=True)
class HttpQuestion:
    """What to ask and to expect: GET path; the status; a text that the body contains; the value at
    a dotted path of the JSON body (it must be there and, when ``compares``, equal ``equals``).
    Without that path it is the whole body that must, white space around it aside.
    headers may hold secrets: they are never shown.  timeout is in seconds.
    """

    path: str
    status: int = 200
    contains: str = ""
    json: str = ""
    compares: bool = False
    equals: object = None
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 10.0

    @property
    def expected(self) -> str:
        """The expectation in words."""
        words = [f"status {self.status}"]
        if self.contains:
            words.append(f"contains {self.contains!r}")
        if self.json:
            words.append(f"{self.json} = {self.equals}" if self.compares else f"has {self.json}")
        elif self.compares:
            words.append(f"is {str(self.equals)!r}")
        return ", ".join(words)


class HttpCheck:
    """One question to one address; with ``tls`` by HTTPS."""

    def __init__(
        self, name: str, address: Address, question: HttpQuestion, tls: TlsSpec | None = None
    ) -> None:
        self.name = name
        self.address = address
        self.question = question
        self._tls = tls

    def asking(self, question: HttpQuestion) -> HttpCheck:
        """Another question of this name to the same address."""
        return HttpCheck(self.name, self.address, question, self._tls)

    def run(self) -> Finding:
        """Ask once.  An application that does not answer makes a finding that does not hold."""
        ask = self.question
        source = f"GET {self.address}{ask.path.partition('?')[0]}"
        try:
            connection = http.client.HTTPConnection(
                self.address.host, self.address.port, timeout=ask.timeout
            )
            if self._tls:
                connection.sock = _secured(self._tls, self.address, ask.timeout)
            try:
                connection.request("GET", ask.path, headers=dict(ask.headers))
                answer = connection.getresponse()
                body = answer.read(_LIMIT)
            finally:
                connection.close()
        except (OSError, http.client.HTTPException, TlsError) as error:
            seen = f"no answer: {error.__class__.__name__}"
            seen += f" ({error.what})" if isinstance(error, TlsError) else ""
            return Finding(self.name, ask.expected, seen, source, holds=False)
        observed = [f"status {answer.status}"]
        holds = answer.status == ask.status
        if ask.contains:
            there = ask.contains in body.decode("utf-8", "replace")
            observed.append(f"{'contains' if there else 'lacks'} {ask.contains!r}")
            holds = holds and there
        if ask.compares and not ask.json:
            text = body.decode("utf-8", "replace").strip()
            observed.append(f"is {text[:80]!r}")
            holds = holds and text == str(ask.equals)
        if ask.json:
            found, value = _at(body, ask.json)
            observed.append(f"{ask.json} = {str(value)[:80]}" if found else f"no {ask.json}")
            holds = holds and found and (not ask.compares or ask.equals == value)
        return Finding(self.name, ask.expected, ", ".join(observed), source, holds)


def _secured(tls: TlsSpec, address: Address, timeout: float) -> socket.socket:
    """A connection by TLS to a side that has the certificate that it should have.  Raises OSError,
    TlsError."""
    peer = peer_of(leaf_of(tls.certificate), tls.trust, tls.name)
    plain = socket.create_connection((address.host, address.port), timeout)
    try:
        made = peer.context.wrap_socket(plain, server_hostname=peer.name or address.host)
        if not peer.accepts(made.getpeercert(binary_form=True)):
            made.close()
            raise TlsError("tls-stranger", "it has another certificate than traffic.tls names")
    except BaseException:
        plain.close()
        raise
    return made


def _at(body: bytes, path: str) -> tuple[bool, object]:
    """Whether there is a value at a dotted path (names and list indexes) of a JSON text; and it."""
    try:
        value = json.loads(body)
        for part in path.split("."):
            value = value[int(part)] if isinstance(value, list) else value[part]
    except (ValueError, KeyError, IndexError, TypeError):
        return False, None
    return True, value
