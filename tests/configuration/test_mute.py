"""The rehearsal's overlay: what is muted, its proof, and that nothing else differs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from tests.configuration.scratch import HOMESERVER, Site, failing

from crossfade.configuration import CarriedConfiguration
from crossfade.model import Installation
from crossfade.ports import Rendering
from crossfade.recipes import Condition, ConfigurationSpec, EffectSpec, MuteSpec, load

LOUD = """\
email:
  smtp_host: mail.example.org   # our mail server
  smtp_pass: planted-smtp
  notif_from: "Chat <chat@example.org>"
app_service_config_files: ["{config}/irc.yaml"]
sentry: {dsn: "https://planted-dsn@sentry.example.org/1"}
url_preview_enabled: true
url_preview_ip_range_blacklist: ['10.0.0.0/8']
start_pushers: true
opentracing:
  enabled: true
  jaeger_config: {sampler: {type: const, param: 1}}
"""
PLANTED = ("planted-smtp", "planted-dsn", "planted-as", "planted-hs")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A site that acts on the outside in many ways."""
    site = Site(tmp_path)
    text = site.main.read_text()
    for line in ("federation_domain_whitelist: []\n", "pusher_instances: []\n"):
        text = text.replace(line, "")
    site.main.write_text(text.replace("report_stats: false", "report_stats: true"))
    site.add(LOUD)
    (site.old.config / "irc.yaml").write_text(
        "id: irc\nas_token: planted-as\nhs_token: planted-hs\n"
    )
    return site


def try_of(site: Site) -> Installation:
    """Where the rehearsal's copy is."""
    place = site.directory / "try"
    return replace(site.new, config=place / "etc", data=place / "data")


def carried(site: Site, effects: Sequence[EffectSpec] | None = None) -> CarriedConfiguration:
    """Of Synapse's recipe, with other effects if they are given."""
    made = site.carried()
    made._final = site.new
    if effects is not None:
        made._recipe = replace(made._recipe, effects=tuple(effects))
    return made


def text_of(rendering: Rendering, name: str = "homeserver.yaml") -> str:
    """One rendered file."""
    (text,) = [data.decode() for path, (data, _) in rendering.files.items() if path.endswith(name)]
    return text


def test_every_effect_is_muted_and_nothing_else_touched(site: Site) -> None:
    """Each active effect's mute is in the rehearsal, every other line is the cutover's, and after
    it nothing is active."""
    configuration = carried(site)
    plain, muted = (configuration.render(site.new, muted=wanted) for wanted in (False, True))
    active = [line.split(":")[0] for line in configuration.active_effects(plain)]
    assert active == [
        *("federation", "push", "e-mail", "application-services", "statistics"),
        *("error-reports", "tracing", "url-previews"),
    ]
    assert configuration.active_effects(muted) == ()
    assert failing(muted) == []
    was, now = yaml.safe_load(text_of(plain)), yaml.safe_load(text_of(muted))
    for key in ("email", "app_service_config_files", "sentry"):
        assert was.pop(key)
        assert key not in now
    assert now == was | {
        "report_stats": False,
        "url_preview_enabled": False,
        "federation_domain_whitelist": [],
        "pusher_instances": [],
        "enable_registration": False,
        "opentracing": {**was["opentracing"], "enabled": False},
    }
    kept = [line for line in text_of(muted).splitlines() if line in text_of(plain).splitlines()]
    assert len(kept) == len(text_of(muted).splitlines()) - 6, "only six lines are other ones"
    assert "# Configuration of our chat server." in kept


def test_no_outside_credential_is_in_any_file(site: Site) -> None:
    """What a mute takes out is in no file of the rehearsal, nor is the file that only a setting
    named which was taken out; the cutover's files have all of it."""
    configuration = carried(site)
    plain, muted = (configuration.render(site.new, muted=wanted) for wanted in (False, True))
    whole, silent = (
        "".join(data.decode() for data, _ in rendering.files.values())
        for rendering in (plain, muted)
    )
    assert [secret for secret in PLANTED if secret in silent] == []
    assert [secret for secret in PLANTED if secret not in whole] == []
    assert not any(path.endswith("irc.yaml") for path in (*muted.files, *muted.sources))
    assert plain.mutes == ()


