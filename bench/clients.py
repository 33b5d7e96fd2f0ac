"""A crowd of clients in one process: event streams, WebSockets, long polls, and senders.

`bench.client_pool` starts this as a process of its own, tells it what to do by lines of JSON on
standard input and reads one line of JSON for each. It ends with its input.

A client is a socket, a few numbers and, on request, the messages that it
received: one process has thousands. Like any client it reconnects when its connection ends,
and continues after its last message.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import re
import resource
import socket
import struct
import sys
import time
from collections import Counter
from typing import Any

from bench.links import OPEN_SECONDS, EventStream, Http, Link, WebSocket

STAMP = re.compile(r"@(\d+)@")
AWAY_SECONDS = 0.25  # The default pause before a client reconnects.
SMALL_BUFFER = 4096
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close by RST
MAX_LINE_BYTES = 64 * 1024 * 1024
MAX_FAULTS = 1000


class Client:
    """A client that listens and reconnects until it is stopped.

    chat -- the id of a chat, or None for the inbox. seq -- the last message that it received.
    """

    __slots__ = (
        "answers",
        "chat",
        "chats",
        "crowd",
        "is_admin",
        "is_ready",
        "is_slow",
        "keeps",
        "kind",
        "link",
        "number",
        "pause",
        "poller",
        "reported_chats",
        "rows",
        "seq",
        "stopped",
        "token",
        "visits",
        "visits_before",
        "waiting",
    )

    def __init__(self, crowd: Crowd, plan: dict[str, Any]) -> None:
        self.crowd = crowd
        self.number: int = plan["number"]
        self.kind: str = plan["kind"]  # sse, ws, poll
        self.token: str = plan["token"]
        self.chat: str | None = plan["chat"]
        self.is_admin: bool = plan.get("is_admin", False)
        self.keeps: bool = plan.get("keeps", False)
        self.seq: int | None = 0 if self.keeps else None
        self.rows: list[tuple[int, str, str]] = []
        self.chats: dict[str, dict[str, Any]] = {}  # of an inbox: the newest state of each
        self.reported_chats: set[str] = set()  # the chats that this connection has reported
        self.link: Link | None = None
        self.poller: Http | None = None
        self.waiting: asyncio.Future[None] | None = None
        self.answers: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self.visits = self.visits_before = 0
        self.pause = AWAY_SECONDS
        self.is_ready = self.is_slow = self.stopped = False

    async def live(self) -> None:
        """Connect, and again whenever the connection ends."""
        if self.kind == "poll":
            await self._poll()
            return
        loop = asyncio.get_running_loop()
        while not self.stopped:
            async with self.crowd.connect_semaphore:
                self.waiting = loop.create_future()
                self.visits += 1
                self.reported_chats = set()
                with contextlib.suppress(OSError, TimeoutError):
                    await self._connect()
                    await asyncio.wait_for(asyncio.shield(self.waiting), OPEN_SECONDS)
                if not self.is_ready and self.link is not None:
                    self.link.transport.abort()
            if self.is_ready and self.keeps and self.chat is None:
                await self._fetch()
            while self.link is not None:
                self.waiting = loop.create_future()
                await self.waiting
            self.waiting = None
            if not self.stopped:
                await asyncio.sleep(self.pause * random.uniform(0.5, 1.5))

    async def _connect(self) -> None:
        sock = socket.socket()
        sock.setblocking(False)
        if self.is_slow:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        loop = asyncio.get_running_loop()
        make = EventStream if self.kind == "sse" else WebSocket
        try:
            await loop.sock_connect(sock, self.crowd.server)
            await loop.create_connection(lambda: make(self), sock=sock)
        except BaseException:
            sock.close()
            raise

    async def _fetch(self) -> None:
        """Fetch the list, as a client does when its inbox's stream has begun.

        Later events of the stream are newer.
        """
        with contextlib.suppress(ConnectionError):
            status, rows = await self.crowd.ask("GET", "/api/chat?limit=100", self.token)
            if status == 200:
                self.chats |= {
                    row["_id"]: row for row in rows if row["_id"] not in self.reported_chats
                }
                return
        self.crowd.counts["list fetch failed"] += 1
        self.cut("reset")

    async def _poll(self) -> None:
        self.poller = Http(self.crowd)
        while not self.stopped:
            self.visits += 1
            path = f"/api/chat/{self.chat}/messages?after={self.seq or 0}&wait=10&limit=100"
            try:
                status, answer = await self.poller.request("GET", path, self.token)
            except ConnectionError:
                self.is_ready = False
                await asyncio.sleep(self.pause)
                continue
            if status == 200:
                self.came_in()
                for row in answer:
                    self._take(row)
            else:
                self.refused(status)
                await asyncio.sleep(self.pause)
        self.poller.close()

    def came_in(self) -> None:
        """Note that the stream has begun: what is written from now on will come."""
        self.is_ready, self.pause = True, AWAY_SECONDS
        self._wake()

    def refused(self, status: int) -> None:
        """Note that the server did not let us in."""
        self.crowd.counts[f"refused {status}"] += 1
        self.pause = 1.0
        if status not in {429, 503}:
            self.crowd.fault("refused", self, f"was refused with {status}")
            self.stopped = True

    def lost(self, link: Link) -> None:
        """Note that a connection has ended."""
        if self.link is link:
            self.link, self.is_ready = None, False
            for answer in self.answers.values():
                if not answer.done():
                    answer.set_exception(ConnectionError("cut off"))
            self._wake()

    def _wake(self) -> None:
        if self.waiting is not None and not self.waiting.done():
            self.waiting.set_result(None)

    def delivered(self, name: str, data: dict[str, Any]) -> None:
        """Take an event."""
        if name == "message":
            self._take(data)
        elif name == "chat":
            if self.chat is None:
                self.crowd.note(data["lastMessage"], "inbox")
                if self.keeps:
                    self.chats[data["_id"]] = data
                    self.reported_chats.add(data["_id"])
            else:
                if self.seq is None:
                    self.seq = data["lastSeq"]
                self.came_in()
        elif name == "end":
            self.crowd.counts[f"end {data['code']}"] += 1
            self.pause = max(AWAY_SECONDS, data["retryAfter"])
            if data["code"] in {"session_ended", "forbidden"}:
                self.crowd.fault("sent away", self, f"was sent away: {data['code']}")

    def _take(self, row: dict[str, Any]) -> None:
        self.crowd.note(row, "chat")
        if self.seq is not None and row["seq"] != self.seq + 1:
            kind = "message missed" if row["seq"] > self.seq else "message twice"
            self.crowd.fault(kind, self, f"received message {row['seq']} after {self.seq}")
        self.seq = row["seq"]
        if self.keeps:
            self.rows.append((row["seq"], row["_id"], row["content"]))

    def answered(self, frame: dict[str, Any]) -> None:
        """Pass a WebSocket's reply to its waiting request."""
        waiting = self.answers.pop(frame["ref"], None)
        if waiting is not None and not waiting.done():
            waiting.set_result(frame)

    async def say(self, kind: str, **data: Any) -> dict[str, Any]:
        """Send something over the WebSocket and return the answer's frame."""
        if not isinstance(self.link, WebSocket) or not self.is_ready:
            raise ConnectionError("not connected")
        ref = f"{time.monotonic_ns()}"
        self.answers[ref] = asyncio.get_running_loop().create_future()
        self.link.say({"type": kind, "chatId": self.chat, "ref": ref, **data})
        try:
            return await asyncio.wait_for(self.answers[ref], 30)
        except TimeoutError:
            raise ConnectionError("no answer") from None
        finally:
            self.answers.pop(ref, None)

    def cut(self, how: str) -> None:
        """End the connection: "clean", or "reset" without a word."""
        if self.link is None:
            return
        transport = self.link.transport
        if how == "clean" and isinstance(self.link, WebSocket):
            self.link.hang_up()
        elif how == "clean":
            transport.close()
        else:
            sock = transport.get_extra_info("socket")
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            transport.abort()

    def stop(self, how: str) -> None:
        """End the connection for good."""
        self.stopped = True
        self.cut(how)
        if self.poller is not None:
            self.poller.close()


