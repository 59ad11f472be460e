"""Secrets that are planted in a configuration show nowhere but in the files themselves."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest
from tests.configuration.scratch import Site

from crossfade.errors import Failed

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
    "listplanted": "api_tokens:\n  - listplanted\n  - nested: {deep: listplanted}\n",
}


def test_planted_secrets_stay_hidden(tmp_path: Path) -> None:
    """Difference, findings, effects and facts hold none of them; the rendered files hold all."""
    site = Site(tmp_path)
    text = site.main.read_text()
    site.main.write_text(text.replace("media_store\n", "media_store\n" + "".join(PLANTED.values())))
    carried = site.carried()
    rendering = carried.render(site.new)
    shown = "\n".join(
        [
            rendering.difference,
            repr(rendering.findings),
            repr(rendering.sources),
            repr(carried.active_effects(rendering)),
            repr(carried.facts()),
            repr(carried),
        ]
    )
    files = "".join(data.decode() for data, _ in rendering.files.values())
    for secret in PLANTED:
        assert secret in files
        assert secret not in shown
    assert "smtp_host" in rendering.difference


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
