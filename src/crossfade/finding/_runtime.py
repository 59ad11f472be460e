"""The running program: its arguments, environment, open files, ports, and its systemd unit."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from crossfade.finding._book import Book
from crossfade.finding._far import Far, as_text
from crossfade.finding._inventory import Kind
from crossfade.finding._values import Masks
from crossfade.model import Address
from crossfade.ports import Host

__all__ = [
    "Process",
    "Unit",
    "home_of",
    "processes",
    "unit",
    "units_of",
    "usual",
    "write_process",
]

# Each answer: a word, and its value in base64, for it may hold anything.
_PROCESS: Final = r"""
LC_ALL=C; export LC_ALL
say() { printf '%s\0' "$1"; base64 -w0; printf '\0'; }
unit=$1; shift
if [ -n "$unit" ] && command -v systemctl >/dev/null; then
    set -- "$@" $(systemctl show -p MainPID --value -- "$unit" 2>/dev/null | grep -v '^0$')
fi
for pid; do
    [ -d "/proc/$pid" ] || continue
    printf '%s' "$pid" | say pid
    cat "/proc/$pid/cmdline" 2>/dev/null | say cmdline
    if (: <"/proc/$pid/environ") 2>/dev/null; then
        cat "/proc/$pid/environ" 2>/dev/null | say environ
    fi
    readlink -n "/proc/$pid/exe" 2>/dev/null | say exe
    readlink -n "/proc/$pid/cwd" 2>/dev/null | say cwd
    cat "/proc/$pid/cgroup" 2>/dev/null | say cgroup
    uid=$(sed -n 's/^Uid:[[:space:]]*\([0-9]*\).*/\1/p' "/proc/$pid/status" 2>/dev/null)
    getent passwd "$uid" 2>/dev/null | say account
    find "/proc/$pid/fd" -type l -printf '%l\0' 2>/dev/null | say open
    grep -h ' 0A ' "/proc/$pid/net/tcp" "/proc/$pid/net/tcp6" 2>/dev/null | say tcp
done
printf 'end\0'
"""
_UNITS_OF: Final = r"""
LC_ALL=C; export LC_ALL
for d in /etc/systemd/system /run/systemd/system /usr/local/lib/systemd/system \
    /lib/systemd/system /usr/lib/systemd/system; do
    grep -lsF -e "$1" -- "$d"/*.service | while IFS= read -r unit; do
        grep -qis '^[[:space:]]*Type[[:space:]]*=[[:space:]]*oneshot' "$unit" ||
            printf '%s\0' "${unit##*/}"
    done
done
printf 'end\0'
"""
_ACCOUNT: Final = """
getent passwd "$1" | tr '\\n' '\\0'
"""
_UNIT: Final = r"""
LC_ALL=C; export LC_ALL
name=$1
template=$(printf '%s' "$name" | sed 's/@.*\./@./')
for d in /etc/systemd/system /run/systemd/system /usr/local/lib/systemd/system \
    /lib/systemd/system /usr/lib/systemd/system; do
    [ -h "${d%/systemd/system}" ] && continue
    for n in "$name" "$template"; do
        [ ! -f "$d/$n" ] || printf 'file\0%s\0' "$d/$n"
        [ ! -d "$d/$n.d" ] || find "$d/$n.d" -name '*.conf' -printf 'drop-in\0%p\0' 2>/dev/null
        [ "$template" != "$name" ] || break
    done
done
command -v systemctl >/dev/null &&
    systemctl show -p FragmentPath -p DropInPaths -p User -- "$name" 2>/dev/null |
    while IFS= read -r line; do printf 'show\0%s\0' "$line"; done
