"""Tomcat as its own archive has it, from Debian's packages, fetched when a test runs."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from pathlib import Path

__all__ = ["VERSION", "archive", "assembled"]

_PACKAGES = ("tomcat10", "tomcat10-common", "libtomcat10-java")
VERSION = "10.1"


def assembled(place: Path) -> Path:
    """A directory with bin, conf, lib, webapps and RELEASE-NOTES, links resolved."""
    place.mkdir(parents=True)
    place.chmod(0o777)  # apt's own account downloads
    try:
        _run("apt-get", "download", "-qq", *_PACKAGES, cwd=place)
    except subprocess.CalledProcessError:  # lists that are too old, or none
        _run("apt-get", "update", "-qq", cwd=place)
        _run("apt-get", "download", "-qq", *_PACKAGES, cwd=place)
    for package in place.glob("*.deb"):
        _run("dpkg-deb", "-x", str(package), str(place / "unpacked"), cwd=place)
    shared = place / "unpacked/usr/share"
    tree = place / "apache-tomcat"
    for name, source in {"bin": "bin", "lib": "lib", "conf": "etc"}.items():
        (tree / name).mkdir(parents=True)
        for path in (shared / "tomcat10" / source).iterdir():
            if path.is_file():
                shutil.copy(path.resolve(), tree / name / path.name)
    (tree / "webapps/ROOT").mkdir(parents=True)
    (tree / "webapps/ROOT/index.jsp").write_text("<html>it works</html>\n")
    (tree / "webapps/docs").mkdir()
    for name in ("index.html", "setup.html"):
        (tree / "webapps/docs" / name).write_text("<html></html>\n")
    (tree / "RELEASE-NOTES").write_text("  Apache Tomcat Version 10.1.0\n  Release Notes\n")
    return tree


def archive(tree: Path) -> Path:
    """The same as an archive with one directory at its top."""
    path = tree.with_suffix(".tar.gz")
    with tarfile.open(path, "w:gz") as tar:
        tar.add(tree, tree.name)
    return path


def _run(*words: str, cwd: Path) -> None:
    subprocess.run(words, cwd=cwd, check=True, stdin=subprocess.DEVNULL, capture_output=True)
