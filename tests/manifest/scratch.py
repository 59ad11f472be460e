"""A whole manifest to vary, and a way to load one and get its complaints."""

from __future__ import annotations

from pathlib import Path

import pytest

from crossfade.errors import UsageError
from crossfade.manifest import load

MANIFEST = """\
application: synapse
state: state
old:
  version: 1.10
  host: local
  root: app-old
  data: data
  config: etc
  address: 127.0.0.1:8001
  service:
    environment: {LANG: C, SMTP_PASSWORD: "file:smtp"}
    pid_file: data/app.pid
new:
  version: 2.0
  root: app-new
  data: data-new
  config: etc-new
  address: 127.0.0.1:8002
  rehearsal:
    address: 127.0.0.1:8003
traffic:
  listen: 127.0.0.1:8000
limits:
  max_pause: 12.5
checks:
  - {name: a page, path: /x, json: a.b.0.c, equals: 1, headers: {Authorization: "env:TOKEN"}}
  - {name: a script, command: [./check.sh, "{address}"], timeout: 3}
"""


def write(directory: Path, text: str) -> Path:
    """The manifest's path, with this text in it."""
    path = directory / "crossfade.yaml"
    path.write_text(text)
    return path


def complaints(directory: Path, text: str) -> UsageError:
    """The error that a manifest of this text gives."""
    with pytest.raises(UsageError) as caught:
        load(write(directory, text))
    return caught.value


def changed(old: str, new: str) -> str:
    """The manifest with one piece replaced, which must be there once."""
    assert MANIFEST.count(old) == 1, old
    return MANIFEST.replace(old, new)
