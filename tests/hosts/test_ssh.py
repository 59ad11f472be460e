"""A host that ssh reaches: its contract, accounts, secrets, and what stays behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.testbed.site import eventually
from tests.testbed.sshd import Sshd, code_of, masters, place_of

from crossfade.drivers import procfs
from crossfade.drivers.hosts.ssh import SshHost
from crossfade.errors import Failed
from crossfade.model import Address
from crossfade.ports import Host
from crossfade.testing.hosts import HostContract, bind

MakeSshd = Callable[..., Sshd]
MakeHost = Callable[..., SshHost]


class TestSsh(HostContract):
    """The contract."""

    @pytest.fixture(autouse=True)
    def reached(self, far: SshHost) -> None:
        """The host that is tried."""
        self._far = far

    def host(self) -> Host:
        """This machine, by way of ssh."""
        return self._far


def test_status_255_is_the_command_s_own(far: SshHost) -> None:
    """What ssh itself would end with is told as the command's status."""
    assert far.run(("sh", "-c", "exit 255"), ok=(255,)).status == 255
    with pytest.raises(Failed) as failed:
        far.run(("sh", "-c", "exit 255"))
    assert (failed.value.code, "255" in failed.value.what) == ("command-failed", True)


def test_signals(far: SshHost) -> None:
    """A signal is told as Python tells it, and either number may be accepted."""
    argv = ("sh", "-c", "kill -TERM $$")
    assert far.run(argv, ok=(-15,)).status == -15
    assert far.run(argv, ok=(143,)).status == -15


def test_far_shell_that_is_killed(far: SshHost) -> None:
    """A command that kills the shell that watches it has failed; the link is not to blame."""
    with pytest.raises(Failed) as failed:
        far.run(("sh", "-c", "read -r _ _ _ parent _ </proc/$PPID/stat; kill -9 $parent $PPID"))
    assert failed.value.code == "command-failed"
    assert far.run(("true",)).status == 0


def test_one_connection(make_sshd: MakeSshd, make_host: MakeHost) -> None:
    """Everything shares one login; closing ends it and removes the directory; twice is fine."""
    sshd = make_sshd()
    host = make_host(sshd)
    with ThreadPoolExecutor(12) as pool:  # more than an sshd takes at once on a connection
        numbers = [str(n) for n in range(30)]
        done = pool.map(lambda n: host.run(("sh", "-c", "sleep 0.05; echo $0", n)).out, numbers)
        assert [one.decode().strip() for one in done] == numbers
    assert len(sshd.connections()) == 1
    place = place_of(host)
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert len(masters(place)) == 1
    host.close()
    host.close()
    assert not place.exists()
    eventually(lambda: not sshd.connections() and not masters(place))


def test_closed_host_can_be_used_again(make_sshd: MakeSshd, make_host: MakeHost) -> None:
    """After ``close`` the next command makes a connection of its own."""
    host = make_host(make_sshd())
    assert host.run(("echo", "1")).out == b"1\n"
    host.close()
    assert host.run(("echo", "2")).out == b"2\n"


def test_few_sessions(make_sshd: MakeSshd, make_host: MakeHost) -> None:
    """An sshd that allows only two commands at once gets them one after the other."""
    host = make_host(make_sshd("MaxSessions 2"))
    with ThreadPoolExecutor(6) as pool:
        done = pool.map(lambda n: host.run(("sh", "-c", f"sleep 0.1; echo {n}")).out, range(12))
        assert [int(one) for one in done] == list(range(12))


def test_login_shell_that_talks(make_sshd: MakeSshd, make_host: MakeHost) -> None:
    """What a login shell prints on its own is not taken for a command's output."""
    noise = "printf '%080000d' 7; echo hello >&2"
    host = make_host(make_sshd(f'ForceCommand {noise}; eval "$SSH_ORIGINAL_COMMAND"'))
    done = host.run(("sh", "-c", "echo out; echo err >&2"))
    assert (done.out, done.err) == (b"out\n", b"err\n")


