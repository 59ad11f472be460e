"""What found files name: three steps far, never in a circle, never out of the installation."""

from __future__ import annotations

from pathlib import Path

from tests.finding.apart import Apart
from tests.finding.plain import evidence, installed, kinds, one

from crossfade.finding import DirectoryStock, Inventory, Scope, look


def _looked(host: Apart) -> Inventory:
    stock = {"/opt/app": DirectoryStock(Path("/nowhere-at-all"))}
    return look(host, installed("/opt/app", "/etc/app"), scope=Scope(stock))


def test_three_steps_and_no_more(host: Apart) -> None:
    """A file that names a file that names a file."""
    for step in range(1, 6):
        host.put(f"/srv/step{step}.conf", f"include /srv/step{step + 1}.conf\n")
    host.put("/etc/app/app.conf", "include /srv/step1.conf\n")
    found = kinds(_looked(host), "/srv")
    assert "/srv/step3.conf" in found
    assert set(found) <= {f"/srv/step{step}.conf" for step in range(1, 7)}
    assert evidence(_looked(host), "/srv/step2.conf")[0].detail == (
        "/srv/step1.conf names it in line 1"
    )


def test_circles_end(host: Apart) -> None:
    """Files that include each other and themselves."""
    host.put("/etc/app/a.conf", "include /srv/b.conf\ninclude /etc/app/a.conf\n")
    host.put("/srv/b.conf", "include /etc/app/a.conf\ninclude /srv/b.conf\n")
    inventory = _looked(host)
    assert kinds(inventory, "/srv") == {"/srv/b.conf": "asset"}
    assert kinds(inventory, "/etc/app") == {"/etc/app/a.conf": "overlay"}


def test_forms_of_names(host: Apart) -> None:
    """Absolute, relative, with variables, in quotes, with patterns, whole directories that are
    included; but nothing that is shipped, a program, or only in a comment."""
    host.put(
        "/etc/app/app.conf",
        'certificate = "/srv/keys/app.pem"\n'
        "key=relative/app.key\n"
        "logo: ${HOME_OF_APP}/logo.png\n"
        "include /srv/parts/*.conf\n"
        "!includedir /srv/more\n"
        "uploads = /srv/uploads\n"
        "# old = /srv/keys/old.pem\n"
        "shell = /bin/sh\n"
        "types = /etc/nginx/mime.types\n"
        "log = /var/log/app.log\n"
        "nothing = /srv/not/there.pem\n",
    )
    for path in (
        "/srv/keys/app.pem",
        "/srv/keys/old.pem",
        "/etc/app/relative/app.key",
        "/srv/parts/one.conf",
        "/srv/parts/two.txt",
        "/srv/more/three.cnf",
        "/srv/uploads/x.pdf",
    ):
        host.put(path, "x = 1\n")
    inventory = _looked(host)
    assert kinds(inventory, "/srv") == {
        "/srv/keys/app.pem": "asset",
        "/srv/parts/one.conf": "asset",
        "/srv/more/": "asset",
        "/srv/more/three.cnf": "asset",
        "/srv/uploads/": "asset",
    }
    assert "/etc/nginx/mime.types" not in kinds(inventory)
    assert "/etc/app/app.conf names it in line 2" in [
        seen.detail for seen in evidence(inventory, "/etc/app/relative/app.key")
    ]


def test_links_that_lead_out(host: Apart) -> None:
    """A link is told with where it leads; only one that stays inside is followed."""
    host.put("/srv/private.pem", "include /srv/secret.pem\n")
    host.put("/srv/secret.pem", "x")
    host.put("/etc/live/archive.pem", "x")
    host.put("/etc/app/app.conf", "a = /srv/link.pem\nb = /etc/live/current.pem\n")
    host.sh("ln -s /srv/private.pem /srv/link.pem; ln -s archive.pem /etc/live/current.pem")
    inventory = _looked(host)
    out, inside = one(inventory, "/srv/link.pem"), one(inventory, "/etc/live/current.pem")
    assert (out.link, out.sha256) == ("/srv/private.pem", None)
    assert "is not followed" in out.evidence[0].detail
    assert inside.link == "archive.pem"
    assert inside.sha256
    assert "/srv/secret.pem" not in kinds(inventory)


def test_others_sites_are_not_followed(host: Apart) -> None:
    """nginx's own file includes everybody's sites: only those that name the installation count."""
    host.put("/etc/nginx/sites-enabled/theirs", "root /srv/theirs;\n")
    host.put("/etc/nginx/sites-enabled/ours", "root /opt/app/static;\n")
    host.sh("echo '# /opt/app' >>/etc/nginx/nginx.conf")
    host.sh("sed -i 's#^http {#http {\\n root /opt/app/x;#' /etc/nginx/nginx.conf")
    found = kinds(_looked(host), "/etc/nginx")
    assert found == {
        "/etc/nginx/nginx.conf": "modified",
        "/etc/nginx/sites-enabled/ours": "added",
    }
