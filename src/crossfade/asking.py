"""What is asked of a side: the checks of recipe and manifest, made to fit it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from crossfade.manifest import TlsSpec, TrafficSpec, resolve
from crossfade.model import Installation
from crossfade.ports import Check, Configuration, Host, Parts, Traffic
from crossfade.recipes import CheckSpec, Recipe, fill

if TYPE_CHECKING:
    from crossfade.drivers.checks.telling import Teller

__all__ = ["answers", "canaries", "check", "checkers", "installed_version"]


def installed_version(spec: CheckSpec | None, there: Installation, host: Host) -> Check:
    """What asks an installed program for its version; without a spec, whether it is there."""
    if spec is None:
        from crossfade.drivers.checks.command import CommandCheck

        argv: tuple[str, ...] = ("test", "-d", str(there.root))
        return CommandCheck("installed", host, argv)
    asked = replace(
        spec, name=spec.name or "installed version", compares=True, equals=there.version
    )
    return check(asked, there, host)


def check(spec: CheckSpec, there: Installation, host: Host, tls: TlsSpec | None = None) -> Check:
    """One question of a recipe or a manifest, to the side ``there``; by TLS if that is given."""
    from crossfade.drivers.checks.command import CommandCheck
    from crossfade.drivers.checks.http import HttpCheck, HttpQuestion

    variables = there.variables(outside=True)
    if spec.command:
        return CommandCheck(
            spec.name,
            host,
            tuple(fill(word, variables) for word in spec.command),
            timeout=spec.timeout,
            status=spec.status,
            equals=fill(str(spec.equals), variables) if spec.compares else None,
            contains=fill(spec.contains, variables),
            cwd=spec.base if host.name == "local" and str(spec.base) != "." else None,
        )
    equals = spec.equals
    question = HttpQuestion(
        path=fill(spec.path, variables),
        status=spec.status,
        contains=fill(spec.contains, variables),
        json=spec.json,
        compares=spec.compares,
        equals=fill(equals, variables) if isinstance(equals, str) else equals,
        headers={name: resolve(value, spec.base) for name, value in spec.headers.items()},
        timeout=spec.timeout,
    )
    return HttpCheck(spec.name or "health", there.address, question, tls)


def answers(spec: TrafficSpec, traffic: Traffic, old: Parts, new: Parts) -> Check:
    """Whether the new side answers to the names that users ask for: those that the operator says,
    or else those of the manifest's other parts, and those that the gate has seen."""
    from crossfade.drivers.checks.names import NamesCheck

    def names() -> Sequence[str]:
        if spec.names is not None:
            return spec.names
        said = [urlsplit(spec.front.url).netloc] if spec.front else []
        said += [one.name for one in spec.dns.names] if spec.dns else []
        state = traffic.look()
        return [*said, *(state.names if state else ())]

    return NamesCheck(names, old.checks, new.checks)


def canaries(
    recipe: Recipe,
    old: Parts,
    new: Parts,
    environment: Callable[[Installation], Mapping[str, str]],
) -> list[Check]:
    """For each canary of the recipe: a word that the old side's program seals and the new side's
    reads, each with its side's configuration and environment."""
    from crossfade.drivers.checks.canary import CanaryCheck

    def teller(parts: Parts, verb: str, command: tuple[str, ...]) -> Teller:
        return _teller(parts, verb, command, environment)

    return [
        CanaryCheck(
            one.name, one.what, teller(old, "make", one.make), teller(new, "read", one.read)
        )
        for one in recipe.canaries
    ]


def checkers(
    recipe: Recipe,
    new: Parts,
    configuration: Configuration,
    environment: Callable[[Installation], Mapping[str, str]],
) -> list[Check]:
    """For each file that the version has a checker of: whether the new version would start with it
    as a cutover has it, without mutes."""
    from crossfade.drivers.checks.checker import CheckerCheck

    def text(path: str) -> str:
        files = configuration.render(new.installation).files
        return files[str(new.installation.config / path)][0].decode()

    return [
        CheckerCheck(
            one.path,
            _teller(new, "checker", one.checked_by, environment),
            partial(text, one.path),
        )
        for one in recipe.configuration
        if one.checked_by and one.path
    ]


def _teller(
    parts: Parts,
    verb: str,
    command: tuple[str, ...],
    environment: Callable[[Installation], Mapping[str, str]],
) -> Teller:
    from crossfade.drivers.checks.telling import Teller

    there = parts.installation
    argv = tuple(fill(word, there.variables()) for word in command)
    side = f"the {there.side} side's {verb}"
    return Teller(side, parts.host, argv, there.data, lambda: environment(there))