@pytest.mark.parametrize("sudo", [False, True])
def test_streams_and_a_login_shell_that_talks(
    make_sshd: MakeSshd, make_host: MakeHost, sudo: bool
) -> None:
    """Nothing that a login shell or sudo prints gets into a stream, and nothing is missing."""
    noise = "printf '%080000d' 7; echo hello >&2"
    host = make_host(make_sshd(f'ForceCommand {noise}; eval "$SSH_ORIGINAL_COMMAND"'), sudo=sudo)
    with host.reading(("printf", r"\n\0crossfade-ready 1\n")) as stream:
        assert stream.read() == b"\n\0crossfade-ready 1\n"
    with host.feeding(("sh", "-c", 'test "$(cat)" = in')) as to:
        to.write(b"in")


def test_streams_of_a_link_that_is_cut(make_sshd: MakeSshd, make_host: MakeHost) -> None:
    """Both kinds of stream end with the same error, and the next one has a new connection."""
    sshd = make_sshd()
    host = make_host(sshd)

    def read() -> None:
        with host.reading(("sh", "-c", "echo 1; exec sleep 300")) as stream:
            stream.readline()
            sshd.cut_off()

    def write() -> None:
        with host.feeding(("sleep", "300")) as stream:
            sshd.cut_off()
            while True:
                stream.write(bytes(65536))

    for do in (read, write):
        assert code_of(do) == "host-lost"
        with host.reading(("echo", "again")) as stream:
            assert stream.read() == b"again\n"


def test_account_without_a_shell(make_sshd: MakeSshd, make_host: MakeHost) -> None:
    """An account that runs no commands is an explained error with its own words."""
    host = make_host(make_sshd("ForceCommand echo This account is not available.; exit 1"))
    with pytest.raises(Failed) as failed:
        host.run(("true",))
    assert failed.value.code == "host-shell-unusable"
    assert "This account is not available." in failed.value.where


def test_jump_host(make_sshd: MakeSshd, make_host: MakeHost) -> None:
    """A host behind another one is reached by the operator's own configuration, and one by its
    address."""
    sshd = make_sshd()
    text = sshd.config.read_text()
    sshd.config.write_text(f"{text}{text.replace('Host far', 'Host behind', 1)}ProxyJump far\n")
    assert make_host(sshd, "behind").run(("echo", "here")).out == b"here\n"
    address = f"ssh://root@far:{sshd.address.port}"
    assert make_host(sshd, address).run(("echo", "here")).out == b"here\n"


def test_operator_s_odd_configuration(make_sshd: MakeSshd, make_host: MakeHost) -> None:
    """Settings that are meant for people at a terminal do not get in the way."""
    sshd = make_sshd()
    sshd.write_config(
        "RequestTTY force",
        "RemoteCommand echo no",
        "ControlMaster auto",
        f"ControlPath {sshd.directory}/theirs-%C",
        f"LocalForward {sshd.address.port} 127.0.0.1:1",
        "PermitLocalCommand yes",
        f"LocalCommand touch {sshd.directory}/local-command",
        "LogLevel DEBUG3",
        "StrictHostKeyChecking no",
    )
    host = make_host(sshd)
    assert host.run(("echo", "here")).out == b"here\n"
    assert not list(sshd.directory.glob("theirs-*"))
    assert not (sshd.directory / "local-command").exists()
    host.close()
    sshd.known_hosts.unlink()
    assert code_of(lambda: host.run(("true",))) == "host-key-unknown"
    assert not sshd.known_hosts.exists()


def test_secrets_are_in_no_list_of_processes(far: SshHost, tmp_path: Path) -> None:
    """Neither variables nor input stand among the arguments of any process, here or there."""
    secret, go = "planted-" + "secret-0815", tmp_path / "go"
    script = f"cat >/dev/null; : >{tmp_path}/there; while ! [ -e {go} ]; do sleep 0.05; done; "
    argv = ("sh", "-c", script + 'printf %s "$KEY"')
    with ThreadPoolExecutor(1) as pool:
        given = {"KEY": secret, "ODD": f"ü\n{secret}"}
        running = pool.submit(far.run, argv, env=given, stdin=secret.encode())
        try:
            eventually((tmp_path / "there").exists)
            lines = [" ".join(procfs.command_of(pid)) for pid in procfs.pids()]
        finally:
            go.touch()
        assert running.result(60).out == secret.encode()
    assert any(str(go) in line for line in lines), "the command was not there to be seen"
    assert not [line for line in lines if secret in line]


