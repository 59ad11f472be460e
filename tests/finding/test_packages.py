"""What Debian's packages shipped: conffiles, other files, those of ucf, and what nobody owns."""

from __future__ import annotations

from tests.finding.apart import Apart
from tests.finding.plain import evidence, installed, kinds, one

from crossfade.finding import Running, Scope, look


def test_a_program_that_a_package_installed(host: Apart) -> None:
    """nginx as the application: its conffiles are compared, a deleted one is told, what nobody owns
    is an overlay, and links of the alternatives and what is as shipped are nothing."""
    host.sh("echo '# mine' >>/etc/nginx/mime.types; rm /etc/nginx/koi-utf")
    host.sh("echo '# patched' >>/usr/share/nginx/html/index.html")
    host.put("/etc/nginx/conf.d/mine.conf", "gzip on;\n")
    host.put("/etc/nginx/conf.d/mine.conf.bak", "gzip off;\n")
    at = installed("/usr/share/nginx", "/etc/nginx")
    inventory = look(host, at, scope=Scope(patience=60))
    found = kinds(inventory, "/etc/nginx") | kinds(inventory, "/usr/share/nginx")
    assert found == {
        "/etc/nginx/mime.types": "modified",
        "/etc/nginx/koi-utf": "deleted",
        "/etc/nginx/conf.d/mine.conf": "overlay",
        "/etc/nginx/conf.d/mine.conf.bak": "hint",
        "/usr/share/nginx/html/index.html": "modified",
    }
    (told,) = evidence(inventory, "/etc/nginx/mime.types")
    assert told.detector == "package-db"
    assert told.detail.startswith("differs from the conffile of nginx-common 1.")
    base = one(inventory, "/etc/nginx/mime.types").base
    assert base is not None
    assert base.how == "package"


def test_a_vendors_unit_that_was_edited(host: Apart) -> None:
    """Edited in place it differs from its package; copied to /etc it stands in front of it."""
    host.sh("sed -i 's/^KillMode=.*/KillMode=control-group/' /lib/systemd/system/nginx.service")
    inventory = look(host, installed("/opt"), Running("nginx.service"))
    (name,) = [n for n in kinds(inventory) if n.endswith("/nginx.service")]
    assert kinds(inventory)[name] == "modified"
    host.sh("cp /lib/systemd/system/nginx.service /etc/systemd/system/")
    host.put("/etc/systemd/system/nginx.service.d/mine.conf", "[Service]\nNice=5\n")
    inventory = look(host, installed("/opt"), Running("nginx.service"))
    assert kinds(inventory, "/etc/systemd/system/nginx") == {
        "/etc/systemd/system/nginx.service": "modified",
        "/etc/systemd/system/nginx.service.d/mine.conf": "added",
    }
    (told, *_) = evidence(inventory, "/etc/systemd/system/nginx.service")
    assert "stands in front of the vendor's" in told.detail


def test_files_of_ucf(host: Apart) -> None:
    """A file that ucf installed is compared with what was shipped last."""
    sums = "".join(
        f"{host.sh('md5sum <$1', path).split()[0]}  {path}\n"
        for path in (_put(host, "/etc/app/kept.conf"), _put(host, "/etc/app/edited.conf"))
    )
    host.put("/var/lib/ucf/hashfile", sums)
    host.sh("echo 'y = 2' >>/etc/app/edited.conf")
    inventory = look(host, installed("/opt/app", "/etc/app"))
    assert kinds(inventory, "/etc/app") == {"/etc/app/edited.conf": "modified"}
    base = one(inventory, "/etc/app/edited.conf").base
    assert base is not None
    assert base.how == "ucf"


def _put(host: Apart, path: str) -> str:
    host.put(path, "x = 1\n")
    return path


def test_a_machine_without_dpkg(host: Apart) -> None:
    """Another system: that is told, and the other detectors go on."""
    host.sh("mount -t tmpfs tmpfs /var/lib/dpkg")
    host.put("/etc/app/app.conf", "x = 1\n")
    inventory = look(host, installed("/opt/app", "/etc/app"))
    told = inventory.coverage.detectors["package-db"]
    assert told == "no package database of Debian's kind there"
    assert kinds(inventory, "/etc/app") == {"/etc/app/app.conf": "overlay"}


def test_servers_that_are_given(host: Apart) -> None:
    """PostgreSQL beside it: what nobody has shipped in its directory is found, once it is known
    that the application uses one; before, it is not looked at."""
    host.put("/etc/postgresql/15/main/conf.d/tuned.conf", "work_mem = 64MB\n")
    before = look(host, installed("/opt/app"))
    assert kinds(before, "/etc/postgresql/15/main/conf.d") == {}
    inventory = look(host, installed("/opt/app"), scope=Scope(servers=["postgres"]))
    assert kinds(inventory, "/etc/postgresql/15/main/conf.d") == {
        "/etc/postgresql/15/main/conf.d/tuned.conf": "added"
    }
    assert one(inventory, "/etc/postgresql/15/main/conf.d/tuned.conf").component == "database"


def test_modules_that_were_switched_on(host: Apart) -> None:
    """Those of Apache that somebody has switched on; not those that its package did."""
    host.put("/etc/apache2/sites-available/app.conf", "DocumentRoot /opt/app\n")
    host.sh(
        "cd /etc/apache2/mods-enabled; ln -s ../mods-available/proxy_http.load "
        "../mods-available/rewrite.load ."
    )
    inventory = look(host, installed("/opt/app"))
    assert kinds(inventory, "/etc/apache2") == {
        "/etc/apache2/sites-available/app.conf": "added",
        "/etc/apache2/mods-enabled/proxy_http.load": "added",
        "/etc/apache2/mods-enabled/rewrite.load": "added",
    }
    (told,) = evidence(inventory, "/etc/apache2/mods-enabled/rewrite.load")
    assert told.detail == (
        "switched on: a link to /etc/apache2/mods-available/rewrite.load, "
        "which a package has shipped"
    )