printf 'end\0'
"""
_USUAL: Final = re.compile(
    r"PATH|LANG|LANGUAGE|HOME|USER|LOGNAME|SHELL|PWD|OLDPWD|SHLVL|_|TERM|MAIL|HOSTNAME"
    r"|INVOCATION_ID|JOURNAL_STREAM|SYSTEMD_EXEC_PID|MANAGERPID|NOTIFY_SOCKET|WATCHDOG_\w+"
    r"|MEMORY_PRESSURE_\w+|LISTEN_\w+|MAINPID|DBUS_SESSION_BUS_ADDRESS|(LC|SUDO|XDG)_\w+"
    r"|(STATE|RUNTIME|CACHE|LOGS|CONFIGURATION|CREDENTIALS)_DIRECTORY"
)
"""Variables that shells and systemd give to everything."""


def usual(name: str) -> bool:
    """Whether shells or systemd give a variable of this name to everything."""
    return bool(_USUAL.fullmatch(name))


@dataclass(frozen=True, slots=True)
class Process:
    """A process as /proc shows it.  ports are the TCP ports at which it listens.  environment is
    None when our account may not read it."""

    pid: int
    argv: tuple[str, ...]
    environment: Mapping[str, str] | None
    exe: str
    cwd: str
    unit: str
    account: str
    home: str
    uid: int | None
    open: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()


@dataclass
class Unit:
    """A systemd unit: its file, vendor's files of the same name, drop-ins, files for its
    environment."""

    name: str
    file: str = ""
    masked: list[str] = field(default_factory=list)
    drop_ins: list[str] = field(default_factory=list)
    account: str = ""
    shown: bool = False


def processes(
    host: Host, far: Far, book: Book, address: Address, unit_name: str, pid: int | None
) -> list[Process]:
    """The process of this id, or else the one that listens at the address, or the unit's main
    one."""
    asked = [pid] if pid else []
    listening = "" if pid else host.listener(address) or ""
    asked += [int(one) for one in re.findall(r"pid (\d+)", listening)]
    words = list(far.stream(_PROCESS, unit_name, *dict.fromkeys(map(str, asked))))
    found: list[dict[str, bytes]] = []
    for key, value in zip(words[::2], words[1::2], strict=False):
        if key == b"pid":
            found.append({})
        found[-1][key.decode("ascii")] = base64.b64decode(value)
    if not found:
        said = "somebody listens there, but it cannot be seen who" if listening else "nothing runs"
        book.trouble("runtime", f"{said} at {address.host}:{address.port}")
    unique = {int(one["pid"]): one for one in found}
    read = [_process(pid, one) for pid, one in unique.items()]
    for one in read:
        if one.environment is None:
            book.unreadable.add(f"/proc/{one.pid}/environ")
            book.trouble("runtime", f"the environment of pid {one.pid} cannot be read")
        if not one.exe:
            book.unreadable.add(f"/proc/{one.pid}/fd")
            book.trouble("runtime", f"what pid {one.pid} has open cannot be seen")
    return read


def _process(pid: int, raw: Mapping[str, bytes]) -> Process:
    pairs = [as_text(one).partition("=") for one in raw.get("environ", b"").split(b"\0") if one]
    group = re.findall(r"/([^/\n]+\.service)", as_text(raw.get("cgroup", b"")))
    passwd = (as_text(raw.get("account", b"")).strip().split(":") + [""] * 7)[:7]
    opened = [as_text(one) for one in raw.get("open", b"").split(b"\0")]
    inodes = {match[1] for one in opened if (match := re.fullmatch(r"socket:\[(\d+)\]", one))}
    argv = raw.get("cmdline", b"").split(b"\0")[:-1]
    return Process(
        pid=pid,
        argv=tuple(as_text(one) for one in argv),
        environment={name: value for name, _, value in pairs} if "environ" in raw else None,
        exe=as_text(raw.get("exe", b"")),
        cwd=as_text(raw.get("cwd", b"")),
        unit=group[-1] if group else "",
        account=passwd[0],
        home=passwd[5],
        uid=int(passwd[2]) if passwd[2].isdigit() else None,
        open=tuple(one for one in opened if one.startswith("/") and not one.startswith("/dev/")),
        ports=tuple(sorted(_ports(raw.get("tcp", b"").decode("ascii", "replace"), inodes))),
    )


def _ports(tables: str, inodes: set[str]) -> set[int]:
    """The ports at which one of these sockets listens, from the kernel's tables."""
    rows = [line.split() for line in tables.splitlines()]
    return {
        int(row[1].rpartition(":")[2], 16)
        for row in rows
        if len(row) > 9 and row[3] == "0A" and row[9] in inodes
    }