def test_secrets_are_masked(make_sshd: MakeSshd, make_host: MakeHost, tmp_path: Path) -> None:
    """Secrets never stand in an error, cut or whole."""
    host = make_host(make_sshd(), secrets=lambda: ["hunter2-long", "hunter2"])
    errors: list[Failed] = []
    for do in (
        lambda: host.run(("sh", "-c", "echo hunter2-long >&2; exit 1", "x" * 195 + "hunter2")),
        lambda: host.run(("no-program-hunter2",)),
        lambda: host.run(("true",), cwd=Path("/hunter2")),
        lambda: host.run(("true",), env={"a hunter2": ""}),
        lambda: host.read(tmp_path / "hunter2"),
        lambda: host.write(tmp_path, b"hunter2"),
    ):
        with pytest.raises(Failed) as failed:
            do()
        errors.append(failed.value)
    told = json.dumps([one.as_json() for one in errors], ensure_ascii=False)
    assert "hunte" not in told
    assert told.count("••••") >= 6


def test_variable_that_no_shell_takes(far: SshHost) -> None:
    """A variable with an odd name is refused, not forgotten."""
    assert code_of(lambda: far.run(("true",), env={"a.b": "1"})) == "command-not-allowed"


def test_process_that_is_left_behind(far: SshHost) -> None:
    """A server that a command leaves behind with its streams does not keep us waiting."""
    began = time.monotonic()
    done = far.run(("sh", "-c", "sleep 300 & echo $!"))
    pid = int(done.out)
    try:
        assert procfs.alive(pid)
        assert time.monotonic() - began < 60
    finally:
        os.kill(pid, signal.SIGKILL)


def test_interrupted_command(far: SshHost, tmp_path: Path) -> None:
    """When the operator interrupts us, the far command ends too."""
    note = tmp_path / "pid"

    def interrupt() -> None:
        eventually(lambda: note.exists() and note.read_text())
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        far.run(("sh", "-c", f"echo $$ >{note}; sleep 300 & wait"), timeout=100)
    thread.join()
    pid = int(note.read_text())
    eventually(lambda: not procfs.alive(pid))
    assert far.run(("true",)).status == 0


def test_listener_by_name(far: SshHost) -> None:
    """A name is looked up on the far side; one that leads nowhere has no listener."""
    with socket.socket() as listening:
        port = bind(listening, "127.0.0.1")
        listening.listen()
        told = far.listener(Address("localhost", port))
        assert told is not None
        assert told.startswith(f"pid {os.getpid()} (")
        assert far.listener(Address("no-such-host.invalid", port)) is None


def test_write_gives_away(far: SshHost, make_account: Callable[..., str], tmp_path: Path) -> None:
    """A file is written with its owner, at once."""
    name = make_account()
    far.write(tmp_path / "file", b"x", mode=0o640, owner=name)
    assert (tmp_path / "file").owner() == name
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640
    assert code_of(lambda: far.write(tmp_path / "new", b"x", owner="no such")) == "file-unwritable"
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_writing_much(far: SshHost, tmp_path: Path) -> None:
    """Megabytes get there and back whole."""
    data = os.urandom(1 << 20) * 5
    far.write(tmp_path / "file", data)
    assert far.read(tmp_path / "file") == data


