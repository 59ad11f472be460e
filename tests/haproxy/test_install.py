"""Crossfade's part in an existing configuration: a small change, taken out to the byte."""

from __future__ import annotations

import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.haproxy.scratch import Proxy

from crossfade.drivers.traffic import _haproxy_edit as edit
from crossfade.drivers.traffic import _haproxy_install
from crossfade.errors import CrossfadeError, Failed, Refused
from crossfade.model import Address, Side
from crossfade.testing.applications import ScratchApp, beside, eventually, request

OLD, NEW = Address("127.0.0.1", 21001), Address("127.0.0.1", 21002)
Site = tuple[Proxy, ScratchApp, ScratchApp, dict[Side, Address]]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A HAProxy without Crossfade's part, and two applications."""
    with ScratchApp("old") as old, ScratchApp("new") as new:
        proxy = Proxy(tmp_path, old.address)
        try:
            yield proxy, old, new, {Side.OLD: old.address, Side.NEW: new.address}
        finally:
            proxy.close()


def _switch(proxy: Proxy, side: Side, token: Path) -> None:
    proxy.traffic.hold(lease=20, at_most=60, commit_to=side, commit_token=token)
    proxy.traffic.drain(10.0)
    proxy.traffic.switch(side)
    proxy.traffic.release()


def test_in_and_out_to_the_byte(site: Site, tmp_path: Path) -> None:
    """After going back nothing of ours is left; the file keeps its mode; a diff tells it before."""
    proxy, _, _, targets = site
    proxy.config.chmod(0o640)
    preview = proxy.traffic.install(targets, act=False)
    assert proxy.config.read_text() == proxy.original
    assert proxy.traffic.look() is None
    assert "\n-    server app" in preview
    assert preview.count("\n-") == 1  # the one line that is replaced
    assert proxy.fit(targets) == preview
    assert proxy.fit(targets) == ""
    assert stat.S_IMODE(proxy.config.stat().st_mode) == 0o640
    assert request(proxy.listen, "/")["app"] == "old"
    _switch(proxy, Side.NEW, tmp_path / "token")
    _switch(proxy, Side.OLD, tmp_path / "token")
    assert "+    server app" in proxy.traffic.leave(Side.OLD, act=False)
    proxy.traffic.leave(Side.OLD, act=True)
    assert proxy.config.read_text() == proxy.original
    assert stat.S_IMODE(proxy.config.stat().st_mode) == 0o640
    assert request(proxy.listen, "/")["app"] == "old"
    assert "crossfade" not in proxy.runtime.ask("show stat")
    assert sorted(path.name for path in proxy.place.iterdir()) == ["notes.lock", "notes.state"]
    assert proxy.traffic.leave(Side.OLD, act=True) == ""


def test_leaving_for_the_new_side(site: Site, tmp_path: Path) -> None:
    """After a cutover the configuration differs in the address alone; who serves, is still told;
    and the next upgrade begins with that."""
    proxy, old, new, targets = site
    proxy.fit(targets)
    _switch(proxy, Side.NEW, tmp_path / "token")
    edited = proxy.config.read_text().replace("option forwardfor", "option forwardfor\n    # mine")
    proxy.config.write_text(edited)  # an operator's own change meanwhile stays
    proxy.traffic.leave(Side.NEW, act=True)
    expected = proxy.original.replace(str(old.address), str(new.address))
    assert proxy.config.read_text() == expected.replace("forwardfor", "forwardfor\n    # mine")
    assert request(proxy.listen, "/")["app"] == "new"
    state = proxy.traffic.look()
    assert state is not None
    assert (state.side, state.held) == (Side.NEW, False)
    with pytest.raises(Failed) as failed:
        proxy.traffic.ensure(targets)
    assert failed.value.code == "gate-not-installed"
    with ScratchApp("third") as third:
        proxy.fit({Side.OLD: new.address, Side.NEW: third.address})
        assert request(proxy.listen, "/")["app"] == "new"
        _switch(proxy, Side.NEW, tmp_path / "token")
        assert request(proxy.listen, "/")["app"] == "third"


