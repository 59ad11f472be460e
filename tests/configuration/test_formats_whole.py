"""What a recipe can say beside rules, in files that are no YAML: conditions, places of databases,
identity and stock; and the old side's database, wherever it still stands."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from tests.configuration.formats import EXAMPLES, Example, FormatSite
from tests.configuration.scratch import Disk, failing

from crossfade.configuration import CarriedConfiguration, judge_of, locate
from crossfade.drivers.hosts.local import LocalHost
from crossfade.errors import Failed, UsageError
from crossfade.model import Address, Installation, Side
from crossfade.recipes import Recipe, load

every = pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)

URLS = (
    "{kind}://u:p%40w@10.0.0.5:6000/old_notes?x=y",
    "jdbc:{kind}://10.0.0.5:6000/old_notes",
    "{kind}+driver://10.0.0.9,10.0.0.5:6000/old_notes",
    "host=10.0.0.5 port=6000 dbname=old_notes",
)


@every
@pytest.mark.parametrize("url", URLS)
def test_old_database_stops_it(tmp_path: Path, example: Example, url: str) -> None:
    """An address of the old side's database under a key that no rule knows is a leftover, whatever
    its form and the file's."""
    site = FormatSite(tmp_path, example)
    old, new, place = example.leftover
    spelled = url.replace("{kind}", site.kind)
    if example.format in ("redis", "systemd"):
        spelled = f'"{spelled}"'
    text = site.file.read_text()
    site.write(text.replace(old, re.sub(r"\{data\}[\w/.]*", spelled, new)))
    findings = failing(site.render())
    (found,) = [one for one in findings if one.claim.endswith("old side's database main")]
    assert found.observed.split("still in ")[1].split(";")[0] == place


@every
def test_half_of_an_address(tmp_path: Path, example: Example) -> None:
    """Another database on the old side's server is told, and stops nothing."""
    site = FormatSite(tmp_path, example)
    old, new, _ = example.leftover
    text = site.file.read_text()
    spelled = f"{site.kind}://10.0.0.5:6000/another"
    if example.format in ("redis", "systemd"):
        spelled = f'"{spelled}"'
    site.write(text.replace(old, re.sub(r"\{data\}[\w/.]*", spelled, new)))
    rendering = site.render()
    assert failing(rendering) == []
    (told,) = [f.observed for f in rendering.findings if "database main" in f.claim]
    assert "(the old side's server)" in told


@pytest.mark.parametrize("part", ["10.0.0.5:6000", "old_notes"])
def test_half_of_an_address_that_is_required(tmp_path: Path, part: str) -> None:
    """Where the rule is required, an address of which one half is another one is a failure."""
    example = next(one for one in EXAMPLES if one.format == "env")
    site = FormatSite(tmp_path, example)
    site.write(site.file.read_text().replace(part, "another"))
    rendering = site.render()
    (finding,) = failing(rendering)
    assert finding.claim == "notes.env: DATABASE_URL has the old side's database-url"
    assert "notes.env:4 DATABASE_URL" in finding.observed
    assert "another" in site.rendered(rendering)


def test_conditions(tmp_path: Path) -> None:
    """Effects and requirements ask for values as the format has them: text or numbers."""
    asked = {
        "ini": ("[mail]\nON = off\nport = 25\n", "mail.on", "'off'", "mail.port", "25"),
        "env": ("ON=off\nPORT=25\n", "ON", "'off'", "PORT", "25"),
        "properties": ("mail.on=false\nmail.port=25\n", "mail.on", "false", "mail.port", "'25'"),
        "toml": ("[mail]\non = false\nport = 25\n", "mail.on", "false", "mail.port", "25"),
        "json": ('{"mail": {"on": false, "port": 25}}', "mail.on", "false", "mail.port", "25"),
        "python": ("ON = False\nM = {'port': 25}\n", "ON", "false", "M.port", "25"),
        "xml": ("<m><on>false</on><port>25</port></m>", "m.on", "false", "m.port", "25"),
    }
    for format, (text, on, off, port, number) in asked.items():
        more = f"""
effects:
  - {{name: mail, what: sends, unless: {{file: f, key: '{on}', equals: {off}}}}}
  - {{name: other, what: sends, when: {{file: f, key: '{port}', equals: 26}}}}
  - {{name: set, what: sends, when: {{file: f, key: '{port}'}}}}
requires:
  - {{what: the port is right, when: {{file: f, key: '{port}', equals: {number}}}}}
"""
        directory = tmp_path / format
        directory.mkdir()
        site = FormatSite(directory, Example(format, "f", text, (), ("", "", "")), more)
        rendering = site.render()
        assert failing(rendering) == [], format
        assert site.carried.active_effects(rendering) == ("set: sends",), format
        changed = type(rendering)(
            {
                path: (data.replace(b"25", b"26"), mode)
                for path, (data, mode) in rendering.files.items()
            },
            "",
            (),
            rendering.sources,
        )
        active = site.carried.active_effects(changed)
        assert active == ("other: sends", "set: sends"), format
        broken = type(rendering)(
            {path: (b"\0", mode) for path, (_, mode) in rendering.files.items()},
            "",
            (),
            rendering.sources,
        )
        assert len(site.carried.active_effects(broken)) == 3, format


