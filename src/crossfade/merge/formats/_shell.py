"""How far a word, a command and a construct of the shell go.  Nothing is ever run."""

from __future__ import annotations

from crossfade.merge._types import Unreadable

__all__ = ["Commands", "word_end"]

_OPENS = {"if": "fi", "case": "esac", "for": "done", "while": "done", "until": "done"}
_OPENS |= {"select": "done", "{": "}"}
_CLOSES = frozenset(_OPENS.values())
_BEFORE_COMMANDS = frozenset({"then", "do", "else", "elif", "if", "while", "until", "{", "!"})
_PAIRS = {"(": ")", "{": "}"}


def word_end(text: str, at: int) -> int:
    """The end of the word that begins here: quotes, escapes and expansions are of the word.
    -1 when one of them is not closed before the text ends, or they are nested absurdly."""
    while 0 <= at < len(text):
        if text[at] in " \t\r\n;&|<>()":
            return at
        try:
            at = _after(text, at)
        except RecursionError:
            return -1
    return at


def _after(text: str, at: int) -> int:
    """Behind what begins here, one character or something that has an end of its own; or -1."""
    character = text[at]
    if character == "\\":
        behind = at + (3 if text.startswith("\\\r\n", at) else 2)
        return behind if behind < len(text) else -1
    if character in "'`":
        end = at + 1
        while end < len(text) and text[end] != character:
            end += 2 if character == "`" and text[end] == "\\" else 1
        return end + 1 if end < len(text) else -1
    if character == '"':
        return _until(text, at + 1, '"', "")
    if character == "$" and text[at + 1 : at + 2] in _PAIRS:
        opening = text[at + 1]
        return _until(text, at + 2, _PAIRS[opening], opening)
    return at + 1


def _until(text: str, at: int, closing: str, opening: str) -> int:
    """Behind the closing character, over all that is nested; or -1.  In quotes (without opening)
    an apostrophe is one character."""
    depth = 1
    while 0 <= at < len(text):
        if text[at] == closing:
            depth -= 1
            if not depth:
                return at + 1
        depth += text[at] == opening
        plain = not opening and text[at] == "'"
        at = at + 1 if plain or text[at] == closing else _after(text, at)
    return -1


class Commands:
    """What stands around the commands of a text: which constructs are open."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._open: list[str] = []  # what closes each open construct

    @property
    def inside(self) -> bool:
        """Whether the next command is part of an open construct."""
        return bool(self._open)

    def skip(self, at: int, line: int) -> int:
        """Behind the line end of the command that begins here; line is its number."""
        command, joined = True, False
        while at < len(self._text) and (joined or self._text[at] != "\n"):
            character = self._text[at]
            if character in " \t\r\n":
                at += 1
                continue
            if character == "#":
                at = self._text.find("\n", at)
                continue
            joined = character == "|" or self._text.startswith("&&", at)
            if character in ";&|()":
                self._parenthesis(character, line)
                command, at = True, at + (2 if joined and character == "&" else 1)
            elif character in "<>":
                if self._text.startswith("<<", at) and not self._text.startswith("<<<", at):
                    raise Unreadable(line, "a here-document: its lines look like any others")
                at += 3 if self._text.startswith("<<<", at) else 1
            else:
                end = word_end(self._text, at)
                if end < 0:
                    raise Unreadable(line, "a quotation mark or bracket of the shell is not closed")
                command = self._word(self._text[at:end], command, line)
                at = end
        return at + 1

    def _parenthesis(self, character: str, line: int) -> None:
        if character == "(":
            self._open.append(")")
        elif character == ")" and self._open and self._open[-1] == ")":
            self._open.pop()
        elif character == ")" and "esac" not in self._open:
            raise Unreadable(line, "a bracket of the shell is closed that was not opened")

    def _word(self, word: str, command: bool, line: int) -> bool:
        """Take a word; whether a command may begin behind it."""
        if not command and word != "{":
            return False
        if word in _OPENS:
            self._open.append(_OPENS[word])
        elif word in _CLOSES and (not self._open or self._open.pop() != word):
            raise Unreadable(line, "a construct of the shell is closed that was not opened")
        return word in _BEFORE_COMMANDS
