"""The ``tarball`` install: what it takes, what it refuses before anything is unpacked."""

from __future__ import annotations

import http.server
import io
import os
import socket
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from crossfade.drivers.hosts.local import LocalHost
from crossfade.drivers.installs import NOTE
from crossfade.drivers.installs.tarball import TarballInstall
from crossfade.errors import Failed, UsageError
from crossfade.ports import Host, Install
from crossfade.testing.installs import InstallContract, seen

Entry = tuple[str, str, str]
"""Name; kind (file, dir, sym, hard, fifo, char); content or target."""

_KINDS = {
    "file": tarfile.REGTYPE,
    "dir": tarfile.DIRTYPE,
    "sym": tarfile.SYMTYPE,
    "hard": tarfile.LNKTYPE,
    "fifo": tarfile.FIFOTYPE,
    "char": tarfile.CHRTYPE,
}
_GOOD: tuple[Entry, ...] = (
    ("app-1.0/bin/run it", "file", "#!/bin/sh\necho 1.0\n"),
    ("app-1.0/lib/ü\n$(x)", "file", "data"),
    ("app-1.0/bin/lib", "sym", "../lib"),
    ("app-1.0/hard", "hard", "app-1.0/bin/run it"),
    ("app-1.0/" + "long/" * 60 + "name", "file", "deep"),
)


def _pack(path: Path, *entries: Entry, how: str = "gz") -> Path:
    mode: Any = f"w:{how}"
    with tarfile.open(path, mode) as tar:
        for name, kind, content in entries:
            made = tarfile.TarInfo(name)
            made.type = _KINDS[kind]
            made.mode = 0o6755 if "bin" in name else 0o600
            made.uid = made.gid = 4242
            data = content.encode() if kind == "file" else b""
            made.size = len(data)
            made.linkname = "" if kind == "file" else content
            tar.addfile(made, io.BytesIO(data))
    return path


def _asked(path: Path) -> str:
    return f"{path.as_uri()}#sha256={sha256(path.read_bytes()).hexdigest()}"


@contextmanager
def _served(directory: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Nobody reads it."""

    handler = partial(Quiet, directory=str(directory))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class TestTarball(InstallContract):
    """The contract, with an archive whose directory is taken away."""

    def make(self, host: Host, root: Path) -> Install:
        """Something small."""
        path = root.parent.parent / "app.tar.gz"
        if not path.exists():
            _pack(path, *_GOOD)
        return TarballInstall(host, root, [_asked(path)], strip=True)

    def make_other(self, host: Host, root: Path) -> Install:
        """Not stripped."""
        return TarballInstall(host, root, [_asked(root.parent.parent / "app.tar.gz")])

    def break_it(self, root: Path) -> None:
        """It was not yet renamed."""
        fresh = root.with_name(f".{root.name}.crossfade-new")
        fresh.mkdir()
        root.rename(fresh / "new")
        (fresh / "new" / NOTE).unlink()
        (fresh / "part-00000").write_text("half")


@pytest.mark.parametrize("how", ["", "gz", "bz2", "xz"])
def test_what_stands_there(host: Host, tmp_path: Path, how: str) -> None:
    """Content, links and rights, as root's, without the bits that give an account away."""
    archive = _pack(tmp_path / "a", *_GOOD, how=how)
    root = tmp_path / "root"
    TarballInstall(host, root, [str(archive)], strip=True).install()
    assert host.run((str(root / "bin" / "run it"),)).out == b"1.0\n"
    assert (root / "lib" / "ü\n$(x)").read_text() == "data"
    assert (root / "bin" / "lib").readlink() == Path("../lib")
    assert (root / "hard").samefile(root / "bin" / "run it")
    assert (root / ("long/" * 60) / "name").read_text() == "deep"
    told = (root / "bin" / "run it").stat()
    assert (told.st_mode & 0o7777, told.st_uid) == (0o755, os.getuid())
    assert (root / "lib" / "ü\n$(x)").stat().st_mode & 0o7777 == 0o644
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "root"]


