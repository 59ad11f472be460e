"""What stands of a side on its machine, for the report."""

from crossfade.errors import Failed
from crossfade.ports import Parts

__all__ = ["stands"]


def stands(parts: Parts) -> list[str]:
    """Program, configuration and data where they are there, its databases on servers, the machine
    if one was made for it, and what was made so that it runs, in words.  Never raises: the switch
    is over, and this only tells."""
    there, host = parts.installation, parts.host
    places = {there.root: "program", there.config: "configuration", there.data: "data"}
    try:
        found = [
            f"{what} {path} on {host.name}" for path, what in places.items() if host.exists(path)
        ]
        found += [f"database {endpoint}" for endpoint in there.databases.values()]
        found += [f"machine {parts.machine.name}"] if parts.machine else []
        found += [f"job {job} on {host.name}" for job in parts.jobs.known()]
        return [*found, *parts.service.stands()]
    except Failed as failed:
        return [f"the {there.side} side on {host.name}, as far as it stands: {failed.what}"]
