"""Every named crash point of an upgrade of the Notes application.

``test_matrix.py`` proves that this list is what an undisturbed upgrade passes.
"""

__all__ = ["CUTOVER", "GOING_BACK", "REHEARSAL", "ROLLBACK"]

_STEP = ("before-act", "after-act", "after-record")
_PART = ("before-act", "after-act")


def _points(run: str, steps: dict[str, tuple[str, ...]]) -> list[str]:
    """For each step its own points, and those of its parts (a deed done once has a record)."""
    found = []
    for step, parts in steps.items():
        found += [f"{run}.{step}.{when}" for when in _STEP]
        for part in parts:
            whens = _STEP if part.startswith("old-side") else _PART
            found += [f"{run}.{step}.{part}.{when}" for when in whens]
    return found


_RESTORE = ("place-main", "digest-main", "files-uploads", "digest-uploads")
_CARRY = ("copy-main", "compare-main", "place-main", "files-uploads", "start", "checks")

REHEARSAL = _points(
    "rehearsal",
    {
        "install": ("install",),
        "configure": (),
        "backup": ("copy-main", "verify-main"),
        "restore": _RESTORE,
        "check": ("prepare", *_CARRY, "stop"),
        "stop": (),
    },
)
CUTOVER = _points(
    "cutover",
    {
        "install": (),
        "configure": (),
        "backup": ("copy-main", "verify-main"),
        "restore": _RESTORE,
        "stop": ("prepare", "drain", "stop", "fence"),
        "sync": _CARRY,
        "switch": ("commit", "switch", "digests", "watch"),
    },
)
ROLLBACK = _points(
    "rollback",
    {
        "hand-back": (
            *(
                "prepare",
                "drain",
                "stop",
                "export",
                "old-side-since-fence",
                "start",
                "commit",
                "switch",
            ),
        )
    },
)
GOING_BACK = _points(
    "cutover",
    {f"undo-{step}": () for step in ("sync", "stop", "restore", "backup", "configure", "install")},
)
