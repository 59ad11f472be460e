"""A tree of files on any machine: START HERE for how files get from one machine to another.

Both sides need a POSIX shell and the GNU find, tar, coreutils and xargs, and nothing else.  What
differs is worked out here from what find says of both; what has to be sent flows as a tar stream
from one host through this process to the other, as fast as the slower of them takes it.
"""

from __future__ import annotations

import stat
import time
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path
from typing import Final

from crossfade.drivers.files._far_hash import Hashes, Terms, digest_of
from crossfade.drivers.files._far_scan import Known, Seen, look
from crossfade.drivers.files._far_send import Sender
from crossfade.drivers.files._far_squeeze import WORTH_A_TRIAL
from crossfade.drivers.files._far_straight import Straights, straight_in_words
from crossfade.drivers.files._far_work import FarWork, Memory, work_for
from crossfade.errors import Failed
from crossfade.model import Digest
from crossfade.ports import CopyReport, Files, Host, Progress

__all__ = ["FarTree"]

_PASSING: Final = ("host-lost", "host-unreachable", "host-unknown")
_PAUSE: Final = 1.0
_FULL: Final = ("No space left", "quota exceeded", "Wrote only")  # the last is how tar says it

_ABOVE: Final = r"""
cat /proc/sys/kernel/random/boot_id
p=$(realpath -m -- "$1" && echo /); p=${p%??}
stat -c %d:%i -- "$p" 2>/dev/null || echo "nothing on $$"
while [ -n "$p" ]; do p=${p%/*}; stat -c %d:%i -- "$p/" 2>/dev/null; done; :
"""

_KNOWN: Final = r"""
for one; do
    case $one in u*) base=passwd;; *) base=group;; esac
    getent "$base" "${one#?}" >/dev/null 2>&1 && printf '%s\n' "$one"
done; :
"""


