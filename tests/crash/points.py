"""Every named crash point of an upgrade of the Notes application, for each kind of database.

The tests prove that these lists are what an undisturbed upgrade passes.
"""

from dataclasses import dataclass

__all__ = ["ON_SERVERS", "ON_SQLITE", "Points"]

_STEP = ("before-act", "after-act", "after-record")
_PART = ("before-act", "after-act")


@dataclass(frozen=True)
class Points:
    """The points of a rehearsal, a cutover, a rollback, and of a cutover that goes back."""

    rehearsal: list[str]
    cutover: list[str]
    rollback: list[str]
    going_back: list[str]

    @property
    def uncommitted(self) -> list[str]:
        """The cutover's points before its commit point."""
        return self.cutover[: self.cutover.index("cutover.switch.commit.after-act")]

    @property
    def committed(self) -> list[str]:
        """The cutover's points after its commit point."""
        return self.cutover[len(self.uncommitted) :]


@dataclass(frozen=True)
class _Parts:
    """What a kind of database adds to the steps: the parts that it measures, in their order."""

    backup: tuple[str, ...]
    restore: tuple[str, ...]
    last: tuple[str, ...]
    way_back: tuple[str, ...]
    after_commit: tuple[str, ...]
    bring_back: tuple[str, ...] = ()


_SQLITE = _Parts(
    backup=("copy-main", "verify-main"),
    restore=("place-main", "digest-main"),
    last=("copy-main", "compare-main", "place-main"),
    way_back=(),
    after_commit=("digests",),
)
_POSTGRES = _Parts(
    backup=("feed-main",),
    restore=(
        *("schema-main", "copy-main", "indexes-main", "digest-main", "catch-up-main"),
        *("analyze-main", "first-proof-main"),
    ),
    last=("last-changes-main", "proof-main", "counts-main", "sequences-main", "detach-main"),
    way_back=("way-back-main",),
    after_commit=("reverse-feed-main",),
    bring_back=(
        *("fence-new-main", "last-changes-back-main", "sequences-back-main"),
        *("proof-back-main", "lift-main"),
    ),
)
_MYSQL = _Parts(
    backup=("feed-main",),
    restore=(
        *("tables-main", "copy-main", "digest-main", "definitions-main", "analyze-main"),
        *("catch-up-main", "first-proof-main"),
    ),
    last=("last-changes-main", "proof-main", "sequences-main"),
    way_back=("way-back-main",),
    after_commit=("reverse-feed-main",),
    bring_back=(
        *("fence-new-main", "last-changes-back-main", "proof-back-main"),
        *("sequences-back-main", "lift-main"),
    ),
)


def _points(run: str, steps: dict[str, tuple[str, ...]]) -> list[str]:
    """For each step its own points, and those of its parts (a deed done once has a record)."""
    found = []
    for step, parts in steps.items():
        found.append(f"{run}.{step}.before-act")
        for part in parts:
            whens = _STEP if part.startswith("old-side") else _PART
            found += [f"{run}.{step}.{part}.{when}" for when in whens]
        found += [f"{run}.{step}.{when}" for when in _STEP[1:]]
    return found


def _of(parts: _Parts) -> Points:
    restore = (*parts.restore, "files-uploads", "digest-uploads")
    carry = (*parts.last, "files-uploads", "start", "checks")
    undone = ("sync", "stop", "restore", "backup", "configure", "install")
    rehearsal: dict[str, tuple[str, ...]] = {
        "install": ("install",),
        "configure": (),
        "backup": parts.backup,
        "restore": restore,
        "check": ("prepare", *carry, "stop"),
        "stop": (),
    }
    cutover = {
        "install": (),
        "configure": (),
        "backup": ("keep", *parts.backup),
        "restore": restore,
        "stop": ("nearer-uploads", "prepare", "drain", "stop", "fence"),
        "sync": carry,
        "switch": (
            "way-back",
            *parts.way_back,
            "commit",
            "switch",
            "keep-the-fence",
            *parts.after_commit,
            "watch",
        ),
    }
    hand_back = {
        "hand-back": (
            *("prepare", "drain", "stop", "export", "old-side-since-fence", *parts.bring_back),
            *("start", "commit", "switch"),
        )
    }
    return Points(
        _points("rehearsal", rehearsal),
        _points("cutover", cutover),
        _points("rollback", hand_back),
        _points("cutover", {f"undo-{step}": () for step in undone}),
    )


ON_SQLITE = _of(_SQLITE)
ON_SERVERS = {"postgres": _of(_POSTGRES), "mysql": _of(_MYSQL)}
