"""The ``image`` install: a container image at the engine, by a name that pins it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from crossfade.drivers.containers import Engine
from crossfade.errors import Failed
from crossfade.manifest import is_pinned
from crossfade.ports import Host, Progress

__all__ = ["ImageInstall", "StandingImage"]


class ImageInstall:
    """One image.  ``packages`` is its reference: with a tag, a digest or an id.

    It is pulled when the reference names a registry (``registry.example/app:1``);
    else it has to be there.  host and root are not used: an image stands at the engine."""

    def __init__(
        self,
        host: Host | None,
        root: Path,
        packages: Sequence[str],
        *,
        socket: str = "",
    ) -> None:
        self.host, self.root = host, root
        self.packages = tuple(packages)
        if len(self.packages) != 1 or not is_pinned(self.packages[0]):
            what = "The new image is named without a version or a digest, so it could be any."
            raise Failed("image-not-pinned", what, where=f"image {', '.join(self.packages)}")
        self.reference = self.packages[0]
        self._socket = socket

    def describe(self) -> tuple[str, ...]:
        """What will be done.  Raises Failed(image-missing) when it can be pulled from nowhere."""
        if self.done():
            return (f"image {self.reference} is there",)
        self._can_be_pulled()
        return (f"pull image {self.reference}",)

    def done(self) -> bool:
        """Whether the engine has the image."""
        return bool(self.fingerprint())

    def install(self, progress: Progress | None = None) -> None:
        """Pull the image.  Raises Failed(image-missing)."""
        if self.done():
            return
        self._can_be_pulled()
        with closing(Engine(self._socket)) as engine:
            try:
                with engine.explained(f"pull image {self.reference}"):
                    for line in engine.api.pull(self.reference, stream=True, decode=True):
                        if "error" in line:
                            raise Failed("image-missing", str(line["error"]), where=self.reference)
            except Failed as failed:
                if failed.code == "engine-refused":
                    raise Failed("image-missing", failed.what, where=failed.where) from failed
                raise

    def _can_be_pulled(self) -> None:
        if not _at_a_registry(self.reference):
            raise Failed(
                "image-missing",
                f"The container engine does not have the image {self.reference}.",
                where="no registry is named, so it is not pulled",
                next=f"docker pull {self.reference}   (or load or build it)",
            )

    def fingerprint(self) -> str:
        """The image's id, which is a digest of all of it; empty when it is not there."""
        with closing(Engine(self._socket)) as engine:
            found = engine.image(self.reference)
        return str(found["Id"]) if found else ""

    def remove(self) -> None:
        """Remove the image, unless a container uses it or it has other names.  Fine when gone."""
        with closing(Engine(self._socket)) as engine:
            found = engine.image(self.reference)
            if found is None or len(found.get("RepoTags") or ()) > 1:
                return
            with engine.explained("look for containers"):
                used = engine.api.containers(all=True, filters={"ancestor": found["Id"]})
            if not used:
                with engine.explained(f"remove image {self.reference}"):
                    engine.api.remove_image(self.reference)


class StandingImage:
    """The image of a container that is there; it is nobody's to install or to remove here."""

    def __init__(self, container: str, *, socket: str = "") -> None:
        self._container, self._socket = container, socket

    def describe(self) -> tuple[str, ...]:
        """Nothing."""
        return ()

    def done(self) -> bool:
        """It is there."""
        return True

    def install(self, progress: Progress | None = None) -> None:
        """Nothing to do."""

    def fingerprint(self) -> str:
        """The image's id; empty when the container is gone."""
        with closing(Engine(self._socket)) as engine:
            found = engine.container(self._container)
        return str(found["Image"]) if found else ""

    def remove(self) -> None:
        """The image stays at the engine."""


def _at_a_registry(reference: str) -> bool:
    """Whether the reference begins with a machine's name."""
    first, slash, _ = reference.partition("/")
    return bool(slash) and ("." in first or ":" in first or first == "localhost")
