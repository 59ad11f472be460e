"""A stretch of network that can be cut: a small TCP relay of the tests' own."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading

from crossfade.model import Address

__all__ = ["Wire"]


class Wire:
    """Relays connections to an address until it is cut.

    While it is cut, connections stay open and nothing passes, as when a cable is pulled out; new
    ones are taken by the kernel and hear nothing."""

    def __init__(self, to: Address) -> None:
        self._to = to
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = Address("127.0.0.1", self._listening.getsockname()[1])
        self._uncut = threading.Event()
        self._uncut.set()
        self._over = False
        self._selector = selectors.DefaultSelector()
        self._peers: dict[socket.socket, socket.socket] = {}
        self._thread = threading.Thread(target=self._work)
        self.bytes = 0

    def __enter__(self) -> Wire:
        self._selector.register(self._listening, selectors.EVENT_READ)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        self._uncut.set()
        self._thread.join()
        for each in (*self._peers, self._listening):
            each.close()
        self._selector.close()

    def cut(self) -> None:
        """From now on nothing passes."""
        self._uncut.clear()

    def mend(self) -> None:
        """Everything passes again."""
        self._uncut.set()

    def _work(self) -> None:
        while not self._over:
            self._uncut.wait()
            for key, _ in self._selector.select(0.05):
                if not self._uncut.is_set():
                    break
                assert isinstance(key.fileobj, socket.socket)
                if key.fileobj is self._listening:
                    self._take()
                else:
                    self._pass_on(key.fileobj)

    def _take(self) -> None:
        client, _ = self._listening.accept()
        try:
            server = socket.create_connection((self._to.host, self._to.port), timeout=5)
        except OSError:
            client.close()
            return
        server.settimeout(None)
        for one, other in ((client, server), (server, client)):
            self._peers[one] = other
            self._selector.register(one, selectors.EVENT_READ)

    def _pass_on(self, one: socket.socket) -> None:
        if one not in self._peers:  # its peer ended it in this round
            return
        try:
            data = one.recv(65536)
            if data:
                self._peers[one].sendall(data)
                self.bytes += len(data)
                return
        except OSError:
            pass
        for each in (one, self._peers[one]):
            with contextlib.suppress(KeyError):
                self._selector.unregister(each)
            del self._peers[each]
            each.close()