class Crowd:
    """All clients of this process, and the commands for them."""

    def __init__(self, address: str, port: int) -> None:
        self.server = (address, port)
        self.clients: list[Client] = []
        self.tasks: set[asyncio.Task[None]] = set()
        self.connect_semaphore = asyncio.Semaphore(50)
        self.deliveries: list[tuple[int, int, str]] = []
        self.faults: list[tuple[str, str]] = []  # of which kind, and what
        self.counts: Counter[str] = Counter()
        self.sent: dict[str, tuple[str, int, str]] = {}
        self.idle: list[Http] = []
        self.is_talking = False

    def note(self, row: dict[str, Any] | None, where: str) -> None:
        """Note when a message that carries the time of its sending arrives."""
        found = STAMP.search(row["content"]) if row else None
        if found:
            self.deliveries.append((int(found[1]), time.monotonic_ns(), where))

    def fault(self, kind: str, client: Client, what: str) -> None:
        """Note what must not happen."""
        if len(self.faults) < MAX_FAULTS:
            self.faults.append((kind, f"{client.kind} client {client.number} {what}"))

    def start(self, work: Any) -> None:
        """Run something beside the rest."""
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.faults.append(("benchmark failed", repr(task.exception())))

    async def ask(self, method: str, path: str, token: str, body: object = None) -> Any:
        """Send a plain request over any idle connection."""
        link = self.idle.pop() if self.idle else Http(self)
        try:
            return await link.request(method, path, token, body)
        finally:
            self.idle.append(link)

    async def do_open(
        self, plans: list[dict[str, Any]], parallel: int, seconds: float
    ) -> dict[str, Any]:
        """Let clients come in, so many at a time, and wait until they are there."""
        self.connect_semaphore = asyncio.Semaphore(parallel)
        started = time.monotonic()
        opened = [Client(self, plan) for plan in plans]
        self.clients += opened
        for client in opened:
            self.start(client.live())
        while time.monotonic() < started + seconds and not all(each.is_ready for each in opened):
            await asyncio.sleep(0.02)
        return {"ready": sum(each.is_ready for each in opened), "counts": self.counts}

    async def do_send(
        self, senders: list[dict[str, Any]], rate: float, seconds: float, seed: int
    ) -> dict[str, Any]:
        """Send at a constant rate; return when each message was sent and acknowledged."""
        chance = random.Random(seed)
        started = time.monotonic()
        answers: list[tuple[int, int]] = []
        failures: Counter[str] = Counter()

        async def send(number: int) -> None:
            sender = chance.choice(senders)
            stamp = time.monotonic_ns()
            text = f"A message of a usual length, no more. @{stamp}@"
            path = f"/api/chat/{sender['chat']}/messages"
            body = {"content": text, "clientMessageId": f"{seed}-{number}"}
            status = 0
            try:
                status, _ = await self.ask("POST", path, sender["token"], body)
            except ConnectionError:
                # The server closed an idle connection meanwhile.
                with contextlib.suppress(ConnectionError):
                    status, _ = await self.ask("POST", path, sender["token"], body)
            if status in {200, 201}:
                answers.append((stamp, time.monotonic_ns()))
            else:
                failures[str(status)] += 1

        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, started + number / rate - time.monotonic()))
            self.start(send(number))
        end = time.monotonic() + 20
        while self.tasks and time.monotonic() < end:
            await asyncio.sleep(0.05)
        return {"answers": answers, "failures": failures}

    async def do_deliveries(self) -> dict[str, Any]:
        """Return (sent, received, where) of every delivery since the last time."""
        await asyncio.sleep(1)
        found, self.deliveries = self.deliveries, []
        return {"deliveries": found}

    async def do_prepare_reconnect(self) -> dict[str, Any]:
        """Prepare a reconnect storm: clients reconnect without a limit."""
        self.connect_semaphore = asyncio.Semaphore(100_000)
        for client in self.clients:
            client.visits_before = client.visits
        return {}

    async def do_reconnect_storm(self, targets: dict[str, int], seconds: float) -> dict[str, Any]:
        """Return when each had come back and caught up, after the server went.

        targets -- the last seq of each chat: who has it, has caught up.
        """
        end = time.monotonic() + seconds
        away = [client for client in self.clients if not client.stopped]
        times: list[float] = []
        while away and time.monotonic() < end:
            still = [
                client
                for client in away
                if not client.is_ready
                or client.visits == client.visits_before
                or (client.chat is not None and (client.seq or 0) < targets.get(client.chat, 0))
            ]
            times += [time.monotonic()] * (len(away) - len(still))
            away = still
            await asyncio.sleep(0.01)
        return {"times": times, "away": len(away), "counts": self.counts}

    async def do_talk(self, rate: float, seed: int, fault_rate: float) -> dict[str, Any]:
        """Begin to talk as the clients do, and to treat their connections badly.

        rate -- messages a second. fault_rate -- injected faults a second.
        """
        self.is_talking = True
        chance = random.Random(seed)
        self.start(self._talk(rate, chance))
        self.start(self._read(rate / 4, chance))
        self.start(self._inject_faults(fault_rate, chance))
        return {}

    async def _talk(self, rate: float, chance: random.Random) -> None:
        speakers = [client for client in self.clients if client.chat is not None]
        number = 0
        next_at = time.monotonic()
        while self.is_talking:
            next_at += 1 / rate
            await asyncio.sleep(max(0.0, next_at - time.monotonic()))
            number += 1
            speaker = chance.choice(speakers)
            self.start(self._send(speaker, f"{os.getpid()}-{number}", chance))
            if chance.random() < 0.2:
                self.start(self._signal(speaker))

    async def _send(self, speaker: Client, key: str, chance: random.Random) -> None:
        """Send one message and insist until it is acknowledged, as the API says."""
        body = {"content": f"Message {key} @{time.monotonic_ns()}@ é 漢 🙂", "clientMessageId": key}
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                if speaker.kind == "ws" and speaker.is_ready and chance.random() < 0.7:
                    frame = await speaker.say("send", **body)
                    status, row = 201 if frame["event"] == "ok" else 0, frame["data"]
                    status = status or row["status"]
                else:
                    path = f"/api/chat/{speaker.chat}/messages"
                    status, row = await self.ask("POST", path, speaker.token, body)
                if status in {200, 201}:
                    self.sent[key] = (row["chatId"], row["seq"], row["_id"])
                    return
                self.counts[f"send answered {status}"] += 1
                if status not in {429, 503}:
                    self.fault("not sent", speaker, f"could not send: {status} {row}")
                    return
            except ConnectionError:
                self.counts["send repeated"] += 1
            await asyncio.sleep(0.3)
        self.fault("not sent", speaker, f"could not send {key} within 60 s")

    async def _signal(self, speaker: Client) -> None:
        with contextlib.suppress(ConnectionError):
            status, _ = await self.ask("POST", f"/api/chat/{speaker.chat}/typing", speaker.token)
            if status != 204:
                self.counts[f"typing answered {status}"] += 1

    async def _read(self, rate: float, chance: random.Random) -> None:
        readers = [client for client in self.clients if client.chat is not None]
        while self.is_talking:
            await asyncio.sleep(1 / rate)
            reader = chance.choice(readers)
            path, body = f"/api/chat/{reader.chat}/read", {"seq": reader.seq or 0}
            with contextlib.suppress(ConnectionError):
                status, _ = await self.ask("POST", path, reader.token, body)
                if status != 204:
                    self.counts[f"read answered {status}"] += 1

    async def _inject_faults(self, rate: float, chance: random.Random) -> None:
        streaming = [client for client in self.clients if client.kind != "poll"]
        while self.is_talking:
            await asyncio.sleep(1 / rate)
            client = chance.choice(streaming)
            what = chance.choice(("clean", "reset", "reset", "frozen", "slow"))
            self.counts[f"accident: {what}"] += 1
            if what in {"clean", "reset"}:
                client.cut(what)
            elif client.link is not None:
                self.start(self._freeze(client, client.link, what, chance.uniform(2, 15)))

    async def _freeze(self, client: Client, link: Link, what: str, seconds: float) -> None:
        """Stop reading for a while, or read a little now and then, and sometimes give up."""
        if what == "slow":
            client.is_slow = True
            client.cut("reset")
            await asyncio.sleep(1)
            if client.link is None:
                return
            link = client.link
        end = time.monotonic() + seconds
        while time.monotonic() < end and client.link is link and self.is_talking:
            link.transport.pause_reading()
            await asyncio.sleep(0.4 if what == "slow" else max(0.0, end - time.monotonic()))
            if client.link is link:
                link.transport.resume_reading()
                await asyncio.sleep(0.02)
        client.is_slow = False
        if client.link is link and time.monotonic_ns() % 3 == 0:
            client.cut("reset")

    async def do_state(self) -> dict[str, Any]:
        """Return how far this process is."""
        delays = [(received - sent) / 1e6 for sent, received, _ in self.deliveries]
        self.deliveries = []
        return {
            "ready": sum(client.is_ready for client in self.clients),
            "clients": len(self.clients),
            "sent": len(self.sent),
            "delays": delays,
            "faults": len(self.faults),
            "counts": self.counts,
        }

    async def do_pause_senders(self) -> dict[str, Any]:
        """Stop talking and hurting; return when every message sent is acknowledged."""
        self.is_talking = False
        end = time.monotonic() + 70
        while time.monotonic() < end and len(self.tasks) > len(self.clients):
            await asyncio.sleep(0.1)
        return {"sent": self.sent, "busy": len(self.tasks) - len(self.clients)}

    async def do_settle(self, targets: dict[str, int], seconds: float) -> dict[str, Any]:
        """Wait until every client has received everything, and return what they received.

        targets -- the last seq of each chat.
        """
        end = time.monotonic() + seconds

        def behind(client: Client) -> bool:
            if client.chat is not None:
                return (client.seq or 0) < targets[client.chat]
            return any(chat["lastSeq"] < targets[key] for key, chat in client.chats.items())

        while time.monotonic() < end:
            if all(each.is_ready and not behind(each) for each in self.clients):
                break
            await asyncio.sleep(0.1)
        # An inbox also gets changes after the last message, such as read receipts.
        await asyncio.sleep(1)
        return {
            "clients": [
                {
                    "number": each.number,
                    "kind": each.kind,
                    "chat": each.chat,
                    "is_admin": each.is_admin,
                    "is_ready": each.is_ready,
                    "visits": each.visits,
                    "rows": each.rows,
                    "chats": each.chats,
                }
                for each in self.clients
            ],
            "faults": self.faults,
            "counts": self.counts,
        }

    async def do_close(self, how: str) -> dict[str, Any]:
        """Close all clients."""
        for client in self.clients:
            client.stop(how)
        for link in self.idle:
            link.close()
        end = time.monotonic() + 15
        while self.tasks and time.monotonic() < end:
            await asyncio.sleep(0.05)
        self.clients, self.idle = [], []
        return {"left": len(self.tasks), "faults": self.faults}


async def obey(address: str, port: int) -> None:
    """Do what standard input says, line by line, until it ends."""
    crowd = Crowd(address, port)
    commands = asyncio.StreamReader(limit=MAX_LINE_BYTES)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    while line := await commands.readline():
        asked = json.loads(line)
        answer = await getattr(crowd, f"do_{asked.pop('do')}")(**asked)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def main() -> None:
    """Run until the input ends."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(obey(sys.argv[1], int(sys.argv[2])))


if __name__ == "__main__":
    main()
