"""The ``process`` service against real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from tests.testbed.site import eventually

from crossfade.drivers import procfs
from crossfade.drivers.services.process import ProcessService
from crossfade.drivers.services.spawn import ProcessSpec
from crossfade.errors import Failed
from crossfade.testing.free_ports import free_ports

Make = Callable[..., ProcessService]
# a program with a child in a session of its own, as careless daemons have
FAMILY = (
    "import subprocess, sys, time\n"
    "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'],"
    " start_new_session=True)\n"
    "print('started', flush=True); time.sleep(600)\n"
)
STUBBORN = (
    "import signal, time\nsignal.signal(15, signal.SIG_IGN)\n"
    "print('up', flush=True); time.sleep(600)\n"
)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes services of one-line programs; all are stopped in the end."""
    made: list[ProcessService] = []

    def service(program: str = "", **given: object) -> ProcessService:
        spec = {
            "mark": f"test-{os.getpid()}-{tmp_path.name}-{len(made)}",
            "command": (sys.executable, "-c", program),
            "directory": str(tmp_path),
            "log": str(tmp_path / f"log-{len(made)}"),
            "environment": {},
            **given,
        }
        made.append(ProcessService(ProcessSpec(**spec), tmp_path / "run"))  # type: ignore[arg-type]
        return made[-1]

    yield service
    for one in made:
        one.stop(0.2)


def logged(service: ProcessService, text: str) -> bool:
    """Whether the program's log has a line."""
    return any(text in line for line in service.log_tail(50))


def test_whole_family_is_stopped(make: Make) -> None:
    """A child that left the group is found by its mark and stopped as well: no orphans."""
    service = make(FAMILY)
    service.start()
    eventually(lambda: len(service.look().pids) == 2)
    pids = service.look().pids
    service.stop(5)
    assert [pid for pid in pids if procfs.alive(pid)] == []
    assert service.look().running is False


def test_stubborn_program_is_killed(make: Make) -> None:
    """What does not end within the time given is killed."""
    service = make(STUBBORN)
    service.start()
    eventually(lambda: logged(service, "up"))
    (pid,) = service.look().pids
    service.stop(0.3)
    assert not procfs.alive(pid)


def test_started_twice_runs_once(make: Make) -> None:
    """Starting again what runs changes nothing; another object sees the same process."""
    service = make("import time; time.sleep(600)")
    service.start()
    service.start()
    again = ProcessService(service.spec, service.keep)
    again.start()
    assert len(service.look().pids) == 1
    again.stop(5)
    assert service.look().running is False


def test_outlives_its_starter_and_is_revived(make: Make) -> None:
    """The revival's command starts it from another process, which then ends; burial stops it."""
    service = make("import time; time.sleep(600)")
    subprocess.run(service.revival(), check=True)
    (pid,) = service.look().pids
    assert procfs.group_of(pid) == pid
    description = next(service.keep.glob("*.json"))
    assert description.stat().st_mode & 0o777 == 0o600
    subprocess.run(service.burial(), check=True)
    assert service.look().running is False


def test_secrets_are_resolved_only_at_the_start(make: Make, tmp_path: Path) -> None:
    """The kept description has the reference; the program has the secret."""
    (tmp_path / "token").write_text("planted-secret\n", encoding="utf-8")
    service = make(
        "import os, hashlib; print(hashlib.sha256(os.environ['TOKEN'].encode()).hexdigest())",
        environment={"TOKEN": "file:token"},
        base=str(tmp_path),
    )
    subprocess.run(service.revival(), check=True)
    expected = sha256(b"planted-secret").hexdigest()
    eventually(lambda: logged(service, expected))
    for path in service.keep.iterdir():
        assert b"planted-secret" not in path.read_bytes()


def test_held_start(make: Make, tmp_path: Path) -> None:
    """A prepared program has imported its modules, runs nothing yet, and then goes on at once."""
    (tmp_path / "slow.py").write_text("import time; time.sleep(0.3)\n", encoding="utf-8")
    (tmp_path / "app.py").write_text(
        "import sys, slow\n"
        "if __name__ == '__main__':\n    print('args', sys.argv[1:], flush=True)\n"
        "    import time; time.sleep(600)\n",
        encoding="utf-8",
    )
    service = make(command=(sys.executable, "-m", "app", "one", "two"), preload=("slow", "app"))
    service.prepare()
    assert service.look().running is False, "what waits does not run yet, whoever asks"
    assert ProcessService(service.spec, service.keep).look().running is False
    assert not logged(service, "args")
    service.start()
    eventually(lambda: logged(service, "args ['one', 'two']"))
    assert service.look().running is True


def test_held_start_ends_with_its_starter(make: Make, tmp_path: Path) -> None:
    """When its starter is killed, what was waiting ends by itself."""
    (tmp_path / "app.py").write_text("print('ran', flush=True)\n", encoding="utf-8")
    service = make(command=(sys.executable, "-m", "app"), preload=("json",))
    service.revival()
    program = (
        "import sys, os, signal\nfrom pathlib import Path\n"
        "from crossfade.drivers.services.process import ProcessService\n"
        "from crossfade.drivers.services.spawn import ProcessSpec\n"
        "path = Path(sys.argv[1])\n"
        "service = ProcessService(ProcessSpec.load(path), path.parent)\n"
        "service.prepare(); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    description = str(next(service.keep.glob("*.json")))
    done = subprocess.run((sys.executable, "-c", program, description), check=False)
    assert done.returncode == -signal.SIGKILL
    eventually(lambda: procfs.with_mark("CROSSFADE_SERVICE", service.spec.mark) == set())
    assert not logged(service, "ran")


def test_preload_that_fails_is_told_before_the_pause(make: Make) -> None:
    """A module that cannot be imported is an error of prepare, with the log's last lines."""
    service = make(command=(sys.executable, "-m", "json.tool"), preload=("no_such_module",))
    with pytest.raises(Failed) as caught:
        service.prepare()
    assert caught.value.code == "service-does-not-start"
    assert "no_such_module" in caught.value.where


def test_foreign_process_is_found(make: Make, tmp_path: Path) -> None:
    """A program that somebody else started is found by its pid file or its listening address."""
    (port,) = free_ports(1)
    argv = (sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port))
    with subprocess.Popen(
        argv, cwd=tmp_path, start_new_session=True, stderr=subprocess.DEVNULL
    ) as foreign:
        (tmp_path / "pid").write_text(str(foreign.pid), encoding="ascii")
        by_file = make(pid_file=str(tmp_path / "pid"))
        by_address = make(address=f"127.0.0.1:{port}")
        assert by_file.look().pids == (foreign.pid,)
        eventually(lambda: by_address.look().pids == (foreign.pid,))
        by_address.stop(5)
        assert by_file.look().running is False


def test_program_that_is_missing(make: Make) -> None:
    """A command that cannot be run is a clear error."""
    with pytest.raises(Failed) as caught:
        make(command=("/no/such/program",)).start()
    assert (caught.value.code, "No such file" in caught.value.what) == (
        "service-does-not-start",
        True,
    )


def test_log_is_kept(make: Make) -> None:
    """A second start appends to the log of the first."""
    service = make("import os; print('run of', os.getpid(), flush=True)")
    for _ in range(2):
        service.start()
        until = time.monotonic() + 60
        while service.look().running and time.monotonic() < until:
            time.sleep(0.01)
    assert len([line for line in service.log_tail(10) if line.startswith("run of")]) == 2
