"""A small TCP proxy between a browser and the product, for networks that fail."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self

ADDRESS = "127.0.0.1"
REFUSAL = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Proxy:
    """Passes connections on to a port; use it in a `with` block.

    cut() -- all connections break at once and new ones are refused, as without a network.
    freeze() -- nothing gets through any more and nobody is told, as behind a dead router.
    restore() -- ends both: what was held back arrives, and new connections work.
    lose() -- the present connections are silent for ever; new ones work. Of a kind, if told.
    upgrades -- False refuses every WebSocket, as some company's proxies do.
    """

    def __init__(self, target: int, upgrades: bool = True) -> None:
        self.target, self.upgrades = target, upgrades
        self._flowing = threading.Event()
        self._flowing.set()
        self._is_cut = False
        self._lock = threading.Lock()
        self._links: set[_Link] = set()
        self._listener = socket.create_server((ADDRESS, 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"http://{ADDRESS}:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def sockets(self) -> int:
        """How many WebSockets are open through it."""
        with self._lock:
            return sum(link.upgraded for link in self._links)

    def cut(self) -> None:
        """Break every connection and refuse new ones."""
        self._is_cut = True
        for link in self._present():
            link.close()

    def freeze(self) -> None:
        """Hold back everything, in both directions."""
        self._flowing.clear()

    def restore(self) -> None:
        """Let everything through again."""
        self._is_cut = False
        self._flowing.set()

    def lose(self, sockets_only: bool = False) -> None:
        """Let nothing through on the present connections, ever, or on the WebSockets alone."""
        for link in self._present():
            link.lost = link.upgraded or not sockets_only

    def _present(self) -> list[_Link]:
        with self._lock:
            return list(self._links)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._is_cut:
                client.close()
                continue
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection((ADDRESS, self.target))
        except OSError:
            client.close()
            return
        link = _Link(client, server)
        with self._lock:
            self._links.add(link)
        back = threading.Thread(target=self._pass_on, args=(link, server, client), daemon=True)
        back.start()
        self._pass_on(link, client, server)
        back.join()
        link.close()
        with self._lock:
            self._links.discard(link)

    def _pass_on(self, link: _Link, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                self._flowing.wait()
                if link.lost:
                    continue
                if source is link.client and b"upgrade: websocket" in data.lower():
                    if not self.upgrades:
                        source.sendall(REFUSAL)
                        break
                    link.upgraded = True
                target.sendall(data)
        # The other side may have to be told of an end as well, but not by a dead router.
        if not link.lost:
            self._flowing.wait()
            link.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._listener.close()
        for link in self._present():
            link.close()
        self._flowing.set()


class _Link:
    """One connection, with both its ends."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client, self.server = client, server
        self.upgraded = False
        self.lost = False

    def close(self) -> None:
        """End both directions, whoever waits for either."""
        for end in (self.client, self.server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
