"""Unit files as text.  That systemd itself reads them so is tested on a machine that has it."""

import pytest

from crossfade.drivers.services.unit_text import (
    Setting,
    environment_file,
    our_part,
    rewritten,
    settings,
)

FRAGMENT = """\
[Unit]
Description=Notes \\
# said in between
  for all
After=network.target

[Service]
; the account
User=notes
Environment=A=1
ExecStartPre=/srv/notes/prepare
ExecStart=/srv/notes/bin/notes --config /etc/notes/notes.conf
ReadWritePaths=/srv/notes /srv/notes-cache
"""
DROP_IN = """\
[Service]
Environment=
Environment=B=2
LimitNOFILE=4096
"""


def test_what_holds_is_read_in_order() -> None:
    """Long lines are joined, comments left out, and an empty value takes back what was said."""
    found = settings([FRAGMENT, DROP_IN])
    assert Setting("Unit", "Description", "Notes  for all") in found
    assert [s.value for s in found if s.name == "Environment"] == ["B=2"]
    assert Setting("Service", "LimitNOFILE", "4096") in found


def test_paths_move_and_nothing_else() -> None:
    """Neither a neighbour that begins alike nor a comment; and no path is moved twice."""
    moved = {"/srv/notes": "/srv/new", "/srv/new": "/wrong", "/etc/notes": "/etc/new"}
    text = "# in /srv/notes\n" + FRAGMENT + "EnvironmentFile=-/srv/notes/env\n"
    done = rewritten(text, moved)
    assert "# in /srv/notes\n" in done
    assert "ReadWritePaths=/srv/new /srv/notes-cache\n" in done
    assert "ExecStart=/srv/new/bin/notes --config /etc/new/notes.conf\n" in done
    assert "EnvironmentFile=-/srv/new/env\n" in done
    assert "/wrong" not in done


def test_paths_that_need_quotes() -> None:
    """They are put between quotes where a setting is a list, and are found between quotes."""
    odd = '/srv/a "b" %c\\d'
    said = r"/srv/a \"b\" %%c\\d"
    plain = 'ReadWritePaths=/srv/notes/x /other\nEnvironment="A=/srv/notes/x"\n'
    plain += "WorkingDirectory=/srv/notes\n"
    quoted = f'ReadWritePaths="{said}"/x /other\nEnvironment="A={said}/x"\n'
    quoted += 'WorkingDirectory=/srv/a "b" %%c\\d\n'
    assert rewritten(plain, {"/srv/notes": odd}) == quoted
    assert rewritten(f'ReadWritePaths="{said}/x"\n', {odd: "/new"}) == 'ReadWritePaths="/new/x"\n'
    assert rewritten(f'ReadWritePaths="{said}/x"\n', {odd: "/n w"}) == 'ReadWritePaths="/n w/x"\n'


def test_our_part_replaces_every_command() -> None:
    """What the old unit ran is taken back before ours is said; nothing in a word is special."""
    part = our_part(
        ["/a b/run", "100%", "$HOME", 'say "x"\\', "zwei\nZeilen"],
        "/data",
        {"User": "app"},
        "/etc/5%",
    )
    found = settings([FRAGMENT, part])
    assert [s.name for s in found if s.name.startswith("Exec")] == ["ExecStart"]
    (command,) = [s.value for s in found if s.name == "ExecStart"]
    assert command == '"/a b/run" "100%%" "$$HOME" "say \\"x\\"\\\\" "zwei\\nZeilen"'
    assert "User=app\n" in part
    assert "EnvironmentFile=/etc/5%%\n" in part


@pytest.mark.parametrize("path", ["/a\nExecStart=/bin/sh", " /a", "/a ", "/a\\", ""])
def test_paths_that_cannot_be_said(path: str) -> None:
    """A path can never become a setting of its own."""
    with pytest.raises(ValueError, match="no such path"):
        our_part(["/bin/true"], path, {}, "/file")


def test_secrets_for_a_file() -> None:
    """Quotes, backslashes and dollars are the value's own."""
    assert environment_file({"P": 'a"b\\c$d`e'}) == 'P="a\\"b\\\\c\\$d\\`e"\n'
    with pytest.raises(ValueError, match="null byte"):
        environment_file({"P": "a\0b"})