def test_next_upgrade_without_leaving(site: Site, tmp_path: Path) -> None:
    """Sides that took other names leave for the address that serves."""
    proxy, _, new, targets = site
    proxy.fit(targets)
    _switch(proxy, Side.NEW, tmp_path / "token")
    proxy.traffic.ensure({Side.OLD: new.address, Side.NEW: NEW})
    proxy.traffic.leave(Side.OLD, act=True)
    assert f"server app {new.address} check" in proxy.config.read_text()
    assert request(proxy.listen, "/")["app"] == "new"


def test_two_applications_behind_one_proxy(site: Site, tmp_path: Path) -> None:
    """Each has its own part; a hold of one is none of the other; both go out to the byte."""
    proxy, _, _, targets = site
    with ScratchApp("shop") as shop, ScratchApp("shop 2") as shop_2:
        front = "    use_backend notes if of_notes\n"
        proxy.original = proxy.original.replace(
            front, f"    use_backend shop if {{ path_beg /shop }}\n{front}"
        ).replace("backend other", f"backend shop\n    server s {shop.address}\n\nbackend other")
        proxy.config.write_text(proxy.original)
        other = proxy.another("shop")
        proxy.fit(targets)
        other.install({Side.OLD: shop.address, Side.NEW: shop_2.address}, act=True)
        token = tmp_path / "token"
        proxy.traffic.hold(lease=20, at_most=60, commit_to=Side.NEW, commit_token=token)
        held, results = beside(lambda: request(proxy.listen, "/")["app"])
        assert request(proxy.listen, "/shop")["app"] == "shop"
        state = other.look()
        assert state is not None
        assert not state.held
        proxy.traffic.release()
        held.join()
        assert results == ["old"]
        proxy.traffic.leave(Side.OLD, act=True)
        assert proxy.traffic.look() is not None  # who serves, from what was decided
        assert other.look() is not None
        other.leave(Side.OLD, act=True)
        assert proxy.config.read_text() == proxy.original


