"""What a statement in the binary log means for one database."""

from __future__ import annotations

import re
from typing import Literal

from crossfade.drivers.databases.mysql.binlog import Query

__all__ = ["concerns", "first_words", "judge", "truncated"]

Kind = Literal["harmless", "savepoint", "rows", "truncate", "schema"]

_COMMENTS = re.compile(r"^(?:\s|/\*(?!!|M!).*?\*/|--\s[^\n]*\n|#[^\n]*(?:\n|$))+", re.S)
_HARMLESS = re.compile(
    r"(?:analyze|optimize|repair|check|checksum|flush|grant|revoke|set(?!\s+statement\b)"
    r"|(?:create(?:\s+or\s+replace)?|alter|drop|rename)\s+(?:user|role)"
    r"|(?:create(?:\s+or\s+replace)?|drop)\s+(?:/\*.*?\*/\s*)?temporary"
    r"|drop\s+/\*!\d+\s*temporary)\b",
    re.I | re.S,
)
_SAVEPOINT = re.compile(r"(?:savepoint|release\s+savepoint|rollback\s+(?:work\s+)?to)\b", re.I)
_ROWS = re.compile(r"(?:insert|update|delete|replace|load|with|call|do|select)\b", re.I)
_NAME = r"(?:`(?:[^`]|``)+`|\"(?:[^\"]|\"\")+\"|[^\s.`\";]+)"
_TRUNCATE = re.compile(
    rf"truncate\s+(?:table\s+)?(?:(?P<database>{_NAME})\s*\.\s*)?(?P<table>{_NAME})"
    r"\s*(?:wait\s+\d+|nowait)?\s*(?:/\*.*\*/)?\s*;?\s*$",
    re.I | re.S,
)


def judge(statement: str) -> Kind:
    """Of which kind a statement is; ``schema`` when in doubt."""
    words = _COMMENTS.sub("", statement)
    if not words or _HARMLESS.match(words):
        return "harmless"
    if _SAVEPOINT.match(words):
        return "savepoint"
    if _ROWS.match(words):
        return "rows"
    return "truncate" if re.match(r"truncate\b", words, re.I) else "schema"


def concerns(event: Query, database: str) -> bool:
    """Whether it may change something in ``database``: run in it, or naming it."""
    return event.database == database or database.casefold() in event.statement.casefold()


def truncated(event: Query, database: str) -> str | None:
    """The table of ``database`` that a TRUNCATE empties; "" for another database's; None when that
    cannot be told."""
    match = _TRUNCATE.match(_COMMENTS.sub("", event.statement))
    if match is None:
        return None
    within = _unquoted(match["database"]) if match["database"] else event.database
    return _unquoted(match["table"]) if within == database else ""


def first_words(statement: str) -> str:
    """What may be shown of a statement: it can have values, so only its beginning."""
    return " ".join(_COMMENTS.sub("", statement).split()[:3])


def _unquoted(name: str) -> str:
    if name[0] in '`"':
        return name[1:-1].replace(name[0] * 2, name[0])
    return name
