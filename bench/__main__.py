"""Run every measurement and write bench/requests.md and bench/streams.md.

The embedded database, one gevent worker, everything on: authentication, validation,
limits, logging, compression, as browsers ask for it. What counts is the app's CPU per
request, from the clocks of the processes before and after, and its ratio to another figure
of the same run; wall time is shown beside it and never judged. Figures are taken in twenty
short rounds that take turns; CPU is the median of its rounds, and a ratio the median of theirs.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bson import ObjectId

from bench import against, data, page, streams
from bench.load import Cost, Request, Round, measure
from chatapi import create_app
from chatapi.domain.enums import Role
from chatapi.services import chats, sessions, users
from config import Config, DevelopmentConfig
from deploy import run
from tests.servers import AppServer, DatabaseServer, start_app, start_database

FOLDER = Path(__file__).parent
# No limit may reject a measured request.
WIDE = {
    name: "1000000000 per minute"
    for name in dir(Config)
    if name.startswith("LIMIT_") and isinstance(getattr(Config, name), str)
} | {"GUEST_MESSAGES_UNANSWERED": "1000000"}


ROUNDS = 20


@dataclass(frozen=True)
class Work:
    """What to measure: the requests, how many in a round, and how."""

    name: str
    make: Callable[[int], Request]
    count: int
    server: AppServer
    connections: int = 8
    warmup: int = 16


class Bench:
    """One run: the servers, the people in it, and the costs found so far."""

    def __init__(self, database: DatabaseServer, app: AppServer, quick: bool) -> None:
        self.database, self.app, self.quick = database, app, quick
        self.costs: dict[str, Cost] = {}

    def costs_of(self, *works: Work) -> None:
        """Measure and keep figures, in rounds that take turns.

        What else the machine does then falls on all of them alike, and a ratio is that of
        neighbours in time.
        """
        rounds: dict[str, list[Round]] = {work.name: [] for work in works}
        for _ in range(1 if self.quick else ROUNDS):
            for work in works:
                rounds[work.name].append(self._once(work))
        for name, found in rounds.items():
            cost = self.costs[name] = Cost(found)
            print(
                f"{name:48} {cost.app:7.2f} ms app  {cost.database:7.2f} ms db  "
                f"{cost.median:8.1f} ms median  {cost.p99:8.1f} ms p99",
                flush=True,
            )

    def _once(self, work: Work) -> Round:
        return measure(
            work.server.url,
            work.make,
            max(20, work.count // 10) if self.quick else work.count,
            work.server.worker_pids(),
            [self.database.pid],
            connections=work.connections,
            warmup=work.warmup,
        )


def sign_up(name: str, role: Role = "user") -> tuple[sessions.Session, str]:
    """Make an account and sign it in; return session and token."""
    email = f"{name}-{ObjectId()}@example.com"
    user = users.create_user(name, email, "bench password", role)
    return sessions.begin_session(user, sessions.ClientInfo())


def bearer(token: str, **more: str) -> dict[str, str]:
    """Return the headers of a signed-in request."""
    return {"Authorization": f"Bearer {token}", **more}


class Floor(AppServer):
    """gunicorn with the bare views of bench.floor, on the same database."""

    def __init__(self, mongo_uri: str) -> None:
        super().__init__(mongo_uri)
        self._prepared = True
        self._child.command = [*run.web_command()[:-1], "bench.floor:app"]


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("--quick", action="store_true", help="one short round, and fewer rows")
    parser.add_argument("--chats", type=int, default=100_000)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument(
        "--write", action="store_true", help="write bench/requests.md and bench/streams.md"
    )
    parser.add_argument("--only", choices=tuple(PAGES), help="one page")
    parser.add_argument("--against", metavar="COMMIT", help="this version beside another")
    parser.add_argument("--rounds", type=int, default=against.ROUNDS, help="with --against")
    parser.add_argument("--rows", help="with --against: some rows, separated by commas")
    options = parser.parse_args()
    if options.against:
        _beside(options)
        return
    for name, measured in PAGES.items():
        if options.only in {None, name}:
            report = [*heading(name), *measured(options)]
            print("\n" + "\n".join(report), flush=True)
            if options.write:
                (FOLDER / f"{name}.md").write_text("\n".join(report) + "\n")


def _beside(options: argparse.Namespace) -> None:
    report = against.run(options)
    print("\n" + "\n".join(report))
    if options.write and not options.rows:
        against.RESULTS.write_text("\n".join(report) + "\n")


def requests(options: argparse.Namespace) -> list[str]:
    """Measure requests and return their part of the report."""
    rows = options.chats // (20 if options.quick else 1)
    length = options.messages // (10 if options.quick else 1)
    with (
        tempfile.TemporaryDirectory(prefix="livechat-bench-") as folder,
        start_database(Path(folder) / "db") as database,
        start_app(
            database.uri, env={"LOG_LEVEL": "INFO", "DATABASE_TIMEOUT_MS": "60000", **WIDE}
        ) as app,
        Floor(database.uri) as floor,
    ):
        floor.start()
        # Filling the collections may keep the database busy for longer than a request waits.
        settings = {"MONGO_URI": database.uri, "DATA_DIR": folder, "DATABASE_TIMEOUT_MS": 60_000}
        create_app(DevelopmentConfig, None, **settings).app_context().push()
        bench = Bench(database, app, options.quick)
        figures(bench, floor, rows, length)
    return [*written(bench, rows, length), ""]


def real_time(options: argparse.Namespace) -> list[str]:
    """Measure streams, on a database of their own, and return their part of the report."""
    with (
        tempfile.TemporaryDirectory(prefix="livechat-bench-") as folder,
        start_database(Path(folder) / "db") as database,
    ):
        create_app(DevelopmentConfig, MONGO_URI=database.uri, DATA_DIR=folder).app_context().push()
        with start_app(database.uri):
            pass  # It prepares the database.
        environment = {"LOG_LEVEL": "INFO", **WIDE}
        return streams.report(streams.measure(database, environment, options.quick))


# The pages of the report, each measured by a function.
PAGES = {"requests": requests, "streams": real_time}


def figures(bench: Bench, floor: Floor, rows: int, length: int) -> None:
    """Take every figure, the small ones before the collections grow."""
    admin, admin_token = sign_up("agent", "admin")
    user, token = sign_up("user")
    short, mid, long = (_new_chat(user if n == 0 else sign_up("user")[0]) for n in range(3))
    data.fill_chat(mid, [user, admin], 100)
    data.fill_chat(long, [user, admin], 1000)
    floor_chat = _new_chat(sign_up("floor")[0])
    numbers = itertools.count()

    def get(name: str, path: str, count: int, **headers: str) -> Work:
        asking = ("GET", path, None, bearer(admin_token, **headers))
        return Work(name, lambda _: asking, count, bench.app)

    def send(name: str, chat_id: ObjectId, who: str) -> Work:
        def make(_: int) -> Request:
            body = {"content": data.TEXT, "clientMessageId": f"bench-{next(numbers)}"}
            return "POST", f"/api/chat/{chat_id}/messages", body, bearer(who)

        return Work(name, make, 100, bench.app, connections=1)

    def opening(name: str, chat_id: ObjectId) -> list[Work]:
        path = f"/api/chat/{chat_id}"
        etag = _etag(bench, path, admin_token)
        return [get(name, path, 75), get(f"{name}, 304", path, 150, **{"If-None-Match": etag})]

    def listing(what: str, count: int = 40) -> list[Work]:
        etag = _etag(bench, "/api/chat", admin_token)
        return [
            get(f"list 50 of {what}", "/api/chat", count),
            get(f"list 100 of {what}", "/api/chat?limit=100", count),
            get(f"list 50 of {what}, 304", "/api/chat", 2 * count, **{"If-None-Match": etag}),
        ]

    bare: Request = ("GET", "/bare", None, {})
    writes: Request = ("POST", f"/two-writes/{floor_chat}", {"content": data.TEXT}, {})
    bench.costs_of(
        Work("bare Flask view", lambda _: bare, 250, floor),
        Work("floor: the two writes of a send", lambda _: writes, 100, floor, connections=1),
        send("send, short chat", short, token),
        send("send, chat of 1,000", long, admin_token),
    )
    data.add_chats(100, admin.user_id)
    bench.costs_of(*opening("open, chat of 100", mid), *listing("100 chats"))

    started = time.perf_counter()
    data.add_chats(rows, admin.user_id, seed=2)
    data.fill_chat(long, [user, admin], length)
    print(f"({rows:,} chats and {length:,} messages in {time.perf_counter() - started:.0f} s)")
    bench.costs_of(
        send(SHORT_AGAIN, short, token),
        send(f"send, chat of {length:,}", long, admin_token),
    )
    bench.costs_of(*opening(MID_AGAIN, mid), *opening(f"open, chat of {length:,}", long))
    bench.costs_of(*listing(f"{rows:,} chats", 24))


SHORT_AGAIN = "send, short chat, once more"
MID_AGAIN = "open, chat of 100, once more"


def _new_chat(user: sessions.Session) -> ObjectId:
    chat, _, _ = chats.create(user, "A chat to measure", message="Hello")
    found: ObjectId = chat["_id"]
    return found


def _etag(bench: Bench, path: str, token: str) -> str:
    _, headers, _ = bench.app.request("GET", path, token, timeout=60)
    return str(headers["etag"])


def heading(name: str) -> list[str]:
    """Return what stands above the figures of a page."""
    return [f"# What the product costs: {name}", "", page.origin("make bench"), ""]


def written(bench: Bench, rows: int, length: int) -> list[str]:
    """Return the report: the ratios against their budgets, then every figure."""
    costs = bench.costs

    def ratio(name: str, base: str) -> float:
        return costs[name].ratio(costs[base])

    many, few = f"list 50 of {rows:,} chats", "list 50 of 100 chats"
    long_send, long_open = f"send, chat of {length:,}", f"open, chat of {length:,}"
    budgets = [
        (
            "send, short chat / the floor with the same two writes",
            ratio("send, short chat", "floor: the two writes of a send"),
            1.5,
        ),
        (f"send, chat of {length:,} / short chat", ratio(long_send, SHORT_AGAIN), 1.3),
        (f"list 50 of {rows:,} chats / of 100", ratio(many, few), 1.3),
        (f"open a chat of {length:,} / of 100", ratio(long_open, MID_AGAIN), 1.3),
        ("304 / full list, 100 chats", ratio(f"{few}, 304", few), 0.4),
        (f"304 / full list, {rows:,} chats", ratio(f"{many}, 304", many), 0.4),
        (f"304 / full chat of {length:,}", ratio(f"{long_open}, 304", long_open), 0.4),
    ]
    lines = [
        str(__doc__).partition("\n\n")[2].strip(),
        "",
        "| ratio of app CPU | measured | budget |",
        "|---|---|---|",
    ]
    lines += [
        f"| {name} | {value:.2f} | ≤ {limit}{'' if value <= limit else ', missed'} |"
        for name, value, limit in budgets
    ]
    lines += [
        "",
        "| request | app CPU, ms | database CPU, ms | wall median, ms | wall p99, ms | requests |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {cost.app:.2f} | {cost.database:.2f} | {cost.median:.1f} | {cost.p99:.1f} "
        f"| {cost.requests:,} |"
        for name, cost in costs.items()
    ]
    return lines


if __name__ == "__main__":
    main()
