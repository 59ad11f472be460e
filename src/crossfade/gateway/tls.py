"""TLS at the gate: the application's own certificate for clients, and whom the gate trusts at the
sides.

The files may be renewed at any time: they are read again when they have changed, and new
connections get the new certificate; one that cannot be used is told, and the one before stays.
"""

from __future__ import annotations

import logging
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from crossfade.model import Side

__all__ = ["Peer", "Served", "Tls", "TlsError", "leaf_of", "loaded", "peer_of"]

_log = logging.getLogger("crossfade.gateway")
_FIRST = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_TOO_LATE, _TOO_EARLY = 10, 9  # X509_V_ERR_CERT_HAS_EXPIRED, X509_V_ERR_CERT_NOT_YET_VALID
_BIO = 1 << 16


class TlsError(Exception):
    """A certificate or a key that cannot be used: a stable code, and one sentence."""

    def __init__(self, code: str, what: str) -> None:
        super().__init__(what)
        self.code = code
        self.what = what


class _Encrypted(Exception):
    """OpenSSL asks for a password."""


@dataclass(frozen=True, slots=True)
class Served:
    """What clients get: a context with certificate and key; the certificate itself (DER)."""

    context: ssl.SSLContext
    leaf: bytes


def loaded(certificate: Path, key: Path) -> Served:
    """Read and try both.  Raises TlsError."""
    leaf = _leaf(certificate)
    _read(key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except _Encrypted:
        what = f"the key {key} is encrypted, and nobody is there to be asked for its password"
        raise TlsError("tls-key-encrypted", what) from None
    except ssl.SSLError as error:
        if error.reason and "MISMATCH" in error.reason:
            what = f"the key {key} does not belong to the certificate {certificate}"
            raise TlsError("tls-key-mismatch", what) from None
        what = f"{certificate} and {key} cannot be used: {error.reason or error}"
        raise TlsError("tls-certificate-invalid", what) from None
    except OSError as error:  # gone since
        raise TlsError("tls-unreadable", f"{error.filename}: {error.strerror}") from None
    _try(context, leaf, certificate)
    return Served(context, ssl.PEM_cert_to_DER_cert(leaf))


def leaf_of(certificate: Path) -> bytes:
    """The certificate itself (DER), the first one of the file.  Raises TlsError."""
    return ssl.PEM_cert_to_DER_cert(_leaf(certificate))


def _leaf(certificate: Path) -> str:
    first = _FIRST.search(_read(certificate))
    if first is None:
        raise TlsError("tls-certificate-invalid", f"there is no certificate in {certificate}")
    return first[0].decode("ascii", "replace")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TlsError("tls-unreadable", f"{path} cannot be read: {error.strerror}") from None


def _no_password() -> str:
    raise _Encrypted


def _try(context: ssl.SSLContext, leaf: str, name: Path) -> None:
    """Shake hands with ourselves: what a client would say of the certificate's dates."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    client.load_verify_locations(cadata=leaf)
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client.wrap_bio(back, there),
        context.wrap_bio(there, back, server_side=True),
    )
    for _ in range(4):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError as error:
                if error.verify_code in (_TOO_LATE, _TOO_EARLY):
                    code = "expired" if error.verify_code == _TOO_LATE else "not valid yet"
                    what = f"the certificate {name} is {code}"
                    raise TlsError("tls-certificate-expired", what) from None
                return  # clients have their own opinion of the rest
            except ssl.SSLError as error:
                what = f"the certificate {name} cannot be used: {error.reason or error}"
                raise TlsError("tls-certificate-invalid", what) from None


@dataclass(slots=True)
class Peer:
    """Whom we trust at a side: the certificates ``leaves`` and no other, or, when there are none,
    whom the context verifies for ``name``."""

    context: ssl.SSLContext
    name: str
    leaves: set[bytes]

    def accepts(self, certificate: bytes | None) -> bool:
        """Whether it is the side that shook hands, by its certificate (DER)."""
        return not self.leaves or certificate in self.leaves


def peer_of(leaf: bytes, trust: Path | None, name: str) -> Peer:
    """With an authority's file: whom it vouches for under this name.  Without: who has the
    certificate ``leaf`` itself.  Raises TlsError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if trust is not None:
        try:
            context.load_verify_locations(trust)
        except OSError as error:  # ssl.SSLError is one
            what = f"{trust} cannot be used: {error.strerror or error}"
            raise TlsError("tls-trust-invalid", what) from None
        return Peer(context, name, set())
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # its bytes are compared after the handshake
    return Peer(context, name, {leaf})


@dataclass(slots=True)
class Tls:
    """TLS of one gate.  sides says which of them are asked by TLS."""

    certificate: Path
    key: Path
    sides: Mapping[Side, bool] = field(default_factory=dict)
    trust: Path | None = None
    name: str = ""
    context: ssl.SSLContext = field(init=False)
    peer: Peer = field(init=False)
    _served: Served = field(init=False)
    _stamps: tuple[object, ...] = field(init=False, default=())
    _told: str = field(init=False, default="")

    def __post_init__(self) -> None:
        """Raises TlsError."""
        self._stamps = self._look()
        self._served = loaded(self.certificate, self.key)
        self.peer = peer_of(self._served.leaf, self.trust, self.name)
        # A listener keeps its context; each handshake is led to the newest one.
        self.context = loaded(self.certificate, self.key).context
        self.context.sni_callback = self._newest

    def _newest(self, end: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        end.context = self._served.context

    def to(self, side: Side) -> Peer | None:
        """How a side is asked; None for plain HTTP."""
        return self.peer if self.sides.get(side) else None

    def refresh(self) -> None:
        """Read the files again if they have changed.  An application that has not done so yet
        shows the certificate of before: that is still trusted."""
        stamps = self._look()
        if stamps == self._stamps:
            return
        try:
            self._served = loaded(self.certificate, self.key)
        except TlsError as error:  # perhaps one file is written, and the other is to come
            if error.what != self._told:
                _log.error("the certificate of before is served on: %s", error.what)
            self._told = error.what
            return
        self._stamps, self._told = stamps, ""
        if self.peer.leaves:
            self.peer.leaves.add(self._served.leaf)
        _log.info("the certificate %s was read again", self.certificate)

    def _look(self) -> tuple[object, ...]:
        found: list[object] = []
        for path in (self.certificate, self.key):
            try:
                at = path.stat()
                found += [at.st_ino, at.st_mtime_ns, at.st_size]
            except OSError:
                found.append(None)
        return tuple(found)