def test_an_expression_decides_nothing(tmp_path: Path) -> None:
    """What a call would give is not known: an effect stays active, whatever words are in it."""
    more = """
effects:
  - {name: mail, what: sends, unless: {file: s.py, key: MAIL, equals: false}}
"""
    text = "import os\nMAIL = os.environ.get('MAIL', False)\n"
    site = FormatSite(tmp_path, Example("python", "s.py", text, (), ("", "", "")), more)
    assert site.carried.active_effects(site.render()) == ("mail: sends",)


ON_FILE = """\
application: demo
install: {driver: python, packages: [demo]}
service: {driver: process, command: [demo]}
health: {path: /health}
configuration:
  - path: demo.env
    format: env
    rewrite: [{key: DATABASE_URL, to: database-url, outside: refuse, required: true}]
  - path_from: {file: demo.env, key: LOGGING}
    format: ini
    rewrite: [{key: "*.args", to: path, outside: into-data}]
databases:
  - {name: main, driver: sqlite, path: x.db, path_from: {file: demo.env, key: DATABASE_URL}}
"""


def on_file(directory: Path, text: str) -> tuple[Recipe, Installation, Installation]:
    """A site whose environment file says where everything is."""
    (directory / "recipe.yaml").write_text(ON_FILE)
    sides = []
    for side, port in ((Side.OLD, 8001), (Side.NEW, 8002)):
        place = directory / side
        places = (place / "app", place / "etc", place / "data")
        address = Address("127.0.0.1", port)
        sides.append(Installation("demo", "1", side, "local", *places, address))
    old = sides[0]
    old.config.mkdir(parents=True)
    (old.config / "demo.env").write_text(text.replace("{old}", str(directory / "old")))
    (old.config / "logging.conf").write_text("[handler]\nargs = /var/log/demo.log\n")
    return load("recipe.yaml", directory), old, sides[1]


@pytest.mark.parametrize("path", ["{old}/data/notes.db", "notes.db"])
def test_a_database_in_a_file_named_by_a_url(tmp_path: Path, path: str) -> None:
    """SQLAlchemy's form of a path: the database is found by it, and it becomes the new side's."""
    text = f"DATABASE_URL=sqlite:///{path}?timeout=5\nLOGGING={{old}}/etc/logging.conf\n"
    recipe, old, new = on_file(tmp_path, text)
    carried = CarriedConfiguration(recipe, old, Disk())
    assert locate(recipe.databases[0], old, Disk()) == old.data / "notes.db"
    rendering = carried.render(new)
    data, _ = rendering.files[str(new.config / "demo.env")]
    assert data.decode().splitlines()[0] == (
        f"DATABASE_URL=sqlite:///{new.data}/notes.db?timeout=5"
    )
    (found,) = failing(rendering)  # LOGGING itself has no rule here
    assert "demo.env:2 LOGGING" in found.observed
    logging, _ = rendering.files[str(new.config / "logging.conf")]
    assert logging.decode() == f"[handler]\nargs = {new.data}/demo.log\n"


def test_a_database_in_a_file_elsewhere(tmp_path: Path) -> None:
    """A path outside is refused by its key, as any other."""
    recipe, old, new = on_file(tmp_path, "DATABASE_URL=sqlite:////srv/notes.db\n")
    with pytest.raises(UsageError) as caught:
        CarriedConfiguration(recipe, old, Disk()).render(new)
    assert caught.value.code == "path-outside"
    assert "DATABASE_URL" in caught.value.what


@pytest.mark.parametrize(
    ("format", "text", "key", "to"),
    [
        ("python", 'A = ("/data/x"\n     "/y")\n', "A", "path"),
        ("env", "A='/data/x'\n", "A", "path"),
    ],
)
def test_what_cannot_be_written(tmp_path: Path, format: str, text: str, key: str, to: str) -> None:
    """A value that must change, but not in the style that stands there, is refused by its key."""
    example = Example(format, "f", text, (f"{{key: {key}, to: {to}}}",), ("", "", ""))
    site = FormatSite(tmp_path, example)
    site.write(text.replace("/data", str(site.old.data)))
    new = replace(site.new, data=Path("/new/it's"))
    with pytest.raises(Failed) as caught:
        site.render(new)
    assert caught.value.code == "configuration-refused"
    assert "A must change" in caught.value.what
    assert caught.value.where == f"{site.file}:1"


