"""What streams cost: how soon a message arrives, what an idle client takes, and a storm.

One gevent worker, the embedded database, clients in processes of their own on the same
machine. Times are from just before a POST is sent to the moment another client has the
event, on one clock.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench import people
from bench.client_pool import Answer, ClientPool
from bench.load import cpu_seconds
from bench.people import Person
from bench.quiet import Floor
from chatapi.services import messages, sessions
from tests.servers import ADDRESS, AppServer, DatabaseServer, start_app

AGENTS = 20  # on the inbox: each message reaches all of them
CLIENTS = 1000
RATE = 50
LONGEST_P99 = {"sse": 25, "ws": 30}  # ms
MAX_STALL = 100  # ms
PARALLEL = 100
# No further thousands are let in when that would take the section past this, in seconds.
MAX_SECONDS = 660.0
KINDS = {"sse": "SSE", "ws": "WebSocket"}
NO_CAPS = {"STREAMS_PER_ACCOUNT": "100000", "STREAMS_PER_ADDRESS": "100000"}


@dataclass
class Found:
    """The figures of one transport; times in ms, memory in KB."""

    kind: str
    lines: list[tuple[str, str, str]] = field(default_factory=list)

    def add(self, what: str, value: str, budget: str = "") -> None:
        """Keep one figure."""
        self.lines.append((f"{KINDS[self.kind]}: {what}", value, budget))
        print(f"{KINDS[self.kind]}: {what:58} {value:40} {budget}", flush=True)


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    clients: int
    seconds: float
    idle: Sequence[int]


FULL = Sizes(CLIENTS, 180, (5000, 10_000))
QUICK = Sizes(300, 3, ())


def measure(database: DatabaseServer, environment: dict[str, str], quick: bool) -> list[Found]:
    """Take every figure. The application of this process must be on the same database."""
    sizes = QUICK if quick else FULL
    end = time.monotonic() + MAX_SECONDS
    agents = people.add(AGENTS, "admin")
    users = people.add(max(sizes.clients, *sizes.idle, 0))
    results = []
    for kind in KINDS:
        found = Found(kind)
        with (
            start_app(database.uri, env=environment | NO_CAPS) as app,
            contextlib.closing(ClientPool(ADDRESS, app.port)) as pool,
        ):
            _warm_up(pool, kind, users, agents)
            base = memory(app.worker_pids())
            _open(pool, kind, users[: sizes.clients - AGENTS], agents)
            _idle(found, app, database, base, sizes.clients, 3)
            _latency(found, app, database, pool, users[: sizes.clients - AGENTS], sizes)
            _reconnect_storm(found, app, pool, users[: sizes.clients - AGENTS])
            pool.ask("close", how="reset")
        if sizes.idle:
            with start_app(database.uri, env=environment | NO_CAPS) as app:
                _crowd(found, app, database, users, sizes.idle, end)
        results.append(found)
    return results


def _warm_up(pool: ClientPool, kind: str, users: list[Person], agents: list[Person]) -> None:
    """Let the worker set up what it needs only once, such as a full pool of connections."""
    _open(pool, kind, users[:PARALLEL], agents[:2])
    senders = [{"token": each.token, "chat": each.chat} for each in users[:30]]
    pool.send_command(0, "send", senders=senders, rate=50, seconds=1, seed=os.getpid())
    pool.read_result(0, 60)
    pool.ask("close", how="clean")
    pool.ask("deliveries")


def _crowd(
    found: Found,
    app: AppServer,
    database: DatabaseServer,
    users: list[Person],
    counts: Sequence[int],
    end: float,
) -> None:
    """Let more and more in, as long as there is time."""
    kind = found.kind
    with contextlib.closing(ClientPool(ADDRESS, app.port)) as pool:
        _warm_up(pool, kind, users, [])
        base = memory(app.worker_pids())
        there, taken = 0, 0.0
        for count in counts:
            if there and time.monotonic() + taken * (count - there) / there + 15 > end:
                found.add(f"{count:,} clients", "left out: the machine was too busy")
                break
            started, used = time.monotonic(), cpu_seconds(app.worker_pids())
            _open(pool, kind, users[there:count], [])
            taken, used = time.monotonic() - started, cpu_seconds(app.worker_pids()) - used
            found.add(
                f"opening {count - there:,} more",
                f"{taken:.1f} s, {used / (count - there) * 1000:.2f} ms app CPU each",
            )
            there = count
            _idle(found, app, database, base, count, 10)
        pool.ask("close", how="reset")


def _open(pool: ClientPool, kind: str, users: Iterable[Person], agents: Iterable[Person]) -> None:
    plans: list[Answer] = [
        {"kind": kind, "token": each.token, "chat": each.chat or None} for each in (*users, *agents)
    ]
    numbered = [plan | {"number": number} for number, plan in enumerate(plans)]
    there = pool.open(numbered, PARALLEL, 120)
    if there < len(numbered):
        raise RuntimeError(f"only {there} of {len(numbered)} clients came in within 120 s")


def _idle(
    found: Found,
    app: AppServer,
    database: DatabaseServer,
    base: dict[str, float],
    count: int,
    seconds: float,
) -> None:
    """Note what so many clients take while nothing happens."""
    time.sleep(1)
    pids = app.worker_pids()
    before = cpu_seconds(pids), cpu_seconds([database.pid])
    started = time.monotonic()
    answers = []
    while time.monotonic() < started + seconds:
        asked = time.monotonic()
        app.request("GET", "/healthz")
        answers.append((time.monotonic() - asked) * 1000)
        time.sleep(0.02)
    taken = time.monotonic() - started
    used = cpu_seconds(pids) - before[0], cpu_seconds([database.pid]) - before[1]
    now = memory(pids)
    each = {name: (now[name] - base[name]) / count for name in now}
    budget = "≤ 25 KB" if found.kind == "sse" else ""
    found.add(
        f"memory of a client, {count:,} connected",
        f"{each['Pss']:.1f} KB (RSS {each['Rss']:.1f}); worker {now['Pss'] / 1024:.0f} MB",
        budget,
    )
    found.add(
        f"idle with {count:,} for {seconds:.0f} s",
        f"{used[0] / taken:.1%} of a core app, {used[1] / taken:.1%} database; "
        f"GET /healthz p50 {part(answers, 0.5):.1f}, worst {max(answers):.0f} ms",
    )


def _latency(
    found: Found,
    app: AppServer,
    database: DatabaseServer,
    pool: ClientPool,
    users: list[Person],
    sizes: Sizes,
) -> None:
    agents = people.add(10, "admin")
    senders = [{"token": each.token, "chat": each.chat} for each in users]
    senders += [
        {"token": agents[number % 10].token, "chat": each.chat} for number, each in enumerate(users)
    ]
    pool.ask("deliveries")
    pids = app.worker_pids()
    with contextlib.closing(ClientPool(ADDRESS, app.port, 1)) as talking:
        before = cpu_seconds(pids), cpu_seconds([database.pid])
        clients = [each.pid for each in (*pool.processes, *talking.processes)]
        with Floor([app.pid, *pids, database.pid, *clients]) as floor:
            [said] = talking.ask(
                "send",
                sizes.seconds + 30,
                senders=senders,
                rate=RATE,
                seconds=sizes.seconds,
                seed=time.monotonic_ns(),
            )
        used = cpu_seconds(pids) - before[0], cpu_seconds([database.pid]) - before[1]
    if said["failures"]:
        raise RuntimeError(f"messages were refused: {said['failures']}")
    answered: dict[int, int] = dict(said["answers"])
    count = len(answered)
    deliveries = [row for answer in pool.ask("deliveries") for row in answer["deliveries"]]
    expected = count * (1 + AGENTS)
    chat = [(got - sent) / 1e6 for sent, got, where in deliveries if where == "chat"]
    inbox = [(got - sent) / 1e6 for sent, got, where in deliveries if where == "inbox"]
    late = [(got - answered[sent]) / 1e6 for sent, got, _ in deliveries if sent in answered]
    posts = [(at - sent) / 1e6 for sent, at in answered.items()]
    load = f"{sizes.clients:,} clients, {RATE} messages/s"
    found.add(f"floor of this machine in these {sizes.seconds:.0f} s", str(floor))
    longest = LONGEST_P99[found.kind]
    for what, measured in (("a chat's stream", chat), ("the agents' inboxes", inbox)):
        is_met = bool(measured) and part(measured, 0.99) < longest and max(measured) < MAX_STALL
        verdict = "" if is_met else ", missed" if floor.is_quiet else ", not judged: not quiet"
        budget = f"p99 < {longest} ms, worst < {MAX_STALL} ms{verdict}"
        found.add(f"POST to {what}, {load}", times(measured), budget)
    found.add("from the answer to the stream", times(late))
    found.add("the POST's own answer", times(posts))
    found.add(
        f"{count:,} messages, {len(deliveries):,} of {expected:,} events",
        f"{used[0] / count * 1000:.1f} ms app CPU a message, {used[1] / count * 1000:.1f} database",
    )


def _reconnect_storm(found: Found, app: AppServer, pool: ClientPool, users: list[Person]) -> None:
    """Kill the worker, send while clients are disconnected, and measure their reconnect."""
    writer = sessions.open_session(people.add(1, "admin")[0].token)
    if writer is None:
        raise RuntimeError("the session that was just made is not there")
    count = len(users) + AGENTS
    pool.ask("prepare_reconnect")
    started = time.monotonic()
    app.kill_worker()
    targets = {}
    for user in users[:100]:
        message, _ = messages.send(writer, user.chat, "While you were away.")
        targets[user.chat] = message["seq"]
    answers = pool.ask("reconnect_storm", 120, targets=targets, seconds=90)
    used = cpu_seconds(app.worker_pids())
    back = sorted(at - started for answer in answers for at in answer["times"])
    away = sum(answer["away"] for answer in answers)
    if away:
        raise RuntimeError(f"{away} of {count} clients were not back within 90 s")
    found.add(
        f"reconnect storm: worker killed, {count:,} clients reconnect",
        f"all caught up after {back[-1]:.1f} s (half: {part(back, 0.5):.1f} s), "
        f"{used:.1f} s app CPU with its start",
    )


def memory(pids: Iterable[int]) -> dict[str, float]:
    """Return what processes hold, in KB: Rss, and Pss that shares what is shared."""
    total = {"Rss": 0.0, "Pss": 0.0}
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            name, _, value = line.partition(":")
            if name in total:
                total[name] += float(value.split()[0])
    return total


def part(values: Sequence[float], share: float) -> float:
    """Return the value that so large a part of all does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def times(values: Sequence[float]) -> str:
    """Return p50, p99 and the worst of some times in ms."""
    if not values:
        return "nothing came"
    return (
        f"p50 {part(values, 0.5):.1f} ms, p99 {part(values, 0.99):.1f} ms, "
        f"worst {max(values):.0f} ms"
    )


def report(results: Sequence[Found]) -> list[str]:
    """Return the section "Real time" of the report."""
    lines = [str(__doc__).partition("\n\n")[2].strip(), ""]
    lines += ["| what | measured | budget |", "|---|---|---|"]
    for found in results:
        lines += [f"| {what} | {value} | {budget} |" for what, value, budget in found.lines]
    return lines
