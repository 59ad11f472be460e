"""A small Synapse site on disk, and what is needed to carry its configuration."""

from __future__ import annotations

from pathlib import Path

from crossfade.configuration import CarriedConfiguration
from crossfade.manifest._databases import chosen
from crossfade.model import Address, Finding, Installation, Side
from crossfade.ports import Rendering
from crossfade.recipes import Recipe, load

HOMESERVER = """\
# Configuration of our chat server.
server_name: "chat.example.org"   # never change this
pid_file: /run/chat/homeserver.pid
listeners:
  - port: 8008
    tls: false
    type: http
    bind_addresses: ['127.0.0.1']
    resources:
      - names: [client, federation]
database:
  name: sqlite3
  args:
    database: '{data}/homeserver.db'
log_config: "{config}/log.yaml"
media_store_path: media_store
registration_shared_secret: "registration-planted"
macaroon_secret_key: 'macaroon-planted'
form_secret: form-planted
report_stats: false
signing_key_path: "{config}/chat.signing.key"
trusted_key_servers: []
federation_domain_whitelist: []
pusher_instances: []
"""

LOG = """\
version: 1
handlers:
    file:
        class: logging.handlers.TimedRotatingFileHandler
        filename: /var/log/chat/homeserver.log  # rotated at midnight
root:
    handlers: [file]
"""


class Disk:
    """Looks at real files; it can do nothing else."""

    def read(self, path: Path) -> bytes:
        """The whole file."""
        return path.read_bytes()

    def exists(self, path: Path) -> bool:
        """Whether anything is there."""
        return path.exists()


class Site:
    """The old side on disk, and both installations."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.old = self._side(Side.OLD, "1.100.0", 8008)
        self.new = self._side(Side.NEW, "1.163.2", 8009)
        self.old.config.mkdir(parents=True)
        self.old.data.mkdir(parents=True)
        self.main = self.old.config / "homeserver.yaml"
        self.main.write_text(HOMESERVER.format(data=self.old.data, config=self.old.config))
        (self.old.config / "log.yaml").write_text(LOG)
        (self.old.config / "chat.signing.key").write_text("ed25519 a_x signing-planted\n")

    def _side(self, side: Side, version: str, port: int) -> Installation:
        place = self.directory / side.value
        return Installation(
            application="synapse",
            version=version,
            side=side,
            host="local",
            root=place / "venv",
            config=place / "etc",
            data=place / "data",
            address=Address("127.0.0.1", port),
        )

    def add(self, text: str) -> None:
        """More lines at the end of homeserver.yaml; {data} and {config} are filled in."""
        with self.main.open("a") as file:
            file.write(text.replace("{data}", str(self.old.data)).replace("{config}", self.etc))

    @property
    def etc(self) -> str:
        """The old side's configuration directory."""
        return str(self.old.config)

    def carried(self, recipe: Recipe | None = None) -> CarriedConfiguration:
        """What is tested."""
        on_sqlite = chosen(load("synapse", Path()), {}, {})
        return CarriedConfiguration(recipe or on_sqlite, self.old, Disk())

    def render(self) -> Rendering:
        """A rendering for the new side by Synapse's recipe."""
        return self.carried().render(self.new)

    def rendered(self, rendering: Rendering, name: str = "homeserver.yaml") -> str:
        """The text of one rendered file of the new side's configuration."""
        return rendering.files[str(self.new.config / name)][0].decode()


def failing(rendering: Rendering) -> list[Finding]:
    """The findings that do not hold."""
    return [finding for finding in rendering.findings if not finding.holds]
