"""How the reverse feed does, in one sentence: asked of both servers."""

from __future__ import annotations

from crossfade.drivers.databases.mysql.apply import standing
from crossfade.drivers.databases.mysql.base_copy import session_of
from crossfade.drivers.databases.mysql.binlog import Position, current_position
from crossfade.drivers.databases.mysql.connect import explained, fetch, ident
from crossfade.drivers.databases.mysql.feed import Names
from crossfade.errors import Failed
from crossfade.model import Endpoint
from crossfade.ports import WayBack

__all__ = ["look"]


def look(
    name: str,
    old: Endpoint,
    new: Endpoint,
    names: Names,
    since: Position,
    *,
    trouble: str,
    runs: bool,
) -> WayBack:
    """What going back would cost.  A server that is away is an answer, not an error.

    since is where following begins; trouble is why the process gave up, and runs whether it runs.
    """
    prefix = f"database {name}: "
    try:
        with explained("look at the reverse feed", old), session_of(old) as conn:
            begun = bool(standing(conn, names.back))
            if begun:
                query = f"select file, `byte` from {ident(names.back)}.place"  # noqa: S608
                since = Position.of(*fetch(conn, query)[0])
    except Failed as error:
        return WayBack(False, prefix + f"the old side does not answer: {error.what}")
    try:
        with explained("look at the reverse feed", new), session_of(new) as conn:
            now = current_position(conn)
            logs = {str(row[0]): int(row[1]) for row in fetch(conn, "show binary logs")}
    except Failed as error:
        return WayBack(False, prefix + f"the new side does not answer: {error.what}")
    if now is None or since.file not in logs:
        return WayBack(False, prefix + "the new server has removed changes that were not brought")
    if trouble:
        return WayBack(False, prefix + f"the reverse feed stopped: {trouble}")
    kept = f"{_between(since, now, logs)} bytes of changes wait on the new server"
    if not begun:
        return WayBack(True, prefix + f"the reverse feed was not started yet; {kept}")
    if not runs:
        return WayBack(
            True,
            prefix + f"the reverse feed's process does not run; going back applies them: {kept}",
        )
    return WayBack(True, prefix + f"a reverse feed brings every write to the old side; {kept}")


def _between(since: Position, now: Position, logs: dict[str, int]) -> int:
    if since.file == now.file:
        return max(0, now.offset - since.offset)
    between = [
        size
        for file, size in logs.items()
        if since.number < Position.of(file, 0).number < now.number
    ]
    return logs[since.file] - since.offset + sum(between) + now.offset
