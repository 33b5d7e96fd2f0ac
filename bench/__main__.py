"""Run every measurement and write bench/results.md.

The embedded database, one gevent worker, everything on: authentication, validation,
limits, logging. What counts is the app's CPU per request, from the processes' accounting
before and after, and its ratio to another figure of the same run; wall time is shown
beside it and never judged.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bson import ObjectId

from bench import data, streams
from bench.load import Cost, Request, measure
from chatapi import clock, create_app
from chatapi.services import accounts, chats
from config import DevelopmentConfig
from deploy import run
from tests.servers import AppServer, DatabaseServer, start_app, start_database

RESULTS = Path(__file__).parent / "results.md"
WIDE = {
    f"LIMIT_{name}": "10000000 per minute"
    for name in ("DEFAULT", "SEND", "SEND_ADDRESS", "CREATE_CHAT", "GUEST", "REGISTER")
}


class Bench:
    """One run: the servers, the people in it, and the costs found so far."""

    def __init__(self, database: DatabaseServer, app: AppServer, quick: bool) -> None:
        self.database, self.app, self.quick = database, app, quick
        self.costs: dict[str, Cost] = {}

    def cost(
        self,
        name: str,
        make: Callable[[int], Request],
        count: int,
        server: Any = None,
        **options: Any,
    ) -> Cost:
        """Measure and keep one figure."""
        server = server or self.app
        count = max(20, count // 10) if self.quick else count
        found = measure(server.url, make, count, server.worker_pids(), self.database.pid, **options)
        self.costs[name] = found
        print(
            f"{name:48} {found.app:7.2f} ms app  {found.database:7.2f} ms db  "
            f"{found.median:8.1f} ms median  {found.p99:8.1f} ms p99",
            flush=True,
        )
        return found


def sign_up(name: str, role: str = "user") -> tuple[accounts.Session, str]:
    """Make an account and sign it in; return session and token."""
    email = f"{name}-{ObjectId()}@example.com"
    user = accounts.create_user(name, email, "bench password", role)
    return accounts.begin_session(user, accounts.ClientInfo())


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
    parser.add_argument("--quick", action="store_true", help="a tenth of the requests and rows")
    parser.add_argument("--chats", type=int, default=100_000)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--write", action="store_true", help="write bench/results.md")
    parser.add_argument("--only", choices=("requests", "streams"), help="one half, not written")
    options = parser.parse_args()
    if options.only and options.write:
        parser.error("--write takes both halves")
    report = heading()
    if options.only != "streams":
        report += requests(options)
    if options.only != "requests":
        report += real_time(options)
    print("\n" + "\n".join(report))
    if options.write:
        RESULTS.write_text("\n".join(report) + "\n")


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
        create_app(DevelopmentConfig, None, **settings)
        bench = Bench(database, app, options.quick)
        figures(bench, floor, rows, length)
    return [*written(bench, rows, length), ""]


def real_time(options: argparse.Namespace) -> list[str]:
    """Measure streams, on a database of their own, and return their part of the report."""
    with (
        tempfile.TemporaryDirectory(prefix="livechat-bench-") as folder,
        start_database(Path(folder) / "db") as database,
    ):
        create_app(DevelopmentConfig, MONGO_URI=database.uri, DATA_DIR=folder)
        with start_app(database.uri):
            pass  # It prepares the database.
        environment = {"LOG_LEVEL": "INFO", **WIDE}
        return streams.report(streams.measure(database, environment, options.quick))


def figures(bench: Bench, floor: Floor, rows: int, length: int) -> None:
    """Take every figure, the small ones before the collections grow."""
    admin, admin_token = sign_up("agent", "admin")
    user, token = sign_up("user")
    chat, _, _ = chats.create(user, "A short chat", message="Hello")
    short = str(chat["_id"])
    get = "GET"

    def sender(chat_id: str, key: str, who: str = token) -> Callable[[int], Request]:
        return lambda n: (
            "POST",
            f"/api/chat/{chat_id}/messages",
            {"content": "A message of a usual length, no more.", "clientMessageId": f"{key}-{n}"},
            bearer(who),
        )

    floor_user, _ = sign_up("floor")
    floor_chat, _, _ = chats.create(floor_user, "The floor's chat", message="Hello")
    bench.cost("bare Flask view", lambda _: (get, "/bare", None, {}), 4000, floor)
    bench.cost(
        "floor: the two writes of a send",
        lambda _: (
            "POST",
            f"/two-writes/{floor_chat['_id']}",
            {"content": "A message of a usual length, no more."},
            {},
        ),
        2000,
        floor,
        connections=1,
    )
    bench.cost("send, short chat", sender(short, "s"), 1000, connections=1)
    long_user, long_token = sign_up("long")
    long_chat, _, _ = chats.create(long_user, "A long chat", message="Hello")
    data.fill_chat(long_chat["_id"], [long_user, admin], 1000)
    long_id = str(long_chat["_id"])
    bench.cost("send, chat of 1,000", sender(long_id, "l", long_token), 1000, connections=1)

    mid_user, _ = sign_up("mid")
    mid_chat, _, _ = chats.create(mid_user, "A middling chat", message="Hello")
    data.fill_chat(mid_chat["_id"], [mid_user, admin], 100)
    opening = f"/api/chat/{mid_chat['_id']}"
    bench.cost("open, chat of 100", lambda _: (get, opening, None, bearer(admin_token)), 1000)
    data.add_chats(100, admin.user_id)
    listing(bench, admin_token, "100 chats", 500)

    started = time.perf_counter()
    data.add_chats(rows, admin.user_id, seed=2)
    data.fill_chat(long_chat["_id"], [long_user, admin], length)
    print(f"({rows:,} chats and {length:,} messages in {time.perf_counter() - started:.0f} s)")
    opening_long = f"/api/chat/{long_id}"
    bench.cost(
        f"open, chat of {length:,}",
        lambda _: (get, opening_long, None, bearer(admin_token)),
        1000,
    )
    bench.cost(f"send, chat of {length:,}", sender(long_id, "x", long_token), 1000, connections=1)
    etag = _etag(bench, opening_long, admin_token)
    bench.cost(
        f"open, chat of {length:,}, 304",
        lambda _: (get, opening_long, None, bearer(admin_token, **{"If-None-Match": etag})),
        2000,
    )
    listing(bench, admin_token, f"{rows:,} chats", 40, warmup=2, connections=2)


def listing(bench: Bench, token: str, what: str, count: int, **options: Any) -> None:
    """Measure the list, the long list, a poll with nothing new, and a search."""
    bench.cost(
        f"list 50 of {what}", lambda _: ("GET", "/api/chat", None, bearer(token)), count, **options
    )
    bench.cost(
        f"list 100 of {what}",
        lambda _: ("GET", "/api/chat?limit=100", None, bearer(token)),
        count,
        **options,
    )
    etag = _etag(bench, "/api/chat", token)
    bench.cost(
        f"list 50 of {what}, 304",
        lambda _: ("GET", "/api/chat", None, bearer(token, **{"If-None-Match": etag})),
        count,
        **options,
    )


def _etag(bench: Bench, path: str, token: str) -> str:
    _, headers, _ = bench.app.request("GET", path, token, timeout=60)
    return str(headers["etag"])


def heading() -> list[str]:
    """Return what stands above the report."""
    return [
        "# What the product costs",
        "",
        (
            f"{clock.now():%Y-%m-%d}, {_machine()}, Python {platform.python_version()}, "
            f"commit {_commit()}. `make bench` made this page."
        ),
        "",
    ]


def written(bench: Bench, rows: int, length: int) -> list[str]:
    """Return the report: the ratios against their budgets, then every figure."""
    costs = bench.costs

    def ratio(name: str, base: str) -> float:
        return costs[name].app / costs[base].app

    floor = "floor: the two writes of a send"
    many, few = f"list 50 of {rows:,} chats", "list 50 of 100 chats"
    short, long = "send, short chat", f"send, chat of {length:,}"
    open_few, open_many = "open, chat of 100", f"open, chat of {length:,}"
    budgets = [
        ("send, short chat / the floor with the same two writes", ratio(short, floor), 1.5),
        (f"send, chat of {length:,} / short chat", ratio(long, short), 1.3),
        (f"list 50 of {rows:,} chats / of 100", ratio(many, few), 1.3),
        (f"open a chat of {length:,} / of 100", ratio(open_many, open_few), 1.3),
        ("304 / full list, 100 chats", ratio(f"{few}, 304", few), 0.4),
        (f"304 / full list, {rows:,} chats", ratio(f"{many}, 304", many), 0.4),
        (f"304 / full chat of {length:,}", ratio(f"{open_many}, 304", open_many), 0.4),
    ]
    lines = [
        "## Requests",
        "",
        str(__doc__).partition("\n\n")[2].strip(),
        "",
        "| ratio of app CPU | measured | budget |",
        "|---|---|---|",
    ]
    lines += [f"| {name} | {value:.2f} | ≤ {limit} |" for name, value, limit in budgets]
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


def _machine() -> str:
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"


def _commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"


if __name__ == "__main__":
    main()
