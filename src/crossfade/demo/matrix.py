"""Just enough of the Matrix client-server API to fill a server, load it and read it back.

Endpoints as documented in the Matrix specification (client-server API v1.9) and, for registration
by shared secret, in Synapse's admin API documentation.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from urllib.parse import quote

from crossfade.demo.connection import Connection, WrongAnswer

__all__ = ["User", "register"]


class User:
    """A user with an access token.  Each method is one request on the connection given."""

    def __init__(self, name: str, token: str) -> None:
        self.name = name
        self.token = token

    def create_room(self, on: Connection, title: str, states: int) -> str:
        """A room that begins with so many state events of its own."""
        state = [
            {"type": "net.example.note", "state_key": f"{n}", "content": {"text": f"note {n}"}}
            for n in range(states)
        ]
        body = {"name": title, "initial_state": state}
        return str(on.json("POST", "/_matrix/client/v3/createRoom", body, self.token)["room_id"])

    def send(self, on: Connection, room: str, transaction: str, text: str) -> str:
        """Send a message; its event id."""
        path = f"/_matrix/client/v3/rooms/{quote(room)}/send/m.room.message/{transaction}"
        body = {"msgtype": "m.text", "body": text}
        return str(on.json("PUT", path, body, self.token)["event_id"])

    def event(self, on: Connection, room: str, event: str) -> str:
        """The text of a message."""
        path = f"/_matrix/client/v3/rooms/{quote(room)}/event/{quote(event)}"
        return str(on.json("GET", path, token=self.token)["content"]["body"])

    def messages(self, on: Connection, room: str) -> dict[str, str]:
        """Text by event id of all messages of a room."""
        found: dict[str, str] = {}
        path = f"/_matrix/client/v3/rooms/{quote(room)}/messages?dir=b&limit=1000"
        start = ""
        while True:
            page = on.json("GET", path + start, token=self.token)
            chunk = page["chunk"]
            if not isinstance(chunk, list) or not chunk:
                return found
            for event in chunk:
                if event["type"] == "m.room.message":
                    found[event["event_id"]] = event["content"].get("body", "")
            if "end" not in page:
                return found
            start = f"&from={quote(str(page['end']))}"

    def put_data(self, on: Connection, kind: str, value: str) -> None:
        """Write an entry of account data."""
        path = f"/_matrix/client/v3/user/{quote(self.name)}/account_data/{kind}"
        on.json("PUT", path, {"value": value}, self.token)

    def get_data(self, on: Connection, kind: str) -> str:
        """Read an entry of account data."""
        path = f"/_matrix/client/v3/user/{quote(self.name)}/account_data/{kind}"
        return str(on.json("GET", path, token=self.token)["value"])

    def upload(self, on: Connection, name: str, content: bytes) -> str:
        """Upload media; its mxc:// address."""
        path = f"/_matrix/media/v3/upload?filename={name}"
        return str(json.loads(on.call("POST", path, token=self.token, raw=content))["content_uri"])

    def download(self, on: Connection, uri: str) -> bytes:
        """Download media, in the way of newer versions or else of older ones."""
        place = uri.removeprefix("mxc://")
        try:
            return on.call("GET", f"/_matrix/client/v1/media/download/{place}", token=self.token)
        except WrongAnswer:
            return on.call("GET", f"/_matrix/media/v3/download/{place}", token=self.token)


def register(on: Connection, shared_secret: str, name: str, *, admin: bool = False) -> User:
    """Register a user by the server's shared secret."""
    nonce = str(on.json("GET", "/_synapse/admin/v1/register")["nonce"])
    password = secrets.token_urlsafe(12)
    words = [nonce, name, password, "admin" if admin else "notadmin"]
    mac = hmac.new(shared_secret.encode(), "\0".join(words).encode(), hashlib.sha1).hexdigest()
    body = {"nonce": nonce, "username": name, "password": password, "admin": admin, "mac": mac}
    made = on.json("POST", "/_synapse/admin/v1/register", body)
    return User(str(made["user_id"]), str(made["access_token"]))
