"""A site whose application makes its configuration, differently in both versions."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.testbed.site import HERE, Site

__all__ = ["NEW", "OLD", "decisions", "has", "stocked_recipe", "stocked_site_at"]

_PLACES = "listen: 127.0.0.1:8000\ndatabase: $2/notes.db\nuploads: $2/uploads\nsecret_key: made\n"
OLD = f"# Notes, version 1\n{_PLACES}page: 20\nmotd: hello\n"
NEW = f"# Notes, version 2\n{_PLACES}# On a page.\npage: 25\nmotd: hello\ntheme: light\n"


def stocked_recipe(old: str = OLD, new: str = NEW) -> str:
    """A recipe of an application whose versions make these files."""
    recipe = (HERE / "notes.yaml").read_text(encoding="utf-8")
    recipe = recipe.replace("    format: yaml\n", "    format: yaml\n    stock: notes.yaml\n", 1)
    cases = "".join(
        f'{version}) cat > "$3/notes.yaml" <<END\n{text}END\n;;\n'
        for version, text in (("1.0", old), ("2.0", new))
    )
    script = json.dumps(f'case "$1" in\n{cases}*) exit 1\nesac\n')
    words = f'[sh, -c, {script}, sh, "{{version}}", "{{data}}", "{{stock}}"]'
    return f"{recipe}stock: {{command: {words}}}\n"


@contextmanager
def stocked_site_at(
    directory: Path,
    *,
    old: str = OLD,
    new: str = NEW,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Site]:
    """A started site, closed in the end; old and new are what the versions make, in the words of a
    shell, where $2 is the data directory.  environment is what the old side gets, as secrets."""
    directory.mkdir(parents=True, exist_ok=True)
    site = Site(directory / "site", recipe=stocked_recipe(old, new))
    given = {name: f"file:{name}" for name in environment or {}}
    for name, value in (environment or {}).items():
        (site.directory / name).write_text(value, encoding="utf-8")
    text = site.manifest.read_text(encoding="utf-8")
    service = f"old:\n  service: {json.dumps({'environment': given})}\n" if given else "old:\n"
    site.manifest.write_text(text.replace("old:\n", service, 1), encoding="utf-8")
    try:
        has(site, page=20, motd="ours")
        site.start()
        yield site
    finally:
        site.close()


def has(site: Site, **settings: object) -> None:
    """Edit the old side's file as an administrator does."""
    file = site.data / "notes.yaml"
    kept = [
        line
        for line in file.read_text(encoding="utf-8").splitlines()
        if line.partition(":")[0] not in settings
    ]
    lines = [*kept, *(f"{name}: {value}" for name, value in settings.items())]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def decisions(site: Site) -> Path:
    """The file of questions and answers."""
    return site.directory / "state" / "configuration" / "decisions.toml"