def test_full_disk(make_sshd: MakeSshd, make_host: MakeHost, tmp_path: Path) -> None:
    """A file that does not fit is an explained error; the old one stays, nothing is left."""
    disk = tmp_path / "disk"
    disk.mkdir()
    script = 'mount -t tmpfs -o size=1m,nr_inodes=50 none "$0" && exec "$@"'
    host = make_host(make_sshd(before=("unshare", "--mount", "sh", "-c", script, str(disk))))
    host.write(disk / "file", b"as it was")
    assert code_of(lambda: host.write(disk / "file", bytes(3 << 20))) == "disk-full"
    assert host.read(disk / "file") == b"as it was"
    assert host.run(("ls", "-A", str(disk))).out == b"file\n"
    assert 0 < host.free_bytes(disk / "later") < 1 << 20
    assert host.file_system(disk) != host.file_system(tmp_path)
    host.run(("sh", "-c", f"cat /dev/zero >{disk}/zeros"), ok=(1,))
    host.run(("sh", "-c", f"while mkdir {disk}/$((i += 1)); do :; done"))
    assert code_of(lambda: host.make_directory(disk / "new")) == "disk-full"


def test_ordinary_user(
    make_sshd: MakeSshd,
    make_host: MakeHost,
    make_account: Callable[..., str],
    open_place: Path,
) -> None:
    """Who may not look, run or write is told so, and somebody else's listener is somebody's."""
    path, name = open_place, make_account()
    (path / "private").write_text("x")
    (path / "private").chmod(0)
    (path / "shut").mkdir(mode=0o700)
    (path / "own").mkdir()
    (path / "own").chmod(0o777)
    host = make_host(make_sshd(), f"{name}@far")
    codes = {
        "read": code_of(lambda: host.read(path / "private")),
        "exists": code_of(lambda: host.exists(path / "shut" / "file")),
        "write": code_of(lambda: host.write(path / "new", b"x")),
        "make_directory": code_of(lambda: host.make_directory(path / "shut" / "new")),
        "remove": code_of(lambda: host.remove(path / "private")),
        "run": code_of(lambda: host.run((str(path / "private"),))),
        "run inside": code_of(lambda: host.run((str(path / "shut" / "program"),))),
        "directory": code_of(lambda: host.run(("true",), cwd=path / "shut")),
    }
    assert codes == {
        "read": "file-unreadable",
        "exists": "file-unreadable",
        "write": "file-unwritable",
        "make_directory": "file-unwritable",
        "remove": "file-unwritable",
        "run": "command-not-allowed",
        "run inside": "command-not-allowed",
        "directory": "directory-missing",
    }
    with socket.socket() as listening:
        port = bind(listening, "127.0.0.1")
        listening.listen()
        assert host.listener(Address("127.0.0.1", port)) == "somebody"
    own = path / "own" / "tree"
    host.make_directory(own / "shut")
    host.write(own / "shut" / "file", b"")
    host.run(("chmod", "0", str(own / "shut")))
    host.run(("chmod", "500", str(own)))
    host.remove(own)
    assert not own.exists()


def test_sudo(
    make_sshd: MakeSshd,
    make_host: MakeHost,
    make_account: Callable[..., str],
    open_place: Path,
) -> None:
    """With sudo things are done as root, or as the account that is named; without it they are not;
    all over one connection."""
    other = make_account()
    sshd, name = make_sshd(), make_account("ALL=(ALL) NOPASSWD: ALL")
    plain = make_host(sshd, f"{name}@far")
    root, third = plain.acting_as(True), plain.acting_as(other)
    root.connect()
    who = [one.run(("id", "-un")).out.decode().strip() for one in (plain, root, third)]
    assert who == [name, "root", other]
    assert root.run(("printenv", "KEY"), env={"KEY": "a 'b'\nü"}).out == "a 'b'\nü\n".encode()
    assert root.run(("cat",), stdin=b"\0in" * 50_000).out == b"\0in" * 50_000
    assert code_of(lambda: plain.write(open_place / "file", b"x")) == "file-unwritable"
    root.write(open_place / "file", b"x", mode=0o640, owner=other)
    assert third.read(open_place / "file") == b"x"
    assert code_of(lambda: plain.read(open_place / "file")) == "file-unreadable"
    assert code_of(lambda: root.run(("sleep", "100"), timeout=0.5)) == "command-timed-out"
    assert code_of(lambda: root.run(("sh", "-c", "exit 1"))) == "command-failed"
    with socket.socket() as listening:
        port = bind(listening, "127.0.0.1")
        listening.listen()
        assert str(os.getpid()) in (root.listener(Address("127.0.0.1", port)) or "")
    assert len(sshd.connections()) == 1


