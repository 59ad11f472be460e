"""nginx as a front: its upstreams, its checker (``nginx -t``) and its reload.

The grammar is that of ngx_conf_read_token: words end at white space, ``;`` and ``{``; quotes and
``#`` count at the beginning of a word only; ``${`` is part of a word.  ``include`` counts from the
directory of the main file (ngx_conf_include).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from crossfade.drivers.fronts._files import matching, read
from crossfade.drivers.fronts._places import Place, named_in
from crossfade.drivers.fronts._server import ConfiguredFront

__all__ = ["NginxFront"]

_PASSES = ("proxy_pass", "proxy_redirect")
_OTHERS = ("fastcgi_pass", "uwsgi_pass", "scgi_pass", "grpc_pass", "memcached_pass")
_VALUES = ("map", "geo", "split_clients")  # blocks of names and values


class NginxFront(ConfiguredFront):
    """nginx with its main configuration file."""

    programs = ("nginx",)
    title = "nginx"
    reload_loses = (
        "nginx closes idle kept connections when it is reloaded, and a request that comes on one "
        "at just that moment fails"
    )

    def usual_check(self) -> tuple[str, ...]:
        """Its own checker."""
        return ("nginx", "-t", "-q", "-c", str(self.file))

    def usual_reload(self) -> tuple[str, ...]:
        """SIGHUP to the process that the configuration's ``pid`` names."""
        return ("nginx", "-c", str(self.file), "-s", "reload")

    def files(self) -> list[Path]:
        """The main file and all that it includes."""
        found: list[Path] = []
        waiting = [self.file]
        while waiting:
            path = waiting.pop(0)
            if path in found:
                continue
            found.append(path)
            for directive in directives(read(path)):
                if directive.name == "include" and directive.words:
                    pattern = self.file.parent / directive.words[0].text
                    waiting += matching(pattern)
        return found

    def places(self, text: str) -> Iterator[Place]:
        """Every upstream in a file."""
        for directive in directives(text):
            words, inside = directive.words, directive.inside
            if directive.name == "server" and inside == "upstream":
                words = words[:1]
            elif directive.name == "set":
                words = words[1:]
            elif directive.name not in (*_PASSES, *_OTHERS) and inside not in _VALUES:
                continue
            group = directive.block if inside == "upstream" else -1
            for word in words:
                place = named_in(word.text, word.start, directive.name, group=group)
                if place:
                    yield place

    def unfit(self, place: Place) -> str:
        """Why the gate cannot stand in for an upstream."""
        if place.what in _OTHERS:
            return f"{place.what} does not speak HTTP as the gate does"
        return super().unfit(place)


@dataclass(frozen=True, slots=True)
class Word:
    """A word without its quotes, and where it stands."""

    text: str
    start: int


@dataclass(frozen=True, slots=True)
class Directive:
    """A name, its words, the name of the block that it stands in, and that block's number."""

    name: str
    words: tuple[Word, ...]
    inside: str
    block: int


def directives(text: str) -> Iterator[Directive]:
    """Every directive of a file, those that open a block included."""
    words: list[Word] = []
    stack: list[tuple[str, int]] = [("", 0)]
    blocks = 0
    for word in _words(text):
        if not isinstance(word, str):
            words.append(word)
            continue
        if words and word in ";{":
            yield Directive(words[0].text, tuple(words[1:]), *stack[-1])
        if word == "{":
            blocks += 1
            stack.append((words[0].text if words else "", blocks))
        elif word == "}" and len(stack) > 1:
            stack.pop()
        words = []


def _words(text: str) -> Iterator[Word | str]:
    """Words, and the signs ``;``, ``{`` and ``}`` as plain strings."""
    at, first = 0, True
    while at < len(text):
        sign = text[at]
        if sign.isspace():
            at += 1
        elif sign == "#":
            at = _find(text, "\n", at)
        elif sign in ";{}":
            yield sign
            first, at = True, at + 1
        elif sign in "\"'":
            end = _quoted(text, at)
            yield Word(text[at + 1 : end], at + 1)
            first, at = False, end + 1
        else:
            end = _plain(text, at)
            yield Word(text[at:end], at)
            if first and text[at:end].endswith("_by_lua_block"):
                yield from (";",)
                first, at = True, _past_block(text, end)
                continue
            first, at = False, end


def _find(text: str, what: str, at: int) -> int:
    found = text.find(what, at)
    return len(text) if found < 0 else found


def _quoted(text: str, at: int) -> int:
    """Where the quote that opens at ``at`` closes."""
    end = at + 1
    while end < len(text) and text[end] != text[at]:
        end += 1 + (text[end] == "\\")
    return min(end, len(text))


def _plain(text: str, at: int) -> int:
    """Where the word ends that begins at ``at``."""
    end = at
    while end < len(text) and not text[end].isspace() and text[end] not in ";{":
        end += 2 if text[end] == "\\" or text.startswith("${", end) else 1
    return min(end, len(text))


def _past_block(text: str, at: int) -> int:
    """Behind a block of Lua, whose braces are counted."""
    depth, end = 0, _find(text, "{", at)
    while end < len(text):
        depth += (text[end] == "{") - (text[end] == "}")
        end += 1
        if depth == 0:
            break
    return end