def test_what_is_shown(site: Site) -> None:
    """Keys and effects are named, the difference has the changed lines; no secret shows."""
    rendering = carried(site).render(site.new, muted=True)
    words = [mute.words for mute in rendering.mutes]
    assert "e-mail: homeserver.yaml email taken out" in words
    assert "federation: homeserver.yaml federation_domain_whitelist set" in words
    assert "application-services: irc.yaml taken out" in words
    assert "-report_stats: true\n+report_stats: false\n" in rendering.difference
    assert "+++ (not in the rehearsal)" in rendering.difference
    shown = rendering.difference + json.dumps([mute.as_json() for mute in rendering.mutes])
    shown += repr(rendering.findings)
    assert [secret for secret in PLANTED if secret in shown] == []


def test_two_renderings_differ_by_places_and_mutes_only(site: Site) -> None:
    """Both are rendered and compared, setting by setting."""
    configuration = carried(site)
    for muted, count in ((True, 12), (False, 0)):
        finding = configuration.agrees(try_of(site), muted=muted)
        assert finding.holds, finding
        assert f"{count} muted" in finding.observed
        assert f"{6 if muted else 7} places" in finding.observed


class Tampering(CarriedConfiguration):
    """Renders the rehearsal's file with something else in it."""

    def __init__(self, other: CarriedConfiguration, old: str, new: str) -> None:
        self.__dict__ |= other.__dict__
        self.old, self.new = old.encode(), new.encode()

    def _render(self, *given: object, muted: bool) -> Rendering:
        found = super()._render(*given, muted=muted)  # type: ignore[arg-type]
        if not muted:
            return found
        files = {p: (d.replace(self.old, self.new), m) for p, (d, m) in found.files.items()}
        return replace(found, files=files)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("chat.example.org", "test.example.org", "server_name"),
        ("port: 8009", "port: 8010", "listeners.0.port"),
        ("/data/homeserver.db", "/data/other.db", "database.args.database"),
        ("report_stats: false", "report_stats: true", "report_stats"),
        ("federation_domain_whitelist: []", "federation_domain_whitelist: [x.org]", "federation"),
        ("form_secret: form-planted\n", "", "form_secret"),
        ("[client, federation]", "[client]", "listeners.0.resources.0.names.1"),
        ("enable_registration: false", "enable_registration: false\nx: 1", "x"),
        ("signing-planted", "another", "chat.signing.key"),
    ],
)
def test_any_other_difference_is_found(site: Site, old: str, new: str, named: str) -> None:
    """A setting that is another one, is missing or is more; also one that was to be muted and is
    not, or otherwise, and a place that is not the new side's."""
    finding = Tampering(carried(site), old, new).agrees(try_of(site), muted=True)
    assert not finding.holds
    assert named in finding.observed
    assert "planted" not in finding.observed


def test_an_effect_without_a_mute_stays_active(site: Site) -> None:
    """Modules may do anything, and leaving them out would not be a rehearsal: they stay refused."""
    site.add("modules: [{module: ours.Spam, config: {}}]\n")
    configuration = carried(site)
    muted = configuration.render(site.new, muted=True)
    assert [line.split(":")[0] for line in configuration.active_effects(muted)] == ["modules"]
    assert failing(muted) == []


def test_a_mute_that_cannot_be_written_makes_no_rehearsal(site: Site) -> None:
    """Where an alias shows what is to be muted at another place too, it is refused and said so; the
    file is as it was, so its effects are active."""
    text = site.main.read_text().replace("email:\n", "email: &mail\n")
    site.main.write_text(f"{text}old_email: *mail\n")
    configuration = carried(site)
    muted = configuration.render(site.new, muted=True)
    (finding,) = failing(muted)
    assert "homeserver.yaml: the mutes can be written and proven" in finding.claim
    assert "anchor or alias" in finding.observed
    assert len(configuration.active_effects(muted)) >= 7
    assert text_of(muted) == text_of(configuration.render(site.new))


