"""Find an interpreter of Python, and uv, on any host."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from crossfade.drivers.installs._deeds import is_here, shell, where
from crossfade.errors import Failed
from crossfade.ports import Host

__all__ = ["FIND", "Tools", "find_tools", "tools_of", "uv_program"]

# $1: uv, or nothing: then the one on PATH.  $2: the version, such as 3 or 3.11.
# Answers with: uv, the interpreter, and whether that makes environments with pip.
FIND: Final = """
u=${1:-$(command -v uv)}
for p in "$(command -v "python$2")" "$([ -z "$u" ] || "$u" python find --quiet --system \
--no-python-downloads "$2" 2>/dev/null)"; do
    [ -n "$p" ] || continue
    pip=$("$p" -c 'import sys
from importlib.util import find_spec as f
print("%d.%d" % sys.version_info[:2], bool(f("venv") and f("ensurepip")))' 2>/dev/null) || continue
    case ${pip% *}. in "$2".*) ;; *) continue ;; esac
    printf '%s\\n' "$u" "$p" "${pip#* }"
    exit
done
printf '%s\\n' "$u" '' ''
"""


@dataclass(frozen=True, slots=True)
class Tools:
    """Paths on the host; uv is empty where there is none."""

    uv: str
    python: str


def uv_program() -> str:
    """The uv that came with us, or the one on PATH."""
    beside = Path(sys.executable).with_name("uv")
    return str(beside) if beside.exists() else shutil.which("uv") or "uv"


def find_tools(host: Host, version: str) -> Tools:
    """uv and an interpreter of this version; without a version our own here, python3 there.

    Raises Failed(python-missing): there is none, or it cannot make environments and uv is missing.
    """
    ours = uv_program() if is_here(host) else ""
    if ours and not version:
        return Tools(ours, getattr(sys, "_base_executable", sys.executable))
    answer = shell(host, FIND, ours, version or "3").decode()
    return tools_of(host, version, answer)


def tools_of(host: Host, version: str, answer: str) -> Tools:
    """What the host answered to ``FIND``.  Raises Failed(python-missing)."""
    uv, python, makes = answer.splitlines()
    name = f"python{version or '3'}"
    if not python:
        what = f"There is no {name} that works on the machine that gets the new version."
        raise _missing(host, what, name)
    if not uv and makes != "True":
        what = f"{name} has no venv and no pip, and there is no uv."
        raise _missing(host, what, name)
    return Tools(uv, python)


def _missing(host: Host, what: str, name: str) -> Failed:
    fix = f"apt-get install {name} {name}-venv"
    return Failed("python-missing", what, where=where(host, name), next=fix)
