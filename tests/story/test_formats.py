"""An upgrade of an application whose configuration is no YAML."""

from __future__ import annotations

from pathlib import Path

from tests.testbed.client import Client
from tests.testbed.site import HERE, site_at


def test_ini(tmp_path: Path) -> None:
    """Its recipe says ini: the rehearsal refuses a value that still leads to the old side, and the
    cutover brings everything else, comments too."""
    recipe = (HERE / "notes.yaml").read_text(encoding="utf-8")
    with site_at(tmp_path / "site", recipe=recipe.replace("format: yaml", "format: ini")) as site:
        file = site.data / "notes.yaml"
        text = file.read_text(encoding="utf-8").replace("   # kept on the fast disk", "")
        file.write_text(f"; ours\n{text}log = {site.data}/log\n", encoding="utf-8")
        site.start()
        refused = site.run("rehearse", ok=False)
        assert "notes.yaml:8 log" in refused.err
        file.write_text(f"; ours\n{text}log = /var/log/notes\n", encoding="utf-8")
        site.run("rehearse")
        with Client(site.gate) as client:
            site.run("cutover", "--yes")
        assert (client.failures, client.lost(site.gate)) == ([], set())
        assert site.version() == "2.0"
        new = (site.directory / "new" / "notes.yaml").read_text(encoding="utf-8")
        expected = text.replace(str(site.data), str(site.directory / "new"))
        expected = expected.replace(str(site.old), str(site.new))
        assert new == f"; ours\n{expected}log = /var/log/notes\n"