@pytest.mark.parametrize(
    ("format", "text"),
    [
        ("env", 'A="$HOME/x"\nB=${DATA}/y\n'),
        ("ini", "[s]\na = %(here)s/x\nb = ~/y\n"),
        ("python", 'import os\nA = os.path.join(BASE, "x")\nB = f"{BASE}/y"\n'),
        ("toml", 'a = "${DATA}/x"\nb = "file:///srv/y"\n'),
    ],
)
def test_what_only_the_application_knows(tmp_path: Path, format: str, text: str) -> None:
    """A path that is made of other values is left as it is."""
    rule = "{key: '*', to: path}" if format != "ini" else "{key: '*.*', to: path}"
    site = FormatSite(tmp_path, Example(format, "f", text, (rule,), ("", "", "")))
    assert site.rendered(site.render()) == text


HIDDEN = {
    "python": 'KEYS = {"a": b"hunter-0", "b": f"hunter-1 {X}"}\n'
    'if X:\n    TOKEN = "hunter-2"\nX.secret = "hunter-3"  # hunter-4\n',
    "toml": "# hunter-0\nkeys = { a.secret = 'hunter-1', b = ['hunter-2'] }\n"
    "[[token]]\nv = 'hunter-3'\n[[token]]\nv = 'hunter-4'\n",
    "json": '{"keys": [["hunter-0"], {"token": "hunter-1"}], "auth": "hunter-2"}\n',
    "xml": "<a><!-- hunter-0\n hunter-1 --><secret>hunter-2</secret>"
    "<b>hunter-3 <i x='hunter-4'/></b></a>\n",
    "ini": "; hunter-0\n[auth]\nx = hunter-1\n   hunter-2\n   # hunter-3\n   hunter-4\n",
    "env": "# hunter-0\nif x; then PASS=hunter-1; fi\nSECRET=hunter-2 # hunter-3\n",
    "systemd": "[Service]\nExecStart=/x \\\n# hunter-0\n  --password=hunter-1\n",
}


@pytest.mark.parametrize("format", HIDDEN)
def test_planted_secrets_stay_hidden(tmp_path: Path, format: str) -> None:
    """Comments, code and what is in lists show nowhere but in the file, also beside a change."""
    change = {
        "python": "DATA = '{data}/x'\n",
        "toml": "data = '{data}/x'\n",
        "json": '["{data}/x",\n',
        "xml": "<r><data>{data}/x</data>\n",
        "ini": "data = {data}/x\n",
        "env": "DATA={data}/x\n",
        "systemd": "[Unit]\nData={data}/x\n",
    }[format]
    text = change + HIDDEN[format] + {"json": "]", "xml": "</r>"}.get(format, "")
    key = {"json": "0", "xml": "r.data", "systemd": "Unit.Data"}.get(format, "data|DATA")
    rule = f"{{key: '{key}', to: path, required: true}}"
    site = FormatSite(tmp_path, Example(format, "f", text, (rule,), ("", "", "")))
    site.write(text.replace("{data}", str(site.old.data)))
    rendering = site.render()
    assert failing(rendering) == []
    assert site.rendered(rendering) == text.replace("{data}", str(site.new.data))
    assert f"{site.new.data}/x" in rendering.difference
    assert "hunter-" not in rendering.difference + repr(rendering.findings)


MERGED = """\
application: tiny
install: {driver: python, packages: ["tiny=={version}"]}
service: {driver: process, command: ["{root}/run"]}
health: {path: /health}
configuration:
  - path: app.conf
    format: ini
    stock: "{root}/app.conf"
    rewrite:
      - {key: server.port, to: port, required: true}
      - {key: server.data, to: path, outside: refuse}
    identity: [security.SECRET_KEY]
"""


def test_merged_then_rewritten(tmp_path: Path) -> None:
    """A file that only its recipe knows the format of is merged by it, and then rewritten."""
    (tmp_path / "recipe.yaml").write_text(MERGED)
    recipe, sides = load("recipe.yaml", tmp_path), []
    stock = "[server]\nport = 8001\ndata = x\n{extra}\n[security]\nsecret_key = {key}\n"
    for side, port in ((Side.OLD, 8001), (Side.NEW, 8002)):
        place = tmp_path / side
        places = (place / "app", place / "etc", place / "data")
        sides.append(Installation("t", "1", side, "local", *places, Address("127.0.0.1", port)))
        places[0].mkdir(parents=True)
        extra = "# how long\ntimeout = 20" if side is Side.NEW else ""
        (places[0] / "app.conf").write_text(stock.format(extra=extra, key=f"made-{side}"))
    old, new = sides
    old.config.mkdir()
    mine = stock.format(extra="", key="hunter").replace("data = x", f"data = {old.data}")
    (old.config / "app.conf").write_text(mine)
    host = LocalHost()
    judge = judge_of(recipe, old, {Side.OLD: (host, old), Side.NEW: (host, new)}, tmp_path / "s")
    rendering = CarriedConfiguration(recipe, old, host, judge=judge).render(new)
    assert failing(rendering) == []
    assert rendering.merged == {str(new.config / "app.conf")}
    data, mode = rendering.files[str(new.config / "app.conf")]
    assert mode == 0o600
    expected = stock.format(extra="# how long\ntimeout = 20", key="hunter")
    expected = expected.replace("8001", "8002").replace("data = x", f"data = {new.data}")
    assert data.decode() == expected
