"""To whom the new side's trees belong."""

from crossfade.ports import Work

__all__ = ["settle_owners"]


def settle_owners(work: Work) -> None:
    """Owners come along by name.  A new version that runs as somebody else could not write to what
    came over, so there everything belongs to its own account."""
    account = work.new.service.account()
    if account and account != work.old.service.account():
        for tree in work.new.files.values():
            tree.belong_to(account)