def units_of(far: Far, place: str) -> list[str]:
    """Units whose files name a directory, but for those that run once."""
    return list(dict.fromkeys(as_text(word) for word in far.ask(_UNITS_OF, place)[:-1]))


def home_of(far: Far, account: str) -> tuple[str, int | None]:
    """An account's home and id, or nothing."""
    words = far.ask(_ACCOUNT, account)
    fields = (as_text(words[0]).split(":") + [""] * 7)[:7] if words else [""] * 7
    return fields[5], int(fields[2]) if fields[2].isdigit() else None


def unit(far: Far, name: str) -> Unit:
    """What belongs to a unit of this name, as files and as systemd says, where that runs."""
    found = Unit(name)
    files = []
    words = [as_text(word) for word in far.ask(_UNIT, name)]
    for kind, value in zip(words[::2], words[1::2], strict=False):
        if kind == "file":
            files.append(value)
        elif kind == "drop-in":
            found.drop_ins.append(value)
        elif kind == "show":
            key, _, text = value.partition("=")
            if key == "FragmentPath" and text:
                found.shown = True
                files.insert(0, text)
            elif key == "DropInPaths":
                found.drop_ins += text.split()
            elif key == "User":
                found.account = text
    files = _unique(files)
    found.drop_ins = _unique(found.drop_ins)
    found.file, found.masked = (files[0], files[1:]) if files else ("", [])
    return found


def _unique(paths: Iterable[str]) -> list[str]:
    """Without those that are another name for one, as /lib is for /usr/lib."""
    return list({path.removeprefix("/usr"): path for path in paths}.values())


def write_process(book: Book, one: Process, masks: Masks, own: Iterable[str]) -> None:
    """Write down what a process has that no unchanged script of the program (``own``, their texts)
    gives it."""
    texts = list(own)
    for name, value in (one.environment or {}).items():
        if usual(name):
            continue
        shown, fingerprint = masks.of(name, value)
        detail = f"in the environment of pid {one.pid}"
        book.note(
            name, Kind.ENVIRONMENT, "app", "runtime", detail, shown=shown, fingerprint=fingerprint
        )
    for name, value in _arguments(one.argv):
        if any(_given(text, name, value) for text in texts):
            continue
        shown, fingerprint = masks.of(name, value)
        detail = f"an argument of pid {one.pid}"
        told = masks.name(name)
        book.note(
            told, Kind.ARGUMENT, "app", "runtime", detail, shown=shown, fingerprint=fingerprint
        )


def _given(text: str, name: str, value: str) -> bool:
    """Whether a script passes such an argument by itself."""
    word = value if name.startswith("argument ") else name
    return len(word) > 3 and bool(re.search(rf"(?<![\w.-]){re.escape(word)}(?![\w.-])", text))


def _arguments(argv: tuple[str, ...]) -> list[tuple[str, str]]:
    """Arguments by name: ``-Dx=y``, ``--x y``, ``-Xmx1g``, and the rest by their number."""
    found: list[tuple[str, str]] = []
    for number, word in enumerate(argv[1:], 1):
        if word.startswith("-") and "=" in word:
            name, _, value = word.partition("=")
            found.append((name, value))
        elif sized := re.fullmatch(r"(-X(?:m[snx]|ss))(\d+[kmgt]?)", word, re.IGNORECASE):
            found.append((sized[1], sized[2]))
        elif word.startswith("-"):
            found.append((word, ""))
        elif found and found[-1][0].startswith("-") and not found[-1][1] and "=" not in word:
            found[-1] = (found[-1][0], word)
        else:
            found.append((f"argument {number}", word))
    return found
