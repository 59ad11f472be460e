"""How the old program is run, as it is shown and asked, and what of it must not go over."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from crossfade.configuration import Decision, Decisions
from crossfade.configuration._running import answer_to, judgements, old_servers, texts
from crossfade.errors import UsageError
from crossfade.model import Address, Endpoint, Installation, Side
from crossfade.ports import RunSetting

UNIT = "/etc/systemd/system/app.service"


def carried(value: str, *names: str, file: str = UNIT) -> RunSetting:
    """A setting that comes over as it is."""
    return RunSetting(file, names, "carried", "it comes over", value, value, line=3)


def test_no_secret_is_shown(tmp_path: Path) -> None:
    """Neither of a variable with such a name, nor one that looks so, nor in a command line; what
    is plain is shown."""
    settings = [
        carried("planted", "Service", "Environment", "MAIL_PASSWORD"),
        carried("planted", "API_TOKEN", file="/etc/default/app"),
        carried("postgres://a:planted@db/x", "DATABASE_URL"),
        carried("/bin/app --password planted", "Service", "ExecStart"),
        carried("key:planted", "Service", "SetCredential"),
        carried("true", "Service", "PrivateTmp"),
        carried('"/srv/synapse/app2/bin/python" "-c" "/srv/new/site.yaml"', "Service", "ExecStop"),
        carried("4", "THREADS"),
    ]
    found = judgements(settings, Decisions(tmp_path / "decisions.toml"))
    assert "planted" not in repr(found)
    shown = {one.setting[-1]: one.yours for one in found}
    assert (shown["PrivateTmp"], shown["THREADS"]) == ("true", "4")
    assert "/srv/synapse/app2/bin/python" in shown["ExecStop"]
    assert shown["MAIL_PASSWORD"].startswith("(secret, fingerprint ")
    assert shown["MAIL_PASSWORD"] == shown["API_TOKEN"], "equal values have equal fingerprints"


def test_an_answer_holds_for_its_value(tmp_path: Path) -> None:
    """Once the program has another value, it is asked again; a choice that is none is refused."""
    decisions = Decisions(tmp_path / "decisions.toml")
    asked = replace(carried("4", "THREADS"), verdict="needs-review", asked=True)
    (question,) = judgements([asked], decisions)
    assert (question.open, question.choices) == (True, ("yours", "new"))
    for choice in ("yours", "mine"):
        given = Decision(choice, None, question.binding, question.file, question.setting)
        decisions.write([question], [given])
        if choice == "yours":
            assert answer_to(asked, decisions) == "yours"
            assert answer_to(replace(asked, yours="5"), decisions) == ""
    with pytest.raises(UsageError, match="THREADS has the choice mine, which is none"):
        answer_to(asked, decisions)


def side(which: Side, port: int, database: str) -> Installation:
    """An installation with a database on a server."""
    place = Path("/srv") / which
    there = Endpoint("postgres", Address("127.0.0.1", port), database, "app", "", "", "", Path())
    at = Address("127.0.0.1", 8000)
    return Installation(
        "app", "1", which, "local", place, place, place, at, databases={"main": there}
    )


def test_the_old_database_is_not_named() -> None:
    """Neither its server nor, on the same one, the database; what does not go over may name it."""
    old = side(Side.OLD, 5432, "app")
    url = carried("postgres://app@127.0.0.1:5432/app", "URL")
    left = replace(url, verdict="kept-new")
    others = carried("postgres://app@127.0.0.1:5432/app2 1127.0.0.1:5432/app", "URL")
    for new in (side(Side.NEW, 5433, "app"), side(Side.NEW, 5432, "app2")):
        (broken,) = old_servers([url, left], old, new)
        assert (broken.holds, broken.observed) == (False, "still in app.service:3 URL")
        assert list(old_servers([left], old, new)) == []
    (another,) = old_servers([others], old, side(Side.NEW, 5432, "app2"))
    assert another.holds
    assert list(old_servers([url], old, side(Side.NEW, 5432, "app"))) == []
    assert [one.place for one in texts([url, left])] == ["app.service:3 URL"]