@pytest.mark.parametrize("step", ["+1h", "-1h"])
def test_wall_clock_that_is_set(tmp_path: Path, step: str) -> None:
    """Setting the clock in a hold neither ends the lease nor makes it longer."""
    clock = tmp_path / "clock"
    clock.write_text("+0\n")
    library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    faked = {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    with ScratchApp("old") as old, ScratchApp("new") as new:
        proxy = Proxy(tmp_path, old.address, env=faked)
        try:
            proxy.fit({Side.OLD: old.address, Side.NEW: new.address})
            began = time.monotonic()
            token = tmp_path / "token"
            proxy.traffic.hold(lease=3, at_most=60, commit_to=Side.NEW, commit_token=token)
            clock.write_text(f"{step}\n")
            eventually(lambda: abs(proxy.clock() - time.time()) > 3000, "the clock is set")
            assert request(proxy.listen, "/")["app"] == "old"
            assert 2.5 < time.monotonic() - began < 30  # the lease is 3 s, the cap 60
        finally:
            proxy.close()


def test_held_is_not_left(site: Site, tmp_path: Path) -> None:
    """Nothing is taken out under a pause."""
    proxy, _, _, targets = site
    proxy.fit(targets)
    token = tmp_path / "token"
    proxy.traffic.hold(lease=20, at_most=60, commit_to=Side.NEW, commit_token=token)
    with pytest.raises(Refused) as refused:
        proxy.traffic.leave(Side.OLD, act=True)
    assert refused.value.code == "gate-held"
    assert proxy.traffic.look() is not None


def test_nothing_is_lost_in_the_reload(site: Site) -> None:
    """A request that is in flight when our part comes and goes is answered."""
    proxy, old, _, targets = site
    slow, results = beside(lambda: request(proxy.listen, "/slow?sleep=2")["app"])
    eventually(lambda: old.active == 1, "it is in flight")
    proxy.fit(targets)
    proxy.traffic.leave(Side.OLD, act=True)
    slow.join()
    assert results == ["old"]


@pytest.mark.parametrize(
    ("old", "new", "code", "words"),
    [
        ("backend notes\n", "backend others\n", "haproxy-backend-missing", "it has: others, other"),
        ("backend notes\n", "listen notes\n", "haproxy-cannot-hold", "split it"),
        ("mode http", "mode tcp", "haproxy-cannot-hold", "its mode is tcp"),
        ("option forwardfor", "cookie A insert", "haproxy-cannot-hold", "cookie A insert"),
        ("option forwardfor", "stick on src", "haproxy-cannot-hold", "past the gate"),
        ("127.0.0.9:9", "{old}", "haproxy-cannot-hold", "backend other"),
        ("server app {old}", "server app 127.0.0.8:8", "haproxy-old-side-missing", "127.0.0.8:8"),
        (
            "    server app {old}",
            "    server b 127.0.0.8:8\n    server app {old}",
            "haproxy-cannot-hold",
            "2 servers",
        ),
        ("level admin", "level operator", "haproxy-socket-level", "level operator"),
        ("option forwardfor", "option nonsense", "haproxy-config-invalid", "nonsense"),
        ("defaults\n", "    chroot /var/empty\ndefaults\n", "haproxy-place", "/var/empty"),
    ],
)
def test_refused(site: Site, old: str, new: str, code: str, words: str) -> None:
    """What cannot be held is refused by its name; nothing is changed, and the old side serves."""
    proxy, app, _, targets = site
    old, new = (text.replace("{old}", str(app.address)) for text in (old, new))
    assert proxy.original.count(old) == 1
    text = proxy.original.replace(old, new)
    proxy.config.write_text(text)
    with pytest.raises(Refused) as refused:
        proxy.fit(targets)
    assert refused.value.code == code
    assert words in f"{refused.value.what} {refused.value.where} {refused.value.next}"
    assert proxy.config.read_text() == text
    assert not proxy.place.exists()
    assert request(proxy.listen, "/")["app"] == "old"


@pytest.mark.parametrize("reload", ["false", "true", "no-such-program"])
def test_reload_refused(site: Site, monkeypatch: pytest.MonkeyPatch, reload: str) -> None:
    """A reload that fails, or that brings nothing up, is told; the file is as before, and the
    process that ran serves."""
    proxy, _, _, targets = site
    monkeypatch.setattr(_haproxy_install, "_UP_SECONDS", 1.0)
    proxy.traffic._installation._reload = (reload,)
    with pytest.raises(Failed) as failed:
        proxy.fit(targets)
    assert failed.value.code == "haproxy-reload-refused"
    assert reload in failed.value.where
    assert proxy.config.read_text() == proxy.original
    assert not list(proxy.place.glob("*.state"))
    assert request(proxy.listen, "/")["app"] == "old"


def test_change_that_does_not_hold(site: Site, tmp_path: Path) -> None:
    """HAProxy's own checker sees the change before the file is touched."""
    proxy, _, _, targets = site
    proxy.place = tmp_path / "a place"  # HAProxy takes the space for the end of the word
    proxy.traffic = proxy.another()
    with pytest.raises(Refused) as refused:
        proxy.fit(targets)
    assert refused.value.code == "haproxy-change-invalid"
    assert proxy.config.read_text() == proxy.original
    assert not proxy.config.with_name("haproxy.cfg.crossfade").exists()


def test_socket_that_is_not_there(site: Site) -> None:
    """A HAProxy that does not run, or a wrong path: no state, and commands say so."""
    proxy, _, _, targets = site
    proxy.fit(targets)
    proxy.kill()
    assert proxy.traffic.look() is None
    with pytest.raises(Failed) as failed:
        proxy.traffic.ensure(targets)
    assert failed.value.code == "gate-unreachable"
    assert str(proxy.socket) in failed.value.where
    proxy.start()


def test_socket_without_rights(site: Site) -> None:
    """A socket that we may not use, tried as another user."""
    proxy, _, _, _ = site
    code = (
        "import sys; from pathlib import Path\n"
        "from crossfade.drivers.traffic._haproxy_socket import RuntimeSocket\n"
        "from crossfade.errors import Failed\n"
        "import os; os.setuid(65534)\n"
        "try: RuntimeSocket(Path(sys.argv[1])).ask('show info')\n"
        "except Failed as failed: print(failed.code, failed.next)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(proxy.socket)], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"gate-socket-refused ls -l {proxy.socket}\n"


def test_state_that_is_damaged(site: Site) -> None:
    """Nobody guesses who serves."""
    proxy, _, _, targets = site
    proxy.fit(targets)
    state = proxy.place / "notes.state"
    state.write_text("side new\n")
    with pytest.raises(Failed) as failed:
        proxy.traffic.ensure(targets)
    assert failed.value.code == "gate-state"
    assert request(proxy.listen, "/")["app"] == "old"


def test_not_ours_to_stop(site: Site) -> None:
    """HAProxy serves others too."""
    with pytest.raises(CrossfadeError) as refused:
        site[0].traffic.stop()
    assert refused.value.code == "gate-not-ours"


TEXTS = [
    "backend notes\n mode http\n server a 127.0.0.1:21001\n",
    "global\n\tdaemon\ndefaults x\n\tmode http\nbackend notes from x\n\tserver 'app' "
    "localhost:21001 check inter 2s fall 3 ssl verify none weight 10 # why\n\n\n",
    "# head\r\nglobal # g\r\nfrontend f\r\nbackend notes\r\nmode http\r\n"
    "server a 127.0.0.1:21001\r\n",
]


@pytest.mark.parametrize("text", TEXTS)
def test_text_in_and_out(text: str) -> None:
    """Whatever the text looks like: in and out gives every byte back; only the address differs."""
    script, runtime = Path("/s/notes.lua"), Path("/s/sock")
    there = edit.install(text, "notes", OLD, NEW, script=script, runtime=runtime)
    assert edit.installed(there, "notes")
    assert not edit.installed(there, "note")
    assert edit.remove(there, "notes", OLD) == text
    was = next(word for word in text.split() if word.endswith(":21001"))
    assert edit.remove(there, "notes", NEW) == text.replace(was, str(NEW))
    aimed = edit.retarget(there, "notes", {Side.OLD: NEW, Side.NEW: OLD})
    servers = [line for line in aimed.splitlines() if line.split()[:1] == ["server"]]
    assert ["_old" in line for line in servers] == [str(NEW) in line for line in servers]
    assert edit.remove(aimed, "notes", OLD) == text
    for word in (" check", "inter", "weight 10"):
        lines = [line for line in there.splitlines() if "server crossfade_" in line]
        assert not any(word in line for line in lines)


def test_options_of_the_server_are_kept() -> None:
    """TLS and limits go along; checks, weights and cookies do not."""
    there = edit.install(TEXTS[1], "notes", OLD, NEW, script=Path("/s"), runtime=Path("/r"))
    assert f"server crossfade_new_ws {NEW} ssl verify none weight 0 no-check\n" in there
    assert "server crossfade_old localhost:21001 ssl verify none weight 0 no-check\n" in there


def test_in_a_chroot(tmp_path: Path) -> None:
    """As Debian has it: another user, in a chroot.  It sees decisions while it runs and counts;
    and a tool that died right after the commit is followed."""
    jail = tmp_path / "jail"
    jail.mkdir(mode=0o755)
    with ScratchApp("old") as old, ScratchApp("new") as new:
        targets = {Side.OLD: old.address, Side.NEW: new.address}
        more = f"    chroot {jail}\n    user nobody\n"
        proxy = Proxy(tmp_path, old.address, more, jail / "crossfade")
        try:
            proxy.fit(targets)
            assert f"Uid:\t{65534}" in Path(f"/proc/{proxy.worker()}/status").read_text()
            token = tmp_path / "token.committed"
            proxy.traffic.hold(lease=4, at_most=60, commit_to=Side.NEW, commit_token=token)
            proxy.traffic.drain(10.0)
            token.touch()
            assert request(proxy.listen, "/held", b"x")["app"] == "new"
            state = proxy.traffic.look()
            assert state is not None
            assert (state.side, state.held, state.writes_since_switch) == (Side.NEW, False, 1)
            proxy.kill()
            proxy.start()
            state = proxy.traffic.look()
            assert state is not None
            assert (state.side, state.writes_since_switch) == (Side.NEW, 1)
        finally:
            proxy.close()
