"""A soak test of ten minutes with fault injection. `make soak`.

Two workers, the embedded database, 200 clients on event streams, WebSockets and long polls,
20 messages a second. Connections are closed, reset, frozen with the whole process, or read a few
bytes at a time; once the workers are replaced. At the end

- every client has received exactly the history in the database, each message once, in order;
- every acknowledged message is stored exactly once, and every inbox has the latest state;
- the unread counts equal the history;
- the workers' memory is flat: at the end at most 10 % and 5 MB more than after the warm-up,
  which is the first half of the run;
- no connection is open, and the log has no error and no response of 500 or above.

Everything else is a violation: the first ones of each kind are printed when they are found, and
all are counted at the end.

    python -m bench.soak [--minutes 10] [--clients 200] [--rate 20] [--no-restart] [--seed N]

The exit code is 1 if there is a violation.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import page, people
from bench.client_pool import Answer, ClientPool
from bench.people import Person
from bench.streams import memory, part
from chatapi import create_app
from chatapi.domain.documents import Chat, Message
from chatapi.domain.enums import SIDES, Side
from chatapi.store import database
from config import DevelopmentConfig
from tests.servers import ADDRESS, AppServer, start_app, start_database

WORKERS = 2
PROCESSES = 4
TICK = 10.0
MAX_LEAVE = 45.0  # Streams notice by their heartbeat that a client has gone.
MAX_LINE_LENGTH = 600
FLAT_SHARE, FLAT_KB = 1.10, 5 * 1024
# In a shorter run the memory has not settled: it is shown, but not judged.
MIN_SECONDS_FOR_MEMORY = 180.0
MAX_SHOWN = 5  # of each kind
LONG_ENOUGH = 600.0  # to be written down
PAGE = Path(__file__).with_name("soak.md")


@dataclass(frozen=True)
class Options:
    """The options of a run."""

    seconds: float = 600
    clients: int = 200
    rate: float = 20
    restart: bool = True
    seed: int = 1


@dataclass
class Soak:
    """One run, and what was found wrong in it."""

    options: Options
    app: AppServer
    pool: ClientPool
    chance: random.Random
    violations: Counter[str] = field(default_factory=Counter)
    memory: list[tuple[float, float]] = field(default_factory=list)
    found: list[str] = field(default_factory=list)

    def say(self, line: str) -> None:
        """Print what was found at the end, and keep it for the page."""
        print(line, flush=True)
        self.found.append(line)

    def blame(self, kind: str, what: str) -> None:
        """Note something that must not be."""
        self.violations[kind] += 1
        if self.violations[kind] <= MAX_SHOWN:
            print(f"VIOLATION, {kind}: {what}", flush=True)

    def run(self) -> None:
        """Open the clients, inject faults, and check the results."""
        plans = _plans(self.options)
        there = self.pool.open(plans, 50, 120)
        if there < len(plans):
            self.blame("client absent", f"only {there} of {len(plans)} clients came in")
        share = self.options.rate / PROCESSES
        fault_rate = self.options.clients / 40 / PROCESSES
        whats = [
            {"rate": share, "fault_rate": fault_rate, "seed": self.options.seed + number}
            for number in range(PROCESSES)
        ]
        self.pool.ask_each("talk", whats)
        self._weather()
        paused = self.pool.ask("pause_senders", 100)
        if any(answer["busy"] for answer in paused):
            self.blame("not sent", "clients still insist on what they sent a minute ago")
        sent: dict[str, list[Any]] = {}
        for answer in paused:
            sent |= answer["sent"]
        self._check(sent)
        self._leave()
        self._check_log()
        self._check_memory()

    def _weather(self) -> None:
        started = time.monotonic()
        end = started + self.options.seconds
        restart_at = started + self.options.seconds / 4 if self.options.restart else end
        print_at = started + TICK
        freeze_at, frozen, thaw_at = started + 5, -1, 0.0
        while (now := time.monotonic()) < end:
            time.sleep(0.2)
            if frozen >= 0 and now >= thaw_at:
                self.pool.resume(frozen)
                frozen, freeze_at = -1, now + self.chance.uniform(5, 20)
            elif frozen < 0 and freeze_at <= now < end - 10:
                frozen, thaw_at = self.chance.randrange(PROCESSES), now + self.chance.uniform(2, 6)
                self.pool.freeze(frozen)
            if now >= restart_at:
                restart_at = end
                print(f"{now - started:4.0f} s  the workers are replaced", flush=True)
                self.app.reload()
            if now >= print_at and frozen < 0:
                print_at = now + TICK
                self._show_progress(now - started)
        if frozen >= 0:
            self.pool.resume(frozen)

    def _show_progress(self, passed: float) -> None:
        states = self.pool.ask("state")
        held = sum(memory([pid])["Pss"] for pid in self.app.worker_pids())
        self.memory.append((passed, held))
        delays = [delay for state in states for delay in state["delays"]] or [0.0]
        counts = _sum(state["counts"] for state in states)
        accidents = sum(count for name, count in counts.items() if name.startswith("accident"))
        print(
            f"{passed:4.0f} s  {_total(states, 'ready')}/{_total(states, 'clients')} connected, "
            f"{_total(states, 'sent'):,} sent, {len(delays):,} events "
            f"(p50 {part(delays, 0.5):.0f} ms, p99 {part(delays, 0.99):.0f} ms), "
            f"{accidents} accidents, workers {held / 1024:.0f} MB, "
            f"{_total(states, 'faults')} faults",
            flush=True,
        )

    def _check(self, sent: dict[str, list[Any]]) -> None:
        chats = {str(row["_id"]): row for row in database.chatrooms().find()}
        targets = {key: chat["lastSeq"] for key, chat in chats.items()}
        settled = self.pool.ask("settle", 90, targets=targets, seconds=60)
        # Read marks may have come in between; no messages are sent any more.
        chats = {str(row["_id"]): row for row in database.chatrooms().find()}
        histories = _histories(chats)
        for answer in settled:
            for kind, what in answer["faults"]:
                self.blame(kind, what)
        clients = [client for answer in settled for client in answer["clients"]]
        for client in clients:
            self._check_client(client, chats, histories)
        for key, chat in chats.items():
            self._check_chat(chat, histories[key])
        stored = {
            row["clientMessageId"]: [chat_id, row["seq"], str(row["_id"])]
            for chat_id, rows in histories.items()
            for row in rows
            if row["clientMessageId"]
        }
        for client_message_id, receipt in sent.items():
            if stored.get(client_message_id) != receipt:
                found = stored.get(client_message_id)
                kind = "acknowledged message lost" if found is None else "receipt wrong"
                self.blame(kind, f"acknowledged {receipt}, stored {found}")
        if len(stored) != len(sent):
            self.blame(
                "message stored unasked",
                f"{len(stored)} messages are stored and {len(sent)} were acknowledged",
            )
        delivered = sum(len(client["rows"]) for client in clients)
        visits = sum(client["visits"] for client in clients if client["kind"] != "poll")
        self.say(
            f"{len(sent):,} messages in {len(chats)} chats, delivered {delivered:,} times to "
            f"{len(clients)} clients over {visits:,} connections"
        )
        counts = _sum(answer["counts"] for answer in settled)
        self.say(", ".join(f"{name} {count}" for name, count in sorted(counts.items())))

    def _check_client(
        self, client: Answer, chats: dict[str, Chat], histories: dict[str, list[Message]]
    ) -> None:
        name = f"{client['kind']} client {client['number']}"
        if not client["is_ready"]:
            self.blame("client absent", f"{name} did not come back")
        if client["chat"] is not None:
            history = histories[client["chat"]]
            expected = [[row["seq"], str(row["_id"]), row["content"]] for row in history]
            if client["rows"] != expected:
                self.blame(
                    "history wrong",
                    f"{name} received {len(client['rows'])} of {len(expected)} messages",
                )
            return
        side: Side = "admin" if client["is_admin"] else "user"
        for key, shown in client["chats"].items():
            chat = chats[key]
            seen = (shown["lastSeq"], shown["unreadCount"], shown["lastMessage"]["content"])
            preview = chat["lastMessage"]
            true = (chat["lastSeq"], chat["unread"][side], preview and preview["content"])
            if seen != true:
                self.blame("inbox wrong", f"{name} shows {seen} and not {true}")
        if client["is_admin"] and len(client["chats"]) != len(chats):
            self.blame("inbox wrong", f"{name} shows {len(client['chats'])} chats")

    def _check_chat(self, chat: Chat, history: list[Message]) -> None:
        if [row["seq"] for row in history] != list(range(1, chat["lastSeq"] + 1)):
            self.blame("seq wrong", f"chat {chat['_id']} has a hole, or a seq twice")
        for side in SIDES:
            read = chat["readSeq"][side]
            unread = sum(row["side"] != side and row["seq"] > read for row in history)
            if chat["unread"][side] != unread:
                self.blame(
                    "unread wrong",
                    f"chat {chat['_id']}: {chat['unread'][side]} unread by {side}, "
                    f"and the history says {unread}",
                )

    def _leave(self) -> None:
        """Reset all connections, and check that the server notices."""
        for answer in self.pool.ask("close", how="reset"):
            if answer["left"]:
                self.blame("benchmark failed", f"{answer['left']} tasks of clients did not end")
        started = time.monotonic()
        while (left := connections(self.app.port)) and time.monotonic() < started + MAX_LEAVE:
            time.sleep(0.5)
        if left:
            self.blame("connection left", f"{left} connections are still open")
        self.say(f"all streams had ended after {time.monotonic() - started:.0f} s")

    def _check_log(self) -> None:
        seen: Counter[str] = Counter()
        for line in self.app.log.read_text(errors="replace").splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                if "Traceback" in line or "[ERROR]" in line or "[CRITICAL]" in line:
                    self.blame("logged by the server", line)
                continue
            if row.get("status", 0) >= 500:
                self.blame(f"answered {row['status']}", line[:MAX_LINE_LENGTH])
            elif row.get("level") in {"error", "critical"}:
                what = " ".join(str(row[name]) for name in ("event", "code") if name in row)
                self.blame(f"logged {what}", line[:MAX_LINE_LENGTH])
            elif row.get("level") == "warning":
                seen[row.get("event", "?")] += 1
        if seen:
            print("warnings in the log:", dict(seen), flush=True)

    def _check_memory(self) -> None:
        """Compare what the workers held after the warm-up with what they hold at the end."""
        whole = self.options.seconds
        first = [held for passed, held in self.memory if 0.45 * whole < passed <= 0.6 * whole]
        last = [held for passed, held in self.memory if passed > 0.85 * whole]
        if not first or not last:
            print("memory: the run was too short to tell", flush=True)
            return
        before, after = part(first, 0.5), part(last, 0.5)
        left = memory(self.app.worker_pids())["Pss"]
        is_flat = after <= before * FLAT_SHARE + FLAT_KB
        self.say(
            f"memory of the workers: {before / 1024:.1f} MB after the warm-up, "
            f"{after / 1024:.1f} MB at the end: {'flat' if is_flat else 'NOT flat'} "
            f"(at most {FLAT_SHARE - 1:.0%} and {FLAT_KB / 1024:.0f} MB more); "
            f"{left / 1024:.1f} MB when all had left"
        )
        if not is_flat and whole >= MIN_SECONDS_FOR_MEMORY:
            self.blame("memory", f"the workers grew from {before:.0f} to {after:.0f} KB")


def _plans(options: Options) -> list[Answer]:
    """Return the clients: of ten, three users on SSE, two on WebSockets, one on long polls,
    one on an inbox, and three agents, on chats and on the inbox."""
    users = people.add(max(2, options.clients // 4))
    agents = people.add(max(2, options.clients // 20), "admin")
    plans = []
    for number in range(options.clients):
        user, agent = users[number % len(users)], agents[number % len(agents)]
        turn = number % 10
        kind = ("sse", "sse", "sse", "ws", "ws", "poll", "sse", "sse", "ws", "ws")[turn]
        who = user if turn < 7 else agent
        chat = None if turn in {6, 9} else user.chat
        plans.append(_plan(number, "sse" if number % 20 == 19 else kind, who, chat))
    return plans


def _plan(number: int, kind: str, who: Person, chat: str | None) -> Answer:
    return {
        "number": number,
        "kind": kind,
        "token": who.token,
        "chat": chat,
        "is_admin": not who.chat,
        "keeps": True,
    }


def _histories(chats: dict[str, Chat]) -> dict[str, list[Message]]:
    found: dict[str, list[Message]] = {key: [] for key in chats}
    for row in database.messages().find():
        if row["seq"] <= chats[str(row["chatId"])]["lastSeq"]:
            found[str(row["chatId"])].append(row)
    for rows in found.values():
        rows.sort(key=lambda row: int(row["seq"]))
    return found


def _report(options: Options, found: list[str]) -> list[str]:
    """Return the page that a whole run leaves."""
    return [
        "# Soak test with fault injection",
        "",
        page.origin("make soak"),
        "",
        (
            f"{options.seconds / 60:.0f} minutes, {options.clients} clients, {options.rate:g} "
            f"messages a second, {WORKERS} workers{', once replaced' if options.restart else ''}; "
            "the events that the clients received were compared with the database at the end."
        ),
        "",
        *(f"- {line}" for line in found),
        "",
    ]


def _total(states: Iterable[Answer], name: str) -> int:
    return sum(state[name] for state in states)


def _sum(counts: Iterable[dict[str, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return total


def connections(port: int) -> int:
    """Return how many connections a server on a port of this machine has open."""
    rows = Path("/proc/net/tcp").read_text().splitlines()[1:]
    fields = [row.split() for row in rows]
    wanted = f":{port:04X}"
    # ESTABLISHED, and CLOSE_WAIT: the client has gone and the server has not noticed.
    return sum(each[1].endswith(wanted) and each[3] in {"01", "08"} for each in fields)


def soak(options: Options) -> tuple[Counter[str], list[str]]:
    """Run it, and return how much was found wrong, by kind, and what was found at all."""
    environment = {
        "LOG_LEVEL": "INFO",
        "RATELIMIT_ENABLED": "false",
        # A machine that is busy with other things is no error here.
        "DATABASE_TIMEOUT_MS": "20000",
        "STREAMS_PER_ACCOUNT": "1000",
        "STREAMS_PER_ADDRESS": "10000",
    }
    with (
        tempfile.TemporaryDirectory(prefix="livechat-soak-") as folder,
        start_database(Path(folder) / "db") as server,
        start_app(server.uri, workers=WORKERS, env=environment) as app,
        contextlib.closing(ClientPool(ADDRESS, app.port, PROCESSES)) as pool,
    ):
        create_app(DevelopmentConfig, MONGO_URI=server.uri, DATA_DIR=folder).app_context().push()
        chance = random.Random(options.seed)
        run = Soak(options, app, pool, chance)
        run.run()
    return run.violations, run.found


def main() -> None:
    """Run, print the verdict and exit."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--rate", type=float, default=20, help="messages a second")
    parser.add_argument("--no-restart", action="store_true", help="leave the workers alone")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    options = Options(
        given.minutes * 60, given.clients, given.rate, not given.no_restart, given.seed
    )
    violations, found = soak(options)
    for kind, count in violations.most_common():
        print(f"{count:6,} × {kind}")
    count = violations.total()
    verdict = f"VERDICT: FAIL, {count:,} violations" if count else "VERDICT: PASS"
    print(verdict)
    if options.seconds >= LONG_ENOUGH:
        PAGE.write_text("\n".join(_report(options, [*found, verdict])))
    sys.exit(1 if violations else 0)


if __name__ == "__main__":
    main()
