"""TLS of the built-in gate: tried before it starts, and told to it."""

from __future__ import annotations

from crossfade.errors import Refused
from crossfade.gateway.tls import TlsError, leaf_of, loaded, peer_of
from crossfade.manifest import TlsSpec
from crossfade.model import Address

__all__ = ["as_words", "must_be_served", "must_be_usable"]


def must_be_usable(tls: TlsSpec) -> None:
    """Certificate, key and authorities can be used.  Raises Refused, with the gate's own codes."""
    try:
        loaded(tls.certificate, tls.key)
        peer_of(leaf_of(tls.certificate), tls.trust, tls.name)
    except TlsError as error:
        raise Refused(
            error.code,
            f"The gate cannot speak TLS: {error.what}.",
            where="traffic.tls",
            next="edit crossfade.yaml   (or mend the file)",
        ) from None


def must_be_served(tls: TlsSpec | None, served: str | None, listen: Address) -> None:
    """A gate that runs speaks TLS as the manifest says.  Raises Refused(gate-other-tls)."""
    wanted = str(tls.certificate) if tls else None
    if served != wanted:
        raise Refused(
            "gate-other-tls",
            f"The gate at {listen} runs with {served or 'no certificate'}, and the manifest says"
            f" {wanted or 'no TLS'}.",
            where="traffic.tls",
            next="crossfade gate stop   (when nobody uses it; then: crossfade gate start)",
        )


def as_words(tls: TlsSpec) -> list[str]:
    """The same for the gate's command line."""
    words = ["--certificate", str(tls.certificate), "--key", str(tls.key)]
    for side in tls.sides:
        words += ["--ask-by-tls", side.value]
    if tls.trust:
        words += ["--trust", str(tls.trust)]
    return [*words, "--name", tls.name] if tls.name else words