@pytest.mark.parametrize(
    ("rule", "account", "code"),
    [
        ("ALL=(ALL) ALL", True, "sudo-needs-password"),
        ("", True, "sudo-needs-password"),
        ("ALL=(ALL) NOPASSWD: ALL", "no-such-account", "sudo-refused"),
    ],
)
def test_sudo_that_does_not_let_us(
    make_sshd: MakeSshd,
    make_host: MakeHost,
    make_account: Callable[..., str],
    rule: str,
    account: bool | str,
    code: str,
) -> None:
    """A sudo that wants a password is told with the rule that helps; so is one that refuses."""
    name = make_account(rule)
    host = make_host(make_sshd(), f"{name}@far", sudo=account)
    for do in (lambda: host.run(("true",)), lambda: host.read(Path("/etc/hostname")), host.connect):
        with pytest.raises(Failed) as failed:
            do()
        assert failed.value.code == code
        assert name in failed.value.what
        assert "visudo" in failed.value.next
        assert f"{name}@far" in failed.value.next
    if code == "sudo-needs-password":
        assert f"{name} ALL=(root) NOPASSWD: ALL" in failed.value.what
    assert host.acting_as(False).run(("id", "-un")).out.decode() == f"{name}\n"


def test_missing_tools(make_sshd: MakeSshd, make_host: MakeHost, tmp_path: Path) -> None:
    """What a machine lacks is named."""
    (tmp_path / "bin").mkdir()
    for tool in ("sh", "cat", "grep", "find", "id", "mkdir", "mv", "rm", "stat", "wc", "chmod"):
        (tmp_path / "bin" / tool).symlink_to(f"/bin/{tool}")
    force = f'ForceCommand PATH={tmp_path}/bin; export PATH; eval "$SSH_ORIGINAL_COMMAND"'
    host = make_host(make_sshd(force))
    with pytest.raises(Failed) as failed:
        host.connect()
    assert failed.value.code == "host-lacks-tool"
    assert "chown, head, od, sync, timeout" in failed.value.what
    assert code_of(lambda: host.run(("true",))) == "host-lacks-tool"


def test_directories_of_the_dead(
    make_sshd: MakeSshd, make_host: MakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who was killed leaves a directory behind; the next one removes it, and none in use."""
    sshd = make_sshd()
    monkeypatch.setattr("tempfile.tempdir", f"/tmp/cf-{os.getpid()}")
    base = Path(tempfile.gettempdir())
    base.mkdir()
    try:
        living = make_host(sshd)
        living.run(("true",))
        for name in ("crossfade-ssh-dead", "crossfade-ssh-new", "something else"):
            (base / name).mkdir()
        long_ago = time.time() - 10_000
        for path in (place_of(living), base / "crossfade-ssh-dead", base / "something else"):
            os.utime(path, (long_ago, long_ago))
        other = make_host(sshd)
        other.run(("true",))
        left = {place_of(living).name, place_of(other).name, "crossfade-ssh-new", "something else"}
        assert {path.name for path in base.iterdir()} == left
        living.close()
        other.close()
    finally:
        shutil.rmtree(base)


def test_nothing_stays_when_nobody_closes(sshd: Sshd) -> None:
    """A program that ends without closing leaves neither a connection nor a directory."""
    script = (
        "import sys; from pathlib import Path; from crossfade.drivers.hosts.ssh import SshHost; "
        "host = SshHost('far', config=Path(sys.argv[1])); host.run(('true',)); "
        "print(host._connection._place.path)"
    )
    argv = (sys.executable, "-c", script, str(sshd.config))
    done = subprocess.run(argv, capture_output=True, check=True, text=True)
    place = Path(done.stdout.strip())
    assert place.name.startswith("crossfade-ssh-")
    assert not place.exists()
    eventually(lambda: not masters(place))
