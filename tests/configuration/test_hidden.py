"""Secrets that are planted in a configuration show nowhere but in the files themselves."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest
from tests.configuration.scratch import Site

from crossfade.configuration import facts
from crossfade.errors import Failed
from crossfade.recipes import name_is_secret

PLANTED = {
    "registration-planted": "",
    "macaroon-planted": "",
    "form-planted": "",
    "signing-planted": "",
    "hunter2": "email: {smtp_host: mail, smtp_user: us, smtp_pass: hunter2}\n",
    "pepper99": "password_config:\n  pepper: pepper99\n",
    "sentry0dsn": "sentry: {dsn: 'https://sentry0dsn@errors.example.org/1'}\n",
    "dbpw0": "other: 'postgres://us:dbpw0@db.example.org/chat'\n",
    "PEMPLANTED": "block: |\n  -----BEGIN PRIVATE KEY-----\n  PEMPLANTED\n  -----END KEY-----\n",
    "Zk8vQ2xw9TtYpL4sR7aD": "innocent: Zk8vQ2xw9TtYpL4sR7aD\n",
    "commented-out": "#smtp: commented-out\nplain: 1 # was commented-out\n",
    "turnplanted": "anchored: &turn turnplanted\nturn_shared_secret: *turn\n",
    "queryplanted": "hook: 'https://hooks.example.org/in?x=1&api_key=queryplanted'\n",
    "wordplanted": "connect: host=db password=wordplanted\n",
    "optionplanted": "run: notify --token optionplanted --quiet\n",
    "Zk8vQ2xw9TtYpL4sR7aE": "users: {Zk8vQ2xw9TtYpL4sR7aE: us}\n",
    "listplanted": "api_tokens:\n  - listplanted\n  - nested: {deep: listplanted}\n",
}


@pytest.mark.parametrize("secret", PLANTED)
def test_planted_secret_stays_hidden(tmp_path: Path, secret: str) -> None:
    """Next to a changed line too, no secret shows in difference, findings, effects or facts."""
    site = Site(tmp_path)
    shown, files = _shown(site, PLANTED[secret])
    assert secret in files
    assert secret not in shown


def test_planted_secrets_together(tmp_path: Path) -> None:
    """The same with all of them in one file, while harmless neighbours are shown."""
    site = Site(tmp_path)
    shown, files = _shown(site, "harmless: neighbour\n" + "".join(PLANTED.values()))
    assert all(secret in files for secret in PLANTED)
    assert not any(secret in shown for secret in PLANTED)
    assert "harmless: neighbour" in shown


def _shown(site: Site, lines: str) -> tuple[str, str]:
    """Everything that may be shown of a site with these lines, and what is in its files."""
    text = site.main.read_text()
    site.main.write_text(text.replace("media_store\n", f"media_store\n{lines}"))
    carried = site.carried()
    rendering = carried.render(site.new)
    effects = carried.active_effects(rendering)
    shown = [
        rendering.difference,
        rendering.findings,
        rendering.sources,
        effects,
        facts(carried.originals()),
    ]
    files = "".join(data.decode() for data, _ in rendering.files.values())
    return f"{rendering.difference} {shown!r} {carried!r}", files


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("Zk8vQ2xw9TtYpL4sR7aE", True),
        ("[token=Zk8vQ2xw9TtYpL4sR7aE]", True),
        ("0123456789abcdef0123456789abcdef", True),
        ("redis://us:planted@db", True),
        ("Service[Catalina]", False),
        ("Valve[org.apache.catalina.valves.AccessLogValve]", False),
        ("registrationSharedSecretPath", False),
        ("enableOauth2LoginForUsers", False),
        ("AUTH_LDAP_1_SERVER_URI_2", False),
        ("log4j2-config-file-path-2", False),
        ("Connector[port=8443,protocol=HTTP/1.1]", False),
    ],
)
def test_names_that_are_secrets(name: str, secret: bool) -> None:
    """A token is one; the names that programs give to their settings are to be read."""
    assert name_is_secret(name) is secret


@pytest.mark.parametrize(
    "line",
    [
        "form_key: *hunter2\n",
        "form_key: 'hunter2\n",
        'form_key: "hunter2\\q"\n',
        "form_key: !hunter2 x\n",
        "form_key: [hunter2\n",
        "form_key: &hunter2 1\nother: &hunter2 2\nmore: *hunter2\n",
        "form_key: hunter2: hunter2\n",
        "form_key: @hunter2\n",
        "form_key: hunter2\n\tx: 1\n",
        "? [hunter2]\n: 1\n",
        "form_key: !!int hunter2\n",
        "form_key: !!binary hunter2\n",
        "%hunter2\n",
    ],
)
def test_broken_files_are_not_quoted(tmp_path: Path, line: str) -> None:
    """The error names the line and quotes nothing of it, neither in a traceback."""
    site = Site(tmp_path)
    site.add(line)
    with pytest.raises(Failed) as caught:
        site.render()
    assert caught.value.code == "configuration-refused"
    assert f"{site.main}:2" in caught.value.where
    told = "".join(traceback.format_exception(caught.value))
    assert "hunter2" not in f"{told} {caught.value.as_json()}"
