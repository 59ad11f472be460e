"""Words for a far shell arrive as they are, whatever is in them."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crossfade.drivers.hosts import _ssh_shell as shell
from crossfade.drivers.hosts.ssh import SshHost

NASTY = (
    "", "-", "--", "-n", "-rf", "'", '"', "`id`", "$(id)", "${HOME}", "\\", "\\n", "\n", "a\n",
    ";", "&", "|", "*", "?", "[a]", "~", "!", "!!", "#", "%s", "%b", "\\0101", " ", "\t", "\r", "=",
    "'$(touch /dev/null)'", "ü", "日本", "\udc81", "\udc88\udcff", "\x7f", "\x01", "a'b\"c\nd",
)  # fmt: skip
PIECES = st.one_of(
    st.sampled_from(NASTY),
    st.text(max_size=8, alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    st.binary(max_size=8).map(lambda raw: os.fsdecode(raw.replace(b"\0", b""))),
)
WORDS = st.lists(st.lists(PIECES, max_size=4).map("".join), min_size=1, max_size=6)
VARIABLES = st.dictionaries(
    st.from_regex(r"[A-Z]_?[a-z0-9]{2,6}", fullmatch=True),
    st.lists(PIECES, max_size=3).map("".join),
    max_size=3,
)
TOKEN = "0123456789abcdef" * 2


def shown(words: Sequence[str], env: Mapping[str, str]) -> bytes:
    """What ``asked`` prints for these words and variables."""
    return b"".join(os.fsencode(one) + b"\0" for one in (*words, *env.values()))


def asked(words: Sequence[str], env: Mapping[str, str]) -> tuple[str, ...]:
    """A command that prints its words, and the variables."""
    script = 'printf "%s\\0" "$@"' + "".join(f' "${name}"' for name in env)
    return ("sh", "-c", script, "sh", *words)


@pytest.mark.parametrize("login", [("dash", "-c"), ("bash", "-c"), ("bash", "--posix", "-c")])
@settings(deadline=None, max_examples=60)
@given(words=WORDS, env=VARIABLES, stdin=st.binary(max_size=30))
def test_shells(
    login: tuple[str, ...], words: Sequence[str], env: Mapping[str, str], stdin: bytes
) -> None:
    """A shell gives a command exactly its words and variables, and leaves it all of its input."""
    argv = asked(words, env)
    argv = ("sh", "-c", f"{argv[2]}; cat", *argv[3:])
    line = shell.command_line(TOKEN, argv, timeout=30, env=env, cwd=None)
    done = subprocess.run(
        (*login, shell.bootstrap("0")), input=line.encode() + stdin, capture_output=True, check=True
    )
    ready, _, rest = done.stdout.partition(b"\n")
    assert ready.startswith(shell.READY)
    said, _, status = rest.partition(TOKEN.encode())
    assert (said, status) == (shown(words, env) + stdin, b" end 0\n")


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(words=WORDS, env=VARIABLES, stdin=st.binary(max_size=30))
def test_through_ssh(
    far: SshHost, words: Sequence[str], env: Mapping[str, str], stdin: bytes
) -> None:
    """The same through a real sshd."""
    done = far.run((*asked(words, env),), env=env, stdin=stdin)
    assert (done.out, done.err) == (shown(words, env), b"")
    assert far.run(("cat",), stdin=stdin).out == stdin


@settings(deadline=None, max_examples=12)
@given(name=st.lists(PIECES, min_size=1, max_size=4).map("".join))
def test_names_of_files(far: SshHost, tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    """A file, a directory and a working directory may have any name that a disk takes."""
    name = name.replace("/", "_")
    while len(os.fsencode(name)) > 200:
        name = name[:-1]
    if name in ("", ".", ".."):
        name += "x"
    place = tmp_path_factory.mktemp("names")
    path = place / name
    assert not far.exists(path)
    far.write(path, os.fsencode(name))
    assert [os.fsencode(one) for one in os.listdir(place)] == [os.fsencode(name)]  # noqa: PTH208
    assert far.exists(path)
    assert far.read(path) == os.fsencode(name)
    far.remove(path)
    far.make_directory(path / "below")
    assert far.run(("pwd", "-P"), cwd=path).out == os.fsencode(path) + b"\n"
    assert far.free_bytes(path / "later") > 0
    far.remove(path)
    assert list(place.iterdir()) == []


def test_names_below_the_home_directory(far: SshHost) -> None:
    """A path that is not absolute begins where the account's login does, dash or not."""
    home = Path(far.run(("pwd",)).out.decode().strip())
    for name in ("-crossfade-test", "- crossfade'test"):
        try:
            far.write(Path(name), b"x")
            assert (home / name).read_bytes() == b"x"
            assert far.read(Path(name)) == b"x"
        finally:
            (home / name).unlink(missing_ok=True)
        far.remove(Path(name))


def test_an_earlier_shell_is_ended_and_no_other() -> None:
    """What kills the shell of an earlier attempt looks first whether it is that one."""
    with subprocess.Popen(
        ("sh", "-c", shell.bootstrap("abc123")),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as earlier:
        assert earlier.stdout is not None
        pid = int(earlier.stdout.readline().removeprefix(shell.READY))
        subprocess.run(("sh", "-c", shell.ending(pid, "abc124")), check=True)
        assert earlier.poll() is None
        subprocess.run(("sh", "-c", shell.ending(pid, "abc123")), check=True)
        assert earlier.wait(30) == -signal.SIGKILL


def test_no_command_can_pretend_to_have_ended(far: SshHost) -> None:
    """Lines that look like ours are a command's output."""
    lines = "crossfade-ready 1\n" + f"{TOKEN} begin 1\n{TOKEN} end 0\n"
    done = far.run(("sh", "-c", 'printf %s "$1"; printf %s "$1" >&2; exit 3', "sh", lines), ok=(3,))
    assert (done.out, done.err) == (lines.encode(), lines.encode())
