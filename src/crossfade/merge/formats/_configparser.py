"""The second parser for INI and its relatives: Python's configparser, taught to keep every value of
a key that stands several times."""

from __future__ import annotations

import configparser
from collections.abc import Callable, Iterator

from crossfade.merge.formats._line_format import Broken

__all__ = ["TOP", "collected"]

TOP = "\x01top"
"""The section of what stands before the first header."""

_NEXT = "\x01next"
_BARE = "\x01bare"


class _Collecting(dict[str, object]):
    """What configparser fills: a second value of a key is put behind the first one."""

    def __setitem__(self, key: str, value: object) -> None:
        if value is None:
            value = [_BARE]
        had = self.get(key)
        if isinstance(value, list) and isinstance(had, list):
            had += [_NEXT, *value]
            value = had
        super().__setitem__(key, value)


def collected(
    text: str,
    *,
    delimiters: tuple[str, ...],
    names: Callable[[str], str],
    strict: bool,
    bare: bool = False,
    inline: tuple[str, ...] = (),
) -> Iterator[tuple[str, str, list[str | None]]]:
    """Section, name and values of everything in the text, which has no byte order mark.  A bare
    name has the value None.  strict refuses what stands twice, inline begins a comment behind a
    value.  Raises Broken."""
    parser = configparser.RawConfigParser(
        dict_type=_Collecting,  # type: ignore[arg-type]
        allow_no_value=bare,
        delimiters=delimiters,
        comment_prefixes=("#", ";"),
        inline_comment_prefixes=inline,
        strict=strict,
        default_section="\x01default",
    )
    parser.optionxform = names  # type: ignore[method-assign, assignment]
    try:
        parser.read_string(f"[{TOP}]\n{text}")
    except (configparser.Error, AttributeError) as error:
        # an AttributeError is Python 3.11's way to say that a bare name has a second line
        raise Broken from error
    for section in parser.sections():
        for name, value in parser.items(section):
            yield section, name, _apart(value)


def _apart(value: str) -> list[str | None]:
    values = [one.removesuffix("\n") for one in f"{value}".split(f"{_NEXT}\n")]
    if values and values[-1].endswith(_NEXT):
        values = [*values[:-1], values[-1].removesuffix(_NEXT).removesuffix("\n"), ""]
    return [None if one == _BARE else one for one in values]
