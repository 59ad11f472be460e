"""The contract of ``ports.Host``: subclass it, say how to make your driver, and run it.

    class TestMine(HostContract):
        def host(self) -> Host:
            return MyHost()

The commands used are those of every POSIX system, and Python.  The paths given are on this machine:
a driver for another one overrides the fixture ``place``.
"""

# ruff: noqa: S101 (these are tests)
from __future__ import annotations

import os
import random
import signal
import socket
import stat
import sys
import time
from pathlib import Path

import pytest

from crossfade.drivers import procfs
from crossfade.errors import Failed
from crossfade.model import Address
from crossfade.ports import Host

__all__ = ["HostContract", "bind"]

_FORK = """
import os, pathlib, sys, time
if os.fork():
    pathlib.Path(sys.argv[1]).write_text(str(os.getpid()))
time.sleep(300)
"""


class HostContract:
    """What every Host driver has to do.  ``host`` makes one."""

    def host(self) -> Host:
        """The driver under test."""
        raise NotImplementedError

    @pytest.fixture
    def place(self, tmp_path: Path) -> Path:
        """A directory on the host."""
        return tmp_path

    def test_run(self, place: Path) -> None:
        """A command gets its words, input, variables and directory, and its output comes back."""
        host = self.host()
        done = host.run(("printf", "%s|", "a b", "*", "$HOME", ""))
        assert (done.status, done.out, done.err) == (0, b"a b|*|$HOME||", b"")
        assert host.run(("cat",), stdin=b"\0in" * 50_000).out == b"\0in" * 50_000
        assert host.run(("printenv", "WORD"), env={"WORD": "ü x"}).out == "ü x\n".encode()
        assert host.run(("pwd", "-P"), cwd=place).out.decode().strip() == str(place.resolve())
        assert host.run(("sh", "-c", "exit 3"), ok=(0, 3)).status == 3

    def test_input_that_nobody_reads(self) -> None:
        """A command that ends without reading its input is no error."""
        assert self.host().run(("true",), stdin=b"x" * 1_000_000).status == 0

    def test_much_output(self) -> None:
        """Only the end of endless output is kept, of both streams."""
        code = "import sys; [s.write('x' * 3_000_000 + 'end') for s in (sys.stdout, sys.stderr)]"
        done = self.host().run((sys.executable, "-c", code))
        for stream in (done.out, done.err):
            assert len(stream) == 1 << 20
            assert stream.endswith(b"xend")

    def test_failing_command(self) -> None:
        """The error has the command, long words cut, and the last five lines of its errors."""
        code = "import sys; [print('line', n, file=sys.stderr) for n in range(9)]; sys.exit(7)"
        with pytest.raises(Failed) as failed:
            self.host().run((sys.executable, "-c", code, "y" * 300))
        assert failed.value.code == "command-failed"
        assert "7" in failed.value.what
        command, *lines = failed.value.where.splitlines()
        assert sys.executable in command
        assert "y" * 200 in command
        assert "y" * 201 not in command
        assert lines == [f"line {n}" for n in range(4, 9)]

    def test_killed_command(self) -> None:
        """A command that dies of a signal failed."""
        with pytest.raises(Failed) as failed:
            self.host().run(("sh", "-c", "kill -TERM $$"))
        assert failed.value.code == "command-failed"
        assert str(int(signal.SIGTERM)) in failed.value.what

    def test_no_such_command(self, place: Path) -> None:
        """A program that is missing, or no program, is told so."""
        (place / "data").write_text("no program")
        for program, code in (
            ("no-such-program", "command-missing"),
            (str(place / "data"), "command-not-allowed"),
        ):
            with pytest.raises(Failed) as failed:
                self.host().run((program,))
            assert failed.value.code == code

    def test_no_such_directory(self, place: Path) -> None:
        """A missing working directory is not taken for a missing program."""
        with pytest.raises(Failed) as failed:
            self.host().run(("true",), cwd=place / "nowhere")
        assert failed.value.code == "directory-missing"

    def test_time_out_leaves_nobody(self, place: Path) -> None:
        """After a time-out the command and its children are gone."""
        note = place / "pid"
        with pytest.raises(Failed) as failed:
            self.host().run((sys.executable, "-c", _FORK, str(note)), timeout=2.0)
        assert failed.value.code == "command-timed-out"
        group = int(note.read_text())
        deadline = time.monotonic() + 30
        while any(procfs.alive(pid) for pid in procfs.pids() if procfs.group_of(pid) == group):
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def test_reading(self, place: Path) -> None:
        """A command's output comes as it is, however long; it gets variables and directory."""
        code = (
            "import os, sys; [sys.stdout.buffer.write(bytes(range(256)) * 4096) for _ in range(20)]"
            "; sys.stdout.write(os.environ['WORD'] + os.getcwd() + sys.stdin.read())"
        )
        argv = (sys.executable, "-c", code)
        with self.host().reading(argv, env={"WORD": "a b"}, cwd=place) as stream:
            data = stream.read()
        assert data == bytes(range(256)) * 4096 * 20 + f"a b{place.resolve()}".encode()
        with self.host().reading(("seq", "1", "1000000")) as stream:
            assert stream.readline() == b"1\n"  # the rest is not wanted

    def test_feeding(self, place: Path) -> None:
        """A command gets all bytes, and the end of them, and is waited for."""
        data = bytes(range(256)) * 4096
        order = 'sleep 0.2; cat >"$1"; sleep 0.2; echo done >>"$1"; echo dropped'
        with self.host().feeding(("sh", "-c", order, "-", str(place / "a b"))) as stream:
            for _ in range(20):
                stream.write(data)
        assert (place / "a b").read_bytes() == data * 20 + b"done\n"
        with self.host().feeding(("tee", "x", "-x"), env={"POSIXLY_CORRECT": "1"}, cwd=place) as to:
            to.write(b"\n")
        assert (place / "x").read_bytes() == b"\n"

    def test_reading_waits_for_the_reader(self, place: Path) -> None:
        """A command cannot run ahead of its reader by more than what pipes hold."""
        argv = ("sh", "-c", 'head -c 60000000 /dev/zero; : >"$1"', "-", str(place / "over"))
        with self.host().reading(argv) as stream:
            stream.read(1)
            time.sleep(0.5)
            assert not (place / "over").exists()
        assert (place / "over").exists()

    def _stream(self, way: str, argv: tuple[str, ...], cwd: Path | None = None) -> None:
        """Read all of a command's output, or write to it for as long as it lets us."""
        if way == "reading":
            with self.host().reading(argv, cwd=cwd) as stream:
                stream.read()
        else:
            with self.host().feeding(argv, cwd=cwd) as stream:
                while True:
                    stream.write(bytes(65536))

    @pytest.mark.parametrize("way", ["reading", "feeding"])
    def test_streams_that_fail(self, way: str, place: Path) -> None:
        """A bad status, a missing program and a missing directory are told as by ``run``."""
        with pytest.raises(Failed) as failed:
            self._stream(way, ("sh", "-c", "echo one; echo two >&2; exit 7"))
        assert failed.value.code == "command-failed"
        assert "7" in failed.value.what
        assert failed.value.where.splitlines()[-1] == "two"
        with pytest.raises(Failed) as failed:
            self._stream(way, ("no-such-program",))
        assert failed.value.code == "command-missing"
        with pytest.raises(Failed) as failed:
            self._stream(way, ("cat",), place / "nowhere")
        assert failed.value.code == "directory-missing"

    @pytest.mark.parametrize("way", ["reading", "feeding"])
    def test_stream_that_is_left(self, way: str, place: Path) -> None:
        """An exception ends the command and its children, and does not look like the end."""
        host, note = self.host(), place / "pid"
        order = 'sleep 300 & echo $$ >"$1"; cat; sleep 0.3; : >"$2"; sleep 300'
        argv = ("sh", "-c", order, "-", str(note), str(place / "end"))
        groups: list[int | None] = []

        def leave() -> None:
            with (host.feeding if way == "feeding" else host.reading)(argv) as stream:
                deadline = time.monotonic() + 30
                while not note.exists() or not note.read_text().strip():
                    assert time.monotonic() < deadline
                    time.sleep(0.02)
                groups.append(procfs.group_of(int(note.read_text())))
                if way == "feeding":
                    stream.write(b"some")
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            leave()
        assert groups[0]
        deadline = time.monotonic() + 30
        while any(procfs.alive(one) for one in procfs.pids() if procfs.group_of(one) in groups):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert (place / "end").exists() <= (way == "reading")

    def test_stream_whose_command_forks_all_the_time(self, place: Path) -> None:
        """Nothing of it is left either: each process has begun the next one before it is seen."""
        host, note = self.host(), place / "last"
        chain = 'echo $$ >"$2"; [ "$3" -gt 9999 ] || exec sh -c "$1" - "$1" "$2" $(($3 + 1)) &'
        order = 'sh -c "$1" - "$1" "$2" 0; exec sleep 300'

        def leave() -> None:
            with host.reading(("sh", "-c", order, "-", chain, str(note))):
                deadline = time.monotonic() + 30
                while not note.exists():
                    assert time.monotonic() < deadline
                    time.sleep(0.02)
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            leave()
        last = note.read_text()
        time.sleep(0.3)
        assert note.read_text() == last

    def test_write_and_read(self, place: Path) -> None:
        """A file is written whole, with its mode, below parents that were missing."""
        host, path = self.host(), place / "deep" / "er" / "file"
        assert not host.exists(path)
        host.write(path, b"\0one")
        assert host.read(path) == b"\0one"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        host.write(path, b"two", mode=0o644)
        assert host.read(path) == b"two"
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
        assert [one.name for one in path.parent.iterdir()] == ["file"]

    def test_write_replaces_a_link(self, place: Path) -> None:
        """Writing replaces the name and never writes through a link."""
        (place / "real").write_text("real")
        (place / "link").symlink_to("real")
        self.host().write(place / "link", b"new")
        assert (place / "real").read_text() == "real"
        assert not (place / "link").is_symlink()

    def test_files_that_cannot_be(self, place: Path) -> None:
        """Reading what is missing and writing over a directory are explained errors."""
        host = self.host()
        (place / "directory").mkdir()
        with pytest.raises(Failed) as failed:
            host.read(place / "missing")
        assert failed.value.code == "file-unreadable"
        with pytest.raises(Failed) as failed:
            host.write(place / "directory", b"x")
        assert failed.value.code == "file-unwritable"
        assert [one.name for one in place.iterdir()] == ["directory"]
        host.write(place / "file", b"x")
        for wrong in (place / "file", place / "file" / "below"):
            with pytest.raises(Failed) as failed:
                host.make_directory(wrong)
            assert failed.value.code == "file-unwritable"

    def test_directories(self, place: Path) -> None:
        """A directory is made with its mode and parents; one that is there stays as it is."""
        host, path = self.host(), place / "a" / "b"
        host.make_directory(path, mode=0o755)
        assert stat.S_IMODE(path.stat().st_mode) == 0o755
        host.make_directory(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o755

    def test_remove(self, place: Path) -> None:
        """Files, trees and links are removed, what a link points to is not; twice is fine."""
        host = self.host()
        kept = place / "kept"
        kept.mkdir()
        (kept / "file").touch()
        (place / "tree" / "in").mkdir(parents=True)
        (place / "tree" / "in" / "link").symlink_to(kept)
        (place / "link").symlink_to(kept)
        (place / "dangling").symlink_to("nowhere")
        (place / "file").touch()
        for name in ("tree", "link", "dangling", "file"):
            assert host.exists(place / name)
            host.remove(place / name)
            assert not host.exists(place / name)
            host.remove(place / name)
        host.remove(kept / "file" / "below a file")
        assert (kept / "file").exists()

    def test_room(self, place: Path) -> None:
        """Free bytes and file system are told for paths that do not exist yet, too."""
        host = self.host()
        later = place / "not" / "yet"
        assert host.free_bytes(later) > 0
        assert host.file_system(later) == host.file_system(place)
        assert not later.exists()

    @pytest.mark.parametrize(
        ("bound", "asked"),
        [
            ("127.0.0.1", "127.0.0.1"),
            ("0.0.0.0", "127.0.0.1"),  # noqa: S104 (a wildcard listener is what is tried)
            ("127.0.0.1", "0.0.0.0"),  # noqa: S104
            ("127.0.0.1", "localhost"),
            ("127.0.0.1", "::"),
        ],
    )
    def test_listener(self, bound: str, asked: str) -> None:
        """Who listens is told, wildcards included; a free port has nobody."""
        host = self.host()
        with socket.socket() as listening:
            port = bind(listening, bound)
            assert host.listener(Address(asked, port)) is None
            listening.listen()
            assert str(os.getpid()) in (host.listener(Address(asked, port)) or "")
        assert host.listener(Address(asked, port)) is None

    def test_listener_elsewhere(self) -> None:
        """A listener on another address of this machine is not in the way."""
        with socket.socket() as listening:
            port = bind(listening, "127.0.0.1")
            listening.listen()
            assert self.host().listener(Address("127.0.0.2", port)) is None


def bind(listening: socket.socket, host: str) -> int:
    """Bind a socket to a free port that no outgoing connection takes; returns the port."""
    for port in random.sample(range(20000, 32000), 200):
        try:
            listening.bind((host, port))
        except OSError:
            continue
        return port
    raise AssertionError("no free port")