class FarTree:
    """One tree of files of one side, at ``path`` on ``host``, which may be this machine.
    ``local`` is this machine, for ``here``.

    ``rate`` is how many bytes a second this object's first copy to a target sends at most; 0 means
    as many as go.  Later passes bring what changed meanwhile, maybe inside the pause, and keep no
    rate.  ``straights`` has the ways straight to another machine; without it every byte comes
    through this one.  ``patience`` is for how many seconds a link that drops is waited for, each
    time anew.
    """

    def __init__(
        self,
        name: str,
        path: Path,
        host: Host,
        *,
        local: Host | None = None,
        rate: int = 0,
        straights: Straights | None = None,
        patience: float = 60.0,
    ) -> None:
        self.name = name
        self.path = path
        self.host = host
        self._local = local
        self.skipped: tuple[str, ...] = ()
        """Sockets and devices that the last copy left out, each with its kind."""
        self._rate = rate
        self._straights = straights
        self._patience = patience
        self._hashes = Hashes(host, path)
        self._known = Known()
        self._terms: Terms | None = None
        self._account = ""
        self._memory: dict[tuple[str, Path], Memory] = {}

    def belong_to(self, account: str) -> None:
        """Copies to this tree give everything in it to ``account``, as chown has it; what it
        belonged to in the other tree does not count, and is not compared."""
        self._account = account

    def size(self) -> tuple[int, int]:
        """Entries, and bytes as programs see them (holes count, further hard links do not)."""
        seen = self._seen()
        files = {(e.device, e.inode): e.size for e in seen.entries.values() if stat.S_ISREG(e.mode)}
        return len(seen.entries), sum(files.values())

    def copy_to(self, target: Files, progress: Progress | None = None) -> CopyReport:
        """Make ``target``, another of these, equal to this tree; only what differs is copied.

        ``progress`` is told bytes.  A link that drops is waited for; what had arrived is not sent
        again.  Raises Failed: tree-missing, trees-overlap, file-unreadable, disk-full,
        target-unwritable, path-too-long, and those of the hosts."""
        return self._patiently(self._other(target), progress, keep=False)

    def add_to(self, target: Files) -> CopyReport:
        """Copy what ``target`` lacks or has otherwise; what only it has stays."""
        return self._patiently(self._other(target), None, keep=True)

    def here(self, path: Path) -> Files:
        """A tree of the same kind at a path of the machine that Crossfade runs on."""
        if self._local is None:
            raise TypeError("this tree was not told which host is this machine")
        return FarTree(
            self.name,
            path,
            self._local,
            local=self._local,
            rate=self._rate,
            patience=self._patience,
        )

    def touches(self, size: int) -> tuple[str, ...]:
        """What a straight way needs for as long as it is used."""
        if self._straights is None or size < WORTH_A_TRIAL // 2:  # it may grow until it is copied
            return ()
        return (straight_in_words(self.host.name),)

    def digest(self) -> Digest:
        """Every entry with its kind, content, mode, time, links, and owner where the last copy
        could carry it.  Called again on the same object, it hashes only what changed."""
        seen = self._seen()
        return digest_of(seen, self._hashes, self._terms or Terms(owners=seen.root))

    def position(self) -> str:
        """A mark over names, kinds, sizes and times of all entries, by one command."""
        mark = blake2b(digest_size=16)
        for name, entry in self._seen().entries.items():
            text = f"{name}\0{entry.kind} {entry.size} {entry.mtime} {entry.ctime}\0"
            mark.update(text.encode("utf-8", "surrogateescape"))
        return mark.hexdigest()

    def remove(self) -> None:
        """Remove the tree; fine when it is gone."""
        self.host.remove(self.path)

    def _seen(self) -> Seen:
        seen = look(self.host, self.path, self.name, self._known)
        if seen.missing:
            what = f"There is no tree {self.path} on {self.host.name}."
            raise Failed("tree-missing", what, where=f"tree {self.name}")
        return seen

    def _other(self, target: Files) -> FarTree:
        if not isinstance(target, FarTree):
            raise TypeError("a far tree is only copied to another one")
        return target

    def _patiently(self, target: FarTree, progress: Progress | None, *, keep: bool) -> CopyReport:
        """Pass after pass, until one was not cut off."""
        self._apart(target)
        last = time.monotonic()

        def told(done: int, total: int | None) -> None:
            nonlocal last
            last = time.monotonic()
            if progress:
                progress(done, total)

        while True:
            try:
                report = self._pass(target, told, keep=keep)
                target._give()
                return report
            except Failed as failed:
                if failed.code not in _PASSING or time.monotonic() - last > self._patience:
                    raise
            time.sleep(_PAUSE)

    def _apart(self, target: FarTree) -> None:
        """Raises Failed(trees-overlap), also when one machine is reached in two ways."""
        where = (str(target.host.name), target.path)
        if where in self._memory:
            return
        with ThreadPoolExecutor(2) as pool:
            one, two = pool.map(lambda tree: tree._above(), (self, target))
        if one[0] == two[0] and (one[1] in two[1:] or two[1] in one[1:]):
            what = f"{target.path} cannot be a copy of {self.path}: one is inside the other."
            raise Failed("trees-overlap", what, where=f"tree {self.name}")

    def _above(self) -> list[str]:
        """The machine, the tree, and the directories that it is in, so that they can be known."""
        argv = ("sh", "-c", _ABOVE, "crossfade", str(self.path))
        return self.host.run(argv).out.decode("ascii", "replace").splitlines()

    def _pass(self, target: FarTree, progress: Progress, *, keep: bool) -> CopyReport:
        with ThreadPoolExecutor(2) as pool:
            theirs = pool.submit(look, target.host, target.path, self.name, target._known)
            source, there = self._seen(), theirs.result()
        self.skipped = source.skipped
        terms = self._agree(target, source, there)
        memory = self._memory.setdefault((target.host.name, target.path), {})
        both = self._hashes, target._hashes
        work = work_for(source, there, both, terms, memory, keep=keep)
        if not (work.send or work.directories or work.remove):
            self._remember(memory, source, there, work, [])
            return CopyReport(0, 0, 0)
        done, total = 0, sum(source.entries[name].size for name in work.send)

        def told(count: int) -> None:
            nonlocal done
            done += count
            progress(min(done, total), total)

        rate = 0 if memory else self._rate
        sender = Sender(
            both,
            (source, there),
            terms=terms,
            rate=rate,
            told=told,
            straights=self._straights,
        )
        arrived = sender.arrived()
        everything = not (arrived or work.unchanged or work.same or keep)
        try:
            sender.send(work, arrived, everything=everything)
        except Failed as failed:
            raise self._explained(failed, target) from failed
        finally:
            sender.close()
        sent = [*work.directories, *(n for n in work.send if n not in arrived)]
        self._remember(memory, source, there, work, sent)
        return CopyReport(work.changed, work.removed, work.new, sender.way)

    def _remember(
        self, memory: Memory, source: Seen, target: Seen, work: FarWork, sent: list[str]
    ) -> None:
        """What needs no look the next time: equal, and any further write would be seen.  What was
        sent is compared the next time, by checksums that are mostly known by then."""
        for name in memory.keys() - work.unchanged:
            del memory[name]
        for name in sent:
            memory[name] = (source.entries[name], None, False)
        for name in work.same:
            one, two = source.entries[name], target.entries[name]
            memory[name] = (one, two, source.settled(one))

    def _give(self) -> None:
        """Give what came to the account that it belongs to; what is its own is left untouched."""
        if not self._account:
            return
        user = self._account.partition(":")[0]
        # a bare number need not be an account, so it has no group to look up
        whole = ":" in self._account or self._account.isdigit()
        owner = self._account if whole else f"{user}:"
        give = ("chown", "--no-dereference", "--", owner, "{}", "+")
        self.host.run(("find", str(self.path), "!", "-user", user, "-exec", *give))

    def _agree(self, target: FarTree, source: Seen, there: Seen) -> Terms:
        """What both sides can be compared by: from now on both digests use it."""
        owners = source.root and there.root and not target._account
        if not owners:
            terms = Terms(owners=False)
        else:
            entries = source.entries.values()
            users, teams = {e.user for e in entries}, {e.group_name for e in entries}
            names = {f"u{one}" for one in users} | {f"g{one}" for one in teams}
            if self._terms is not None and self._terms.users == frozenset(names):
                return self._terms
            known = names if self.host is target.host else target._known.accounts()
            if names - known:  # not all accounts are in every list of them
                argv = ("sh", "-c", _KNOWN, "crossfade", *sorted(names - known))
                known |= set(target.host.run(argv).out.decode().split("\n"))
            terms = Terms(owners=True, users=frozenset(known & names))
        self._terms = target._terms = terms
        return terms

    def _explained(self, failed: Failed, target: FarTree) -> Failed:
        """What the programs said, in our words."""
        if failed.code != "command-failed":
            return failed
        where = failed.where or ""
        if any(words in where for words in _FULL):
            what = f"The disk of {target.path} on {target.host.name} is full."
            return Failed("disk-full", what, where=where)
        if "Permission denied" in where and f"on {self.host.name}" in where:
            what = f"Not all of {self.path} on {self.host.name} can be read."
            return Failed("file-unreadable", what, where=where)
        what = f"{self.path} cannot be copied to {target.path} on {target.host.name}."
        return Failed("target-unwritable", what, where=where)