def test_large(host: Host, tmp_path: Path) -> None:
    """One that is sent in several parts, with progress."""
    blob = os.urandom(20_000_000)
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        made = tarfile.TarInfo("blob")
        made.size = len(blob)
        tar.addfile(made, io.BytesIO(blob))
    told: list[int] = []
    install = TarballInstall(host, tmp_path / "root", [str(tmp_path / "a.tar")])
    install.install(lambda done, _: told.append(done))
    assert (tmp_path / "root" / "blob").read_bytes() == blob
    assert told[-1] >= len(blob)


def test_path_without_checksum(tmp_path: Path) -> None:
    """A file of this machine that has changed since is not what was installed."""
    archive = _pack(tmp_path / "a.tgz", *_GOOD)
    install = TarballInstall(LocalHost(), tmp_path / "root", [str(archive)])
    install.install()
    first = install.fingerprint()
    _pack(archive, *_GOOD[:2])
    assert not install.done()
    install.install()
    assert install.fingerprint() not in {"", first}
    assert not (tmp_path / "root" / "app-1.0" / "hard").exists()


def test_over_http(tmp_path: Path) -> None:
    """Fetched by address; a file that is not there, or a server, is told with the address."""
    archive = _pack(tmp_path / "a.tgz", *_GOOD)
    checksum = _asked(archive).partition("#")[2]
    with _served(tmp_path) as address:
        TarballInstall(LocalHost(), tmp_path / "root", [f"{address}/a.tgz#{checksum}"]).install()
        assert (tmp_path / "root" / "app-1.0").is_dir()
        gone = TarballInstall(LocalHost(), tmp_path / "r2", [f"{address}/b.tgz#{checksum}"])
        small = TarballInstall(
            LocalHost(), tmp_path / "r2", [f"{address}/a.tgz#{checksum}"], most=100
        )
        for install, words in ((gone, "not found"), (small, "at most 100")):
            with pytest.raises(Failed, match=words) as caught:
                install.install()
            assert caught.value.code == "download-failed"
    with pytest.raises(Failed, match="refused") as caught:  # nobody listens any more
        TarballInstall(LocalHost(), tmp_path / "r2", [f"{address}/a.tgz#{checksum}"]).install()
    assert (caught.value.code, caught.value.where) == ("download-failed", f"{address}/a.tgz")
    assert not (tmp_path / "r2").exists()


