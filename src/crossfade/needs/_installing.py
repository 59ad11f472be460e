"""What the new version is installed with: an interpreter, Node.js, Compose."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from crossfade.drivers.installs import _interpreters as interpreters
from crossfade.drivers.installs import npm
from crossfade.errors import Failed
from crossfade.model import Finding
from crossfade.needs._asking import Question
from crossfade.needs._machines import About, Machine
from crossfade.needs._need import Need

__all__ = ["asked"]

_COMPOSE: Final = "docker compose version >/dev/null || command -v docker-compose || echo missing"


def asked(about: About, machine: Machine) -> Iterator[Question]:
    """What the install driver looks for, in its own words."""
    install = about.manifest.recipe.install
    options = {name: str(value) for name, value in install.options.items()}
    if machine.new and not machine.contained:
        if install.driver == "python":
            version = options.get("python", "")
            if not machine.here or version:
                yield _python(machine, version, options.get("exclude_newer", ""))
        elif install.driver == "npm":
            yield _node(machine, options.get("node", ""))
    if machine.here and about.new.host.project:
        yield Question(_COMPOSE, (), lambda told: [_compose("missing" not in told.split())])


def _python(machine: Machine, version: str, newer: str) -> Question:
    name = f"python{version or '3'}"
    ours = interpreters.uv_program() if machine.here else ""

    def judge(told: str) -> list[Need]:
        found = "it has"
        lack: Failed | None = None
        try:
            tools = interpreters.tools_of(machine.host, version, told)
            found = tools.python
            if newer and not tools.uv:
                lack = Failed("host-lacks-tool", "There is no uv.")
        except Failed as failed:
            lack = failed
        claim = f"{machine.name} can make environments of {name}"
        return [_usable("python-missing", machine, claim, lack, found, f"{name}-venv")]

    return Question(interpreters.FIND, (ours, version or "3"), judge)


def _node(machine: Machine, rules: str) -> Question:
    def judge(told: str) -> list[Need]:
        found, lack = told.strip(), None
        try:
            npm.check_node(machine.host, told, rules)
        except Failed as failed:
            lack = failed
        claim = f"{machine.name} has node {rules} and npm".replace("  ", " ")
        return [_usable("node-missing", machine, claim, lack, found, "npm")]

    return Question(npm.FIND, (), judge)


def _usable(
    code: str, machine: Machine, claim: str, lack: Failed | None, found: str, package: str
) -> Need:
    seen = lack.what if lack else found
    finding = Finding(claim, "it can be used", seen, "running it", lack is None)
    return Need(lack.code if lack else code, finding, machine.install(package))


def _compose(there: bool) -> Need:
    seen = "it has" if there else "neither docker compose nor docker-compose is there"
    finding = Finding("this machine has Docker Compose", "one of both", seen, "PATH", there)
    return Need("compose-missing", finding, "apt-get install docker-compose")
