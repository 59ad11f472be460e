"""A container as a machine: commands run, and files are, in a helper that has its volumes."""

from __future__ import annotations

import json
import shutil
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from crossfade.drivers.containers import Engine, label_of
from crossfade.drivers.hosts import _docker_orders as orders
from crossfade.drivers.hosts import _docker_places as places
from crossfade.drivers.hosts import _docker_streams as streams
from crossfade.drivers.hosts import _ssh_files as files
from crossfade.drivers.hosts._docker_exec import Exec
from crossfade.drivers.hosts._docker_helper import Helper
from crossfade.drivers.hosts._linkless import Linkless
from crossfade.drivers.hosts._ssh_shell import far_path, passable
from crossfade.drivers.hosts.commands import KEPT
from crossfade.drivers.hosts.telling import Teller, no_secrets
from crossfade.errors import Failed
from crossfade.model import Address
from crossfade.ports import Completed

__all__ = ["DockerHost"]

_LATE: Final = 10.0
_FOR_EVER: Final = 10_000_000.0


class DockerHost(Linkless):
    """The machine that is the container ``container`` at the engine of ``socket``.

    Its image needs a POSIX shell and the tools of GNU; see the drivers' reference.  If it has
    none, ``helper_image`` names one that has.  If the container is not there yet, helper_image is
    needed, and ``mounts`` (``SOURCE:PATH`` or ``SOURCE:PATH:ro``) gives what it will have.
    ``upgrade`` is the label's value on what we make.  ``secrets`` gives the values that are never
    shown in errors.  Threads may share a host.  ``close`` removes the helper; the host can be used
    again.

    ``make`` makes the container, for a new side: it is called before the first write, and until
    then nothing is there.  ``on_mounts`` are paths that have to be on volumes or directories of it:
    what is in a container's own layer would not be seen.  A place of its own that is mounted there
    is emptied where another would be removed, and counts as gone when it is empty.
    """

    def __init__(
        self,
        container: str,
        *,
        socket: str = "",
        secrets: Callable[[], Collection[str]] = no_secrets,
        helper_image: str = "",
        mounts: Sequence[str] = (),
        upgrade: str = "",
        make: Callable[[], object] | None = None,
        on_mounts: Sequence[Path] = (),
    ) -> None:
        self.name = container
        self._make, self._places = make, tuple(on_mounts)
        self._emptied: set[str] = set()
        self._engine = Engine(socket)
        self._teller = Teller(secrets, f"in {container}: ")
        self._helper = Helper(self._engine, container, helper_image, tuple(mounts), upgrade)

    def close(self) -> None:
        """Remove the helper and end the connections.  Fine when there is none."""
        with suppress(Failed):
            self._helper.close()
            if self._emptied and self._engine.container(self.name) is None:
                places.drop_volumes(self._engine, self._emptied)
        self._engine.close()

    def masked(self, text: str) -> str:
        """A text with dots in place of every secret."""
        return self._teller.masked(text)

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        timeout: float = 60.0,
        ok: tuple[int, ...] = (0,),
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Completed:
        """Run a command to its end; ``env`` is added to the image's environment, and is not among
        any program's arguments.

        The last megabyte of each stream is kept.  A status of 128 + n is told as signal n, and
        ``ok`` may name either.  Raises Failed: those of the engine; command-failed,
        command-timed-out after its whole process group was killed, command-missing,
        command-not-allowed, directory-missing; container-died."""
        words = tuple(argv)
        order = self._ordered(words, timeout, env, cwd)
        began = time.monotonic()
        word, done = self._told(words, order, stdin, timeout + _LATE, KEPT)
        if done.status == -9 and time.monotonic() - began >= timeout:
            raise self._teller.timed_out(done, timeout)
        self._began(word, done, cwd)
        if done.status not in ok and (done.status >= 0 or 128 - done.status not in ok):
            raise self._teller.failed(done)
        return done

    @contextmanager
    def reading(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> Iterator[BinaryIO]:
        """The command's standard output as a stream, which nobody reads ahead.  Leaving the with
        waits for its end, and raises Failed(command-failed) for a status other than 0; leaving it
        by an exception ends the command."""
        words = tuple(argv)
        with self._exec(words, self._ordered(words, _FOR_EVER, env, cwd)) as run:
            run.end_of_input()
            outlet = streams.Outlet(run, KEPT)
            with streams.buffered(outlet) as stream:
                yield stream
                while stream.read(1 << 16):  # what was not wanted
                    pass
            self._well(run, Completed(words, run.status(), b"", outlet.errors), cwd)

    @contextmanager
    def feeding(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> Iterator[BinaryIO]:
        """A stream into the command's standard input, which takes what the command takes.  Leaving
        the with closes it, waits, and raises Failed(command-failed) for a status other than 0;
        leaving it by an exception ends the command."""
        words = tuple(argv)
        self._made()
        with self._exec(words, self._ordered(words, _FOR_EVER, env, cwd)) as run:
            output = streams.Collected(run, KEPT)
            output.let_writers_go()
            try:
                with streams.buffered(streams.Inlet(run)) as stream:
                    yield stream
            except OSError:  # the command may have ended, which is then the better reason
                if output.over():
                    self._well(run, output.completed(words), cwd)
                raise
            finally:
                output.leave()
            run.end_of_input()
            output.wait(None)
            self._well(run, output.completed(words), cwd)

    def outside(self, argv: Sequence[str]) -> tuple[str, ...]:
        """The command with which somebody else on this machine does ``argv`` in there."""
        helper = self._helper
        known = {
            "container": self.name,
            "socket": self._engine.url,
            "helper_image": helper.image,
            "mounts": list(helper.mounts),
            "upgrade": helper.upgrade,
        }
        return (sys.executable, "-m", __name__, json.dumps(known), *argv)

    def read(self, path: Path) -> bytes:
        """The whole file.  Raises Failed(file-unreadable)."""
        done = self._tools(path, files.READ, {})
        if done.status:
            raise self._teller.about_file("file-unreadable", "read", path, *_why(done))
        return done.out

    def write(self, path: Path, data: bytes, *, mode: int = 0o600, owner: str = "") -> None:
        """Write a file atomically and durably; makes missing parents.  ``owner`` is ``user`` or
        ``user:group``.

        Raises Failed: disk-full, file-unwritable; then the file is as it was."""
        self._made()
        values = {"mode": f"{mode:o}", "size": str(len(data)), "owner": owner}
        done = self._tools(path, files.WRITE, values, stdin=data)
        if done.status:
            raise self._teller.about_file("file-unwritable", "written", path, *_why(done))

    def exists(self, path: Path) -> bool:
        """Whether something stands at ``path``, a broken link included.

        Raises Failed(file-unreadable) when we may not look."""
        if self._absent():
            return False
        done = self._tools(path, places.EXISTS, {})
        if not done.status:
            return True
        why = _why(done)
        if why[0] in files.NOTHING_THERE:
            return False
        raise self._teller.about_file("file-unreadable", "looked at", path, *why)

    def make_directory(self, path: Path, *, mode: int = 0o700) -> None:
        """Make a directory and its missing parents; fine when it is there.

        A directory that is there keeps its mode.  Raises Failed: disk-full, file-unwritable."""
        self._made()
        done = self._tools(path, files.MAKE_DIRECTORY, {"mode": f"{mode:o}"})
        if done.status:
            raise self._teller.about_file("file-unwritable", "made", path, *_why(done))

    def remove(self, path: Path) -> None:
        """Remove a file or a whole tree; fine when it is gone.  A link is removed, not followed.

        Raises Failed(file-unwritable)."""
        if self._absent():
            return
        self._emptied |= self._helper.volumes_at(path)
        done = self._tools(path, f"{places.EMPTY}; {files.REMOVE}", {})
        if done.status:
            raise self._teller.about_file("file-unwritable", "removed", path, *_why(done))

    def _absent(self) -> bool:
        """Whether the container that we make is not there yet."""
        return self._make is not None and self._engine.container(self.name) is None

    def _made(self) -> None:
        """Make it, if it is ours to make and not there."""
        if self._make is None:
            return
        app = self._engine.container(self.name)
        if app is None or label_of(app) != self._helper.upgrade:
            self._make()  # refuses one that is not ours
            self._helper.again()

    def free_bytes(self, path: Path) -> int:
        """Bytes that we may still write where ``path`` is or will be."""
        if self._absent() and (root := places.root_without(self._engine, self._helper.image)):
            return shutil.disk_usage(root).free
        free, size = self._looked_at(path, files.FREE).split()
        return int(free) * int(size)

    def file_system(self, path: Path) -> str:
        """The device number of the file system where ``path`` is or will be, at this engine."""
        if self._absent() and places.root_without(self._engine, self._helper.image):
            return f"the engine at {self._engine.url}"
        return f"device {self._looked_at(path, files.DEVICE)} at {self._engine.url}"

    def listener(self, address: Address) -> str | None:
        """Who listens at ``address`` in the container, or has it published; None when it is free.

        A container that does not run has no listeners; a name is looked up in there."""
        published = self._publisher(address) or places.taken_here(self._engine, address)
        place = self._place_of_sockets()
        if published or not place:
            return published
        told = self._tools("listener", files.SOCKETS, {"host": address.host}, place=place)
        inodes = files.in_the_way(address, told.out.decode("ascii", "replace"))
        if not inodes:
            return None
        values = {"inodes": " ".join(sorted(inodes))}
        told = self._tools("listener", files.OWNERS, values, place=place)
        return files.first_owner(told.out.decode(errors="replace")) or "somebody"

    def _place_of_sockets(self) -> str:
        """The container whose network the application has; empty when there is none now."""
        app = self._engine.container(self.name)
        if app is None:
            return ""
        if app["HostConfig"].get("NetworkMode") == "host":
            return self._helper.id()
        return self.name if app["State"]["Running"] else ""

    def _publisher(self, address: Address) -> str | None:
        """The container that has the address published on the engine's machine."""
        with self._engine.explained("look for published ports"):
            found = self._engine.api.containers()
        anywhere = ("0.0.0.0", "::", "")  # noqa: S104 (wildcards are recognised, not bound)
        for one in found:
            for port in one.get("Ports") or ():
                at = str(port.get("IP", ""))
                near = at == address.host or at in anywhere or address.host in anywhere
                if port.get("PublicPort") == address.port and port.get("Type") == "tcp" and near:
                    return f"container {one['Names'][0].lstrip('/')}"
        return None

    def _ordered(
        self,
        words: Sequence[str],
        timeout: float,
        env: Mapping[str, str] | None,
        cwd: Path | None,
    ) -> Callable[[str], str]:
        given = dict(env or {})
        for variable in given:
            if not passable(variable):
                why = f"no shell passes on a variable that is called {variable!r}"
                raise self._teller.not_allowed(words, self.masked(why))
        return orders.command_order(words, timeout=timeout, env=given, cwd=cwd)

    def _exec(self, words: Sequence[str], order: Callable[[str], str], place: str = "") -> Exec:
        """Begin a command; in a new helper when the one we know is gone."""
        what = self._teller.command(words)
        self._look_at_places()
        if not place:
            try:
                return Exec(self._engine, self._helper.id(), order, what)
            except Failed as failed:
                if failed.code not in ("container-missing", "engine-refused"):
                    raise
                self._helper.again()
        return Exec(self._engine, place or self._helper.id(), order, what)

    def _look_at_places(self) -> None:
        """Raises Failed: place-not-mounted, container-removes-itself."""
        wanted, self._places = self._places, ()
        app = self._engine.container(self.name) if wanted else None
        if app is None:
            self._places = wanted  # to be looked at once it is made
            return
        if failed := places.complaint(self.name, app, wanted):
            self._places = wanted
            raise failed

    def _told(
        self,
        words: Sequence[str],
        order: Callable[[str], str],
        stdin: bytes,
        limit: float,
        keep: int | None,
        place: str = "",
    ) -> tuple[str, Completed]:
        with self._exec(words, order, place) as run:
            output = streams.Collected(run, keep)
            feeder = threading.Thread(target=_feed, args=(run, stdin), daemon=True)
            feeder.start()
            if not output.wait(limit):
                run.kill()
                what = f"{self.name} did not say in time how the command ended."
                raise Failed("host-lost", what, where=self._teller.command(words))
            return run.word, output.completed(tuple(words))

    def _well(self, run: Exec, done: Completed, cwd: Path | None) -> None:
        self._began(run.word, done, cwd)
        if done.status:
            raise self._teller.failed(done)

    def _began(self, word: str, done: Completed, cwd: Path | None) -> None:
        """Raises Failed when the command could not even begin."""
        if word == "directory":
            raise self._teller.no_directory(done.argv, cwd or Path())
        if word == "timeout":
            what = f"{self.name} has no program timeout, which Crossfade needs there."
            raise Failed("host-lacks-tool", what, where=self._teller.command(done.argv))
        first, _, rest = done.err.partition(b"\n")
        of_timeout = not rest and first.partition(b" ")[0].endswith(b"timeout:")
        if of_timeout and done.status == 127:
            raise self._teller.no_program(done.argv)
        if of_timeout and done.status == 126:
            raise self._teller.not_allowed(done.argv, files.reason(done.err))

    def _looked_at(self, path: Path, order: str) -> str:
        done = self._tools(path, order, {})
        if done.status:
            raise self._teller.about_file("file-unreadable", "looked at", path, *_why(done))
        return done.out.decode("ascii").strip()

    def _tools(
        self,
        what: Path | str,
        order: str,
        values: Mapping[str, str],
        *,
        stdin: bytes = b"",
        place: str = "",
    ) -> Completed:
        """Work on files with the tools of the image."""
        given = dict(values)
        if isinstance(what, Path):
            given["p"] = far_path(what)
        lines = orders.tools_order(order, given)
        return self._told((str(what),), lines, stdin, files.LONGEST, None, place)[1]


def _feed(run: Exec, data: bytes) -> None:
    """Give a command its input; fine when it does not take all of it."""
    with suppress(OSError):
        run.send(data)
    run.end_of_input()


def _why(done: Completed) -> tuple[str, bool]:
    """Why a tool failed, in its words, and whether the disk is full."""
    return files.reason(done.err), files.is_full(done.err)


def main() -> None:
    """``KNOWN WORDS...``: a command in a container, for the dead-man's switch."""
    host = DockerHost(**json.loads(sys.argv[1]))
    host.run(sys.argv[2:])


if __name__ == "__main__":
    main()