@pytest.mark.parametrize(
    ("text", "key", "value", "expected"),
    [
        ("a: 1\n", "push.enabled", False, {"a": 1, "push": {"enabled": False}}),
        ("push:\n", "push.enabled", False, {"push": {"enabled": False}}),
        ("push: null\nb: 2\n", "push.enabled", False, {"push": {"enabled": False}, "b": 2}),
        ("push: {x: 1}\n", "push.enabled", False, {"push": {"x": 1, "enabled": False}}),
        ("hosts:\n  - {name: a, x: 1}\n  - {name: b}\nb: 2\n", "hosts", [], {"hosts": [], "b": 2}),
        ("hosts: [a]  # ours\n", "hosts", ["sink"], {"hosts": ["sink"]}),
        ("mail: {to: a, cc: b}\n", "mail", {"to": "sink"}, {"mail": {"to": "sink"}}),
        ("on: yes\nmail: x\n", "mail", "it's: '#1'", {True: True, "mail": "it's: '#1'"}),
        ("", "mail", "off", {"mail": "off"}),
        ("# nothing yet\r\na: 1\r\n", "mail", "off", {"a": 1, "mail": "off"}),
    ],
)
def test_values_of_all_kinds(
    tmp_path: Path, text: str, key: str, value: object, expected: object
) -> None:
    """A key is set where it is, added where it is not, and replaces what is in its way."""
    site = Site(tmp_path)
    (site.old.config / "more.yaml").write_text(text, newline="")
    mute = (MuteSpec("more.yaml", key, value=value),)
    configuration = carried(site, [EffectSpec("mail", "sends mail", mute=mute)])
    spec = ConfigurationSpec("yaml", "more.yaml")
    files = (*configuration._recipe.configuration, spec)
    configuration._recipe = replace(configuration._recipe, configuration=files)
    rendering = configuration.render(site.new, muted=True)
    assert failing(rendering) == []
    assert yaml.safe_load(text_of(rendering, "more.yaml")) == expected
    assert configuration.agrees(try_of(site), muted=True).holds


def test_a_silent_site_gets_no_mute(tmp_path: Path) -> None:
    """What is silent by itself is rendered the same for both."""
    site = Site(tmp_path)
    configuration = carried(site)
    muted, plain = (configuration.render(site.new, muted=wanted) for wanted in (True, False))
    assert muted.mutes == ()
    assert muted.files == plain.files
    assert muted.difference == plain.difference


def test_synapse_mutes_only_what_it_says(site: Site) -> None:
    """A site whose registration needs an address starts muted: that demand goes with the mail."""
    site.add("enable_registration: true\nregistrations_require_3pid: [email]\n")
    site.add("account_validity: {enabled: true, period: 6w, renew_at: 1w}\n")
    model = yaml.safe_load(text_of(carried(site).render(site.new, muted=True)))
    assert model["enable_registration"] is False
    assert "registrations_require_3pid" not in model
    assert model["account_validity"] == {"enabled": True, "period": "6w"}


def test_effects_that_stay_refused() -> None:
    """Those whose silence would leave out what only a start with them shows."""
    effects = load("synapse", Path()).effects
    without = [effect.name for effect in effects if not effect.mute]
    assert without == ["modules", "media-storage", "delegated-authentication"]
    assert "planted" in HOMESERVER


