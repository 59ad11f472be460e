"""How a container image is named."""

__all__ = ["is_pinned"]


def is_pinned(reference: str) -> bool:
    """Whether an image is named by an id, a digest, or a tag that is not the moving ``latest``."""
    if reference.startswith("sha256:") or "@" in reference:
        return True
    _, colon, tag = reference.rpartition("/")[2].partition(":")
    return bool(colon) and tag not in ("", "latest")
