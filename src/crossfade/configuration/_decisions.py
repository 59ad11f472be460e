"""What people decided about settings: one TOML file that they may fill in by hand.

An answer holds for the three values that it was given for.  Once one of them is another, the
question is asked again; the answer stays in the file, and holds again where the values are back.
"""

from __future__ import annotations

import hmac
import json
import secrets
import tomllib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from crossfade.configuration._private import write_private
from crossfade.errors import UsageError
from crossfade.ports import Judgement

__all__ = ["Decision", "Decisions", "holding"]

_HEAD = """\
# What to do with settings that Crossfade must not decide about.  Write one of the choices behind
# "choose"; with the choice "value" also a line: value = "...".  Then go on with the command that
# asked.  An answer holds as long as the three values do that it was given for.  Values that may be
# secrets are not in here: the same fingerprint says the same value.
"""


@dataclass(frozen=True, slots=True)
class Decision:
    """An answer: the choice, the value of a choice "value", and what it was given for."""

    choice: str
    value: object
    binding: str
    file: str = ""
    setting: tuple[str, ...] = ()

    @property
    def about(self) -> object:
        """What it is an answer to."""
        return (self.file, self.setting, self.binding)

    @property
    def name(self) -> str:
        """The setting for people, with its file's name."""
        return f"{Path(self.file).name} {'.'.join(self.setting) or 'as a whole'}"


class Decisions:
    """The file ``path``, and beside it the key that binds answers to values (mode 0600)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._key_path = path.with_name("decisions.key")

    @property
    def key(self) -> bytes:
        """The site's own key for fingerprints, made when it is asked for first."""
        if not self._key_path.exists():
            write_private(self._key_path, secrets.token_bytes(32))
        return self._key_path.read_bytes()

    def bound(self, *texts: str | None) -> str:
        """What an answer about these texts holds for: 16 hex digits."""
        data = json.dumps(texts).encode()
        return hmac.new(self.key, data, "sha256").hexdigest()[:16]

    def read(self) -> list[Decision]:
        """Answers, and questions without one.  Raises UsageError (``decisions-invalid``)."""
        try:
            data = tomllib.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as error:
            line = getattr(error, "lineno", None)
            reason = "it is no TOML" + (f" (line {line})" if line else "")
            raise self.invalid(reason) from None
        entries = data.get("decision", [])
        if not isinstance(entries, list):
            raise self.invalid("decision is no list of tables")
        return list(map(self._entry, entries))

    def _entry(self, entry: object) -> Decision:
        if not isinstance(entry, Mapping):
            raise self.invalid("decision is no list of tables")
        file, setting, binding = (entry.get(key) for key in ("file", "setting", "for"))
        choice = entry.get("choose", "")
        texts = isinstance(file, str) and isinstance(binding, str) and isinstance(choice, str)
        if not (texts and isinstance(setting, list) and all(isinstance(p, str) for p in setting)):
            raise self.invalid("an entry lacks file, setting or for")
        if choice == "value" and "value" not in entry:
            raise self.invalid(f"{' / '.join(setting)} has the choice value, but no value")
        return Decision(choice, entry.get("value"), str(binding), str(file), tuple(setting))

    def write(self, settings: Iterable[Judgement], given: Sequence[Decision]) -> None:
        """Write down every question, with its answer where there is one; given are the answers.

        Those that are for other values than there are now stay, behind all others."""
        settings = list(settings)
        files = {setting.file for setting in settings}
        pieces, used = [_HEAD], set[object]()
        for setting in settings:
            decision = holding(given, setting.file, setting.setting, setting.binding, files)
            if setting.open or decision:
                pieces.append(_written(setting, decision))
            used |= {decision.about} if decision else set()
        pieces += [_kept(each) for each in given if each.choice and each.about not in used]
        write_private(self.path, "\n".join(pieces).encode())

    def take_back(
        self, settings: Iterable[Judgement], named: Callable[[Decision], bool]
    ) -> list[str]:
        """Take back the answers that ``named`` holds for, and say to what they were."""
        before = self.read()
        gone = [decision for decision in before if decision.choice and named(decision)]
        if gone:
            self.write(settings, [decision for decision in before if decision not in gone])
        return list(dict.fromkeys(decision.name for decision in gone))

    def invalid(self, reason: str) -> UsageError:
        return UsageError(
            "decisions-invalid",
            f"The decisions about the configuration cannot be read: {reason}.",
            where=str(self.path),
            next=f"edit {self.path}, then: crossfade config plan",
        )


def holding(
    given: Iterable[Decision],
    file: str,
    setting: tuple[str, ...],
    binding: str,
    files: Collection[str],
) -> Decision | None:
    """The answer that holds for a setting of a file, if there is one.

    files are those that are merged now.  An answer about a file of this name that is not among them
    is of an earlier upgrade, when the file had another place."""
    for each in given:
        here = each.file == file or (
            each.file not in files and Path(each.file).name == Path(file).name
        )
        if each.choice and here and each.setting == setting and each.binding == binding:
            return each
    return None


def _written(setting: Judgement, decision: Decision | None) -> str:
    choice = decision.choice if decision else ""
    lines = ["[[decision]]", f"# {_line(setting.why)}"]
    for name, text in (
        ("the old version's default", setting.old_default),
        ("yours", setting.yours),
        ("the new version's default", setting.new_default),
    ):
        lines.append(f"#   {name}: {_line(text) or 'not set'}")
    if setting.moved_to:
        lines.append(f"#   looks moved to: {_line(setting.moved_to)}")
    offered = " | ".join(setting.choices)
    lines += [
        f"file = {_toml(setting.file)}",
        f"setting = [{', '.join(map(_toml, setting.setting))}]",
        f"choose = {_toml(choice)}   # {offered}",
    ]
    if decision and decision.choice == "value":
        lines.append(f"value = {_toml(decision.value)}")
    return "\n".join([*lines, f"for = {_toml(setting.binding)}", ""])


def _kept(decision: Decision) -> str:
    lines = [
        "[[decision]]",
        "# Given for other values than there are now.",
        f"file = {_toml(decision.file)}",
        f"setting = [{', '.join(map(_toml, decision.setting))}]",
        f"choose = {_toml(decision.choice)}",
    ]
    if decision.choice == "value":
        lines.append(f"value = {_toml(decision.value)}")
    return "\n".join([*lines, f"for = {_toml(decision.binding)}", ""])


def _line(text: str) -> str:
    """Text for a comment: one line of it, without what TOML does not allow there."""
    return "".join(c if c.isprintable() else " " for c in text)[:200]


def _toml(value: object) -> str:
    """A text, number, truth or list of these as TOML has it; JSON writes them the same way."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