@pytest.mark.parametrize(
    ("format", "text", "key", "value", "expected"),
    [
        ("ini", "[mail]\nENABLED = true ; x\nTo=a\n", "mail.enabled", False, "ENABLED = false"),
        ("ini", "[a]\nb = 1\n", "mail.enabled", False, "[mail]\nenabled = false\n"),
        ("ini", "top = 1\n[mail]\nto = a\n", "mail.enabled", False, "to = a\nenabled = false\n"),
        ("json", '{"mail": {"to": "a"}}\n', "mail.enabled", False, '"enabled": false'),
        ("json", '{"mail": ["a", "b"], "x": 1}\n', "mail", [], '{"mail": [], "x": 1}\n'),
        ("toml", 'x = 1\n[mail]\nto = "a"\n', "mail.enabled", False, "enabled = false"),
        ("toml", 'mail = ["a"] # ours\n', "mail", [], "mail = [] # ours\n"),
        ("properties", "mail.enabled=true\nx=1\n", "mail.enabled", False, "mail.enabled=false\nx"),
        ("properties", "x=1\n", "mail.enabled", False, "x=1\nmail.enabled=false\n"),
        ("env", "MAIL=on\nX=1\n", "MAIL", "off", "MAIL=off\nX=1\n"),
        ("env", "X=1\n", "MAIL", "off", "X=1\nMAIL=off\n"),
        ("python", "MAIL = {'a': 1}\nX = 1\n", "MAIL", None, "X = 1\nMAIL = None\n"),
        ("python", "X = 1\n", "MAIL", ["a"], "MAIL = ['a']"),
        ("mycnf", "[mysqld]\nevent-scheduler = ON\n", "mysqld.event_scheduler", "OFF", "r = OFF\n"),
        ("systemd", "[Service]\nA=1\n", "Service.B", "x", "B=x\n"),
        ("redis", "port 1\n", "replicaof", "no", "replicaof no\n"),
        ("postgresql", "port = 1\n", "archive_mode", "off", "archive_mode = 'off'\n"),
    ],
)
def test_all_formats(
    tmp_path: Path, format: str, text: str, key: str, value: object, expected: str
) -> None:
    """What a format has for a setting is written as the format has it; taking it out again gives
    what was there, without it."""
    site = Site(tmp_path)
    configuration = with_file(site, format, text, MuteSpec("more.conf", key, value=value))
    rendering = configuration.render(site.new, muted=True)
    assert failing(rendering) == []
    assert expected in text_of(rendering, "more.conf")
    finding = configuration.agrees(try_of(site), muted=True)
    assert finding.holds, finding
    assert configuration.active_effects(rendering) == ()
    out = with_file(site, format, text_of(rendering, "more.conf"), MuteSpec("more.conf", key, True))
    gone = out.render(site.new, muted=True)
    assert failing(gone) == []
    assert key.rpartition(".")[2].lower() not in text_of(gone, "more.conf").lower().replace(
        "-", "_"
    )
    assert out.agrees(try_of(site), muted=True).holds


@pytest.mark.parametrize(
    ("format", "text", "key", "value"),
    [
        ("xml", "<a><b>1</b></a>\n", "a.c", "x"),
        ("env", "X=1\n", "MAIL", ["a"]),
        ("ini", "[a]\nb=1\n", "a.c", "x\ny"),
        ("properties", "x=1\n", "mail", " off "),
    ],
)
def test_what_a_format_cannot_have(
    tmp_path: Path, format: str, text: str, key: str, value: object
) -> None:
    """It is said, and the file stays as it was."""
    site = Site(tmp_path)
    configuration = with_file(site, format, text, MuteSpec("more.conf", key, value=value))
    rendering = configuration.render(site.new, muted=True)
    (finding,) = failing(rendering)
    assert "more.conf: the mutes can be written and proven" in finding.claim
    assert text_of(rendering, "more.conf") == text


def with_file(site: Site, format: str, text: str, mute: MuteSpec) -> CarriedConfiguration:
    """A site with one more file, and an effect that a setting of it silences."""
    (site.old.config / "more.conf").write_text(text)
    asked = Condition("more.conf", mute.key, not mute.drop, mute.value, format)
    when, unless = (), () if mute.drop else (asked,)
    configuration = carried(site, [EffectSpec("mail", "sends mail", when, unless, (mute,))])
    spec = ConfigurationSpec(format, "more.conf")
    files = (*configuration._recipe.configuration, spec)
    configuration._recipe = replace(configuration._recipe, configuration=files)
    return configuration


def test_files_of_ours_have_no_settings(site: Site) -> None:
    """A file with a password that we put beside the configuration has no format, and stays as it
    is in the rehearsal."""
    configuration = carried(site)
    configuration._also = lambda new: {str(site.old.config / ".main.passfile"): b"planted-smtp\n"}
    for muted in (False, True):
        rendering = configuration.render(site.new, muted=muted)
        assert rendering.files[str(site.old.config / ".main.passfile")][0] == b"planted-smtp\n"
        assert failing(rendering) == []
