"""Certificates of a test's own."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

__all__ = ["Pair", "pair"]

_PEM = serialization.Encoding.PEM


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, in files."""

    certificate: Path
    key: Path


def pair(
    directory: Path, *, name: str = "notes.example.org", days: float = 30, password: bytes = b""
) -> Pair:
    """A certificate that vouches for itself, for so many days from now (below zero: expired)."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=60))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    hidden: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password:
        hidden = serialization.BestAvailableEncryption(password)
    directory.mkdir(parents=True, exist_ok=True)
    found = Pair(directory / "tls.crt", directory / "tls.key")
    text = key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, hidden)
    for path, data in ((found.certificate, made.public_bytes(_PEM)), (found.key, text)):
        part = path.with_suffix(".part")
        part.write_bytes(data)
        part.replace(path)
    return found
