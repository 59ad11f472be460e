"""The nine steps, in the order in which an operator thinks of them.

Each module is a step: ``name``, ``reversal``, ``preview(work)``, ``run(work)``, ``undo(work)``.
``run`` looks, acts and proves, so running it again is safe.
"""

from crossfade.steps import backup, check, configure, install, restore, retire, stop, switch, sync

__all__ = ["IN_CUTOVER", "IN_ORDER", "IN_REHEARSAL"]

IN_ORDER = (install, configure, backup, restore, check, stop, sync, switch, retire)
IN_REHEARSAL = (install, configure, backup, restore, check, stop)
IN_CUTOVER = (install, configure, backup, restore, stop, sync, switch)
