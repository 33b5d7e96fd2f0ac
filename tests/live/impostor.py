"""A program that takes the port of a database."""

from __future__ import annotations

import socket
import struct
import threading
from typing import Any

import bson

# All that a client may send before the server has proved that it knows the password.
HANDSHAKE = {"hello", "ismaster", "isMaster", "saslStart", "saslContinue"}


class Impostor:
    """A program on a port that speaks as a database does, and lets everybody in."""

    def __init__(self, port: int) -> None:
        self.commands: list[str] = []
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(("127.0.0.1", port))
        self.socket.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream:
            while len(header := stream.read(16)) == 16:
                length, request, _, operation = struct.unpack("<iiii", header)
                body = stream.read(length - 16)
                legacy = operation == 2004  # OP_QUERY: flags, name, two numbers, document
                sent = bson.decode(body[body.index(b"\0", 4) + 9 :] if legacy else body[5:])
                name = next(iter(sent))
                self.commands.append(name)
                document = bson.encode(self._answer(name, sent))
                text = struct.pack("<iqii", 8, 0, 0, 1) if legacy else struct.pack("<iB", 0, 0)
                size = 16 + len(text) + len(document)
                head = struct.pack("<iiii", size, 1, request, 1 if legacy else 2013)
                connection.sendall(head + text + document)

    @staticmethod
    def _answer(name: str, sent: dict[str, Any]) -> dict[str, Any]:
        if name in {"hello", "ismaster", "isMaster"}:
            limits = {"maxWireVersion": 21, "minWireVersion": 0, "maxBsonObjectSize": 16 << 20}
            return {"ok": 1.0, "helloOk": True, "isWritablePrimary": True, **limits}
        if name == "saslStart":
            nonce = sent["payload"].split(b"r=")[1].decode()
            first = f"r={nonce}made-up,s=c2FsdHNhbHRzYWx0c2FsdA==,i=15000"
            return {"ok": 1.0, "conversationId": 1, "done": False, "payload": first.encode()}
        if name == "saslContinue":  # "You are in", without knowing the password.
            return {"ok": 1.0, "conversationId": 1, "done": True, "payload": b"v=bm90IGl0"}
        return {"ok": 1.0}

    def close(self) -> None:
        self.socket.close()