def test_download_that_ends_early(tmp_path: Path) -> None:
    """A server that hangs up in the middle is not taken for the end."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            one, _ = server.accept()
            with one:
                one.recv(65536)
                one.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 1000\r\n\r\nshort")

        threading.Thread(target=answer, daemon=True).start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/a#sha256={'0' * 64}"
        with pytest.raises(Failed) as caught:
            TarballInstall(LocalHost(), tmp_path / "root", [url]).install()
        assert caught.value.code == "download-failed"


def test_wrong_checksum(host: Host, tmp_path: Path) -> None:
    """Another archive than the one asked for is not unpacked; what stands there stays."""
    archive = _pack(tmp_path / "a.tgz", *_GOOD)
    root = tmp_path / "root"
    TarballInstall(host, root, [_asked(archive)]).install()
    before = seen(root)
    url = f"{archive.as_uri()}#sha256={'0' * 64}"
    with pytest.raises(Failed) as caught:
        TarballInstall(host, root, [url]).install()
    assert caught.value.code == "download-differs"
    assert "0" * 64 in caught.value.where
    assert seen(root) == before


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([("../evil", "file", "x")], "outside"),
        ([("a/../../evil", "file", "x")], "outside"),
        ([("/tmp/evil", "file", "x")], "outside"),
        ([("l", "sym", "/etc")], "leads out"),
        ([("a/l", "sym", "../../x")], "leads out"),
        ([("a/l", "sym", "..")], ""),
        ([("a/b/l", "sym", "../.."), ("m", "sym", "a/b/l/..")], "leads out"),
        ([("l", "sym", "a"), ("l/x", "file", "x")], "behind a link"),
        ([("l/x", "file", "x"), ("l", "sym", "a")], "behind a link"),
        ([("h", "hard", "/etc/passwd")], "outside"),
        ([("h", "hard", "../x")], "outside"),
        ([("h", "hard", "missing")], "no file of it"),
        ([("a/b/l", "sym", "../.."), ("h", "hard", "a/b/l")], "no file of it"),
        ([("p", "fifo", "")], "neither file"),
        ([("d", "char", "")], "neither file"),
        ([], "empty"),
    ],
)
def test_refused_entries(tmp_path: Path, entries: list[Entry], words: str) -> None:
    """What leads out of root refuses the archive before anything of it is unpacked."""
    (tmp_path / "in").mkdir()
    archive = _pack(tmp_path / "in" / "a.tgz", ("a/good", "file", "x"), *entries)
    if not entries:
        archive = _pack(archive)
    install = TarballInstall(LocalHost(), tmp_path / "in" / "root", [str(archive)])
    before = seen(tmp_path)
    if not words:
        install.install()
        return
    with pytest.raises(Failed, match=words) as caught:
        install.install()
    assert caught.value.code == "archive-refused"
    assert seen(tmp_path) == before


@pytest.mark.parametrize("content", [b"", b"no archive", b"\x1f\x8b broken", b"\0" * 512])
def test_no_archive(tmp_path: Path, content: bytes) -> None:
    """Something that is no archive, or a broken one, is told."""
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(Failed) as caught:
        TarballInstall(LocalHost(), tmp_path / "root", [str(tmp_path / "a")]).install()
    assert caught.value.code == "archive-refused"


def test_cut_off_archive(tmp_path: Path) -> None:
    """One that ends in the middle leaves nothing."""
    whole = _pack(tmp_path / "a", ("blob", "file", "x" * 100_000), how="")
    whole.write_bytes(whole.read_bytes()[:50_000])
    with pytest.raises(Failed) as caught:
        TarballInstall(LocalHost(), tmp_path / "root", [str(whole)]).install()
    assert caught.value.code == "archive-refused"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize(
    "entries", [[("a/x", "file", ""), ("b/x", "file", "")], [("a", "file", "")]]
)
def test_nothing_to_strip(tmp_path: Path, entries: list[Entry]) -> None:
    """Without one directory that holds everything, strip refuses."""
    archive = _pack(tmp_path / "a", *entries)
    with pytest.raises(Failed) as caught:
        TarballInstall(LocalHost(), tmp_path / "r", [str(archive)], strip=True).install()
    assert caught.value.code == "archive-refused"


def test_small_disk(host: Host, tmp_path: Path) -> None:
    """Too little room is seen before anything is sent."""
    disk = tmp_path / "disk"
    disk.mkdir()
    LocalHost().run(("mount", "-t", "tmpfs", "-o", "size=256k", "none", str(disk)))
    try:
        archive = _pack(tmp_path / "a", ("blob", "file", "x" * 1_000_000))
        with pytest.raises(Failed) as caught:
            TarballInstall(host, disk / "root", [str(archive)]).install()
        assert caught.value.code == "disk-too-small"
        assert list(disk.iterdir()) == []
    finally:
        LocalHost().run(("umount", str(disk)))


@pytest.mark.parametrize(
    "packages",
    [
        ["https://example.org/a.tgz"],
        ["https://example.org/a.tgz#sha256=12"],
        ["ftp://example.org/a.tgz#sha256=" + "0" * 64],
        ["-C/"],
        ["relative.tgz"],
        ["/a\n"],
        ["/a", "/b"],
        [],
    ],
)
def test_refused_words(tmp_path: Path, packages: list[str]) -> None:
    """An address without a checksum, and what is no address or path, is refused."""
    with pytest.raises(UsageError) as caught:
        TarballInstall(LocalHost(), tmp_path, packages)
    assert caught.value.code == "package-refused"
