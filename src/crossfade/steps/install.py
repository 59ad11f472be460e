"""Step 1: install the new version beside the old one.  The old side is not touched."""

from crossfade.model import Evidence, PlannedStep, Reversal
from crossfade.ports import Work

__all__ = ["name", "preview", "reversal", "run", "undo"]

name = "install"
reversal = Reversal.FREE


def preview(work: Work) -> PlannedStep:
    """What would be installed, and where."""
    new = work.new
    return PlannedStep(name, new.install.describe(), reversal)


def run(work: Work) -> Evidence:
    """Install, and prove it by asking the installed program for its version."""
    new = work.new
    if not new.install.done():
        with work.timed("install"), work.progress("installing the new version") as progress:
            new.install.install(progress)
    found = new.installed_version.run()
    return Evidence(name, (found,), {"fingerprint": new.install.fingerprint()})


def undo(work: Work) -> Evidence:
    """The installation stays: it is not in anybody's way, and the next try needs it."""
    return Evidence(name, (), {"left": str(work.new.installation.root)})
