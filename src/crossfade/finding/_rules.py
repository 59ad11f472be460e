"""What is left out by rule, and what a path tells of itself."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Final

from crossfade.finding._inventory import Kind

__all__ = [
    "BACKUP",
    "GENERATED",
    "HASHED",
    "LONG",
    "PRUNED",
    "below",
    "classified",
    "configures",
    "deep",
    "pruned",
]

HASHED: Final = 256 * 1024 * 1024
"""Files above this size, in bytes, are not compared."""

LONG: Final = 4000
"""Lines above this length, in characters, are searched for whole paths only."""

PRUNED: Final = (
    *("logs", "log", "temp", "tmp", "work", "cache", ".cache", "__pycache__"),
    *(".git", ".svn", ".hg", "lost+found", ".npm", ".m2", ".gradle", "media_store"),
)
"""Directories that are not looked into, unless the stock has files in one of that name."""

BACKUP: Final = re.compile(
    r"(~|\.(bak|backup|old|orig|save|swp|rej|rpmnew|rpmsave|dpkg-(old|new|dist|bak)|ucf-\w+)"
    r"|\.(bak|old|orig)[._-]?\d*|[._-]\d{8}|\.\d{4}-\d\d-\d\d)\Z"
)
"""Names of copies that people and packages keep."""

GENERATED: Final = frozenset(
    {
        *("/etc/mysql/debian.cnf", "/etc/mysql/FROZEN", "/etc/.pwd.lock", "/etc/ld.so.cache"),
        *("/etc/mtab", "/etc/machine-id", "/etc/passwd", "/etc/group", "/etc/shadow"),
        *("/etc/gshadow", "/etc/subuid", "/etc/subgid", "/etc/passwd-", "/etc/group-"),
        *("/etc/shadow-", "/etc/gshadow-", "/etc/subuid-", "/etc/subgid-"),
        *("/etc/security/opasswd", "/etc/sudoers.d/README", "/etc/resolv.conf", "/etc/hostname"),
    }
)
"""Files that the system makes for itself, which no package owns."""

_SUFFIX: Final = re.compile(
    r"\.(conf|cnf|cfg|config|ini|ya?ml|toml|json|xml|properties|env|groovy|rules|policy|list|auth"
    r"|service|socket|timer|sh|pem|key|crt|cer|jks|p12|pfx|keystore|truststore|htpasswd|token"
    r"|secret)"
)
_NAMES: Final = re.compile(r"\.env(\.[\w-]+)?|Caddyfile|setenv|[\w-]*(config|settings)[\w.-]*")
_NEVER: Final = re.compile(
    r"\.(bash|zsh|sh|mysql|psql|lesshst|python|node_repl|sqlite|rediscli)_?(history|hst)|\.lesshst"
    r"|.*\.(log|pid|lock|sock|db|sqlite3?|db-wal|db-shm|pyc)|\.viminfo|\.Xauthority"
    r"|\.bash_logout|\.bashrc|\.profile"
)

_PLACES: Final = (
    (r"/etc/(nginx|apache2|httpd|haproxy|caddy|traefik|lighttpd)/", "proxy", Kind.ADDED),
    (r"/etc/cron|/var/spool/cron|/etc/anacrontab|.*\.timer\Z", "jobs", Kind.PERIPHERY),
    (r"/(etc|run|lib|usr/lib|usr/local/lib)/systemd/system/", "unit", Kind.ADDED),
    (r"/etc/(mysql|my\.cnf|postgresql)", "database", Kind.ADDED),
    (r"/etc/(default|sysconfig|conf\.d)/", "unit", Kind.ADDED),
    (r"/etc/(logrotate|rsyslog)", "logs", Kind.PERIPHERY),
    (r"/etc/(fail2ban|ufw|nftables|iptables|sudoers|security|firewalld)", "guards", Kind.PERIPHERY),
    (r"/etc/letsencrypt/", "certificates", Kind.PERIPHERY),
    (r"/", "system", Kind.PERIPHERY),
)


def classified(path: str) -> tuple[str, Kind]:
    """Component and kind of a file of the system, by its place."""
    for pattern, component, kind in _PLACES:
        if re.match(pattern, path):
            return component, kind
    return "system", Kind.PERIPHERY


def configures(path: str) -> bool:
    """Whether a file looks by its name as if a program read its settings from it."""
    name = posixpath.basename(path)
    if _NEVER.fullmatch(name) or BACKUP.search(name):
        return False
    return bool(_SUFFIX.fullmatch(PurePosixPath(name).suffix) or _NAMES.fullmatch(name))


def below(path: str, roots: Iterable[str]) -> str | None:
    """The longest of the roots that ``path`` is, or is below of."""
    fitting = [root for root in roots if path == root or path.startswith(f"{root.rstrip('/')}/")]
    return max(fitting, key=len, default=None)


def deep(path: str) -> bool:
    """Whether a directory is somebody's own: not the root's, nor one that a system always has."""
    path = posixpath.normpath(path)
    return path.count("/") >= 2 and not re.fullmatch(
        r"/(usr|var)/(bin|sbin|lib\w*|local|share|include|log|cache|spool|tmp|run|lock|mail|www)"
        r"|/usr/(local|share)/(bin|sbin|lib|etc|share|java|doc)|/var/lib/\w*dpkg.*|/usr/lib/jvm"
        r"|/etc/(nginx|apache2|systemd|systemd/system|ssl|ssl/certs|ssl/private|mysql|default)"
        r"|/(dev|proc|sys|run|tmp|lib\w*)/.*|/var/log/.*|/var/run/.*|/var/cache/.*",
        path,
    )


def pruned(names: Iterable[str], paths: Iterable[str]) -> str:
    """An extended regular expression for directories of these names, anywhere, and these paths."""
    named = "|".join(re.escape(name) for name in sorted(names))
    whole = "|".join(re.escape(path) for path in sorted(paths))
    return "|".join(filter(None, (f".*/({named})" if named else "", whole))) or "$^"
