"""Measure this checkout beside another commit, in rounds that take turns.

Both versions run at once, each with a database of its own that its own code started and filled.
A round measures one piece of work on both, in turns the one and the other first; what counts is
the CPU of the application's processes and of the database's, from the clocks of the processes,
and the ratio of the two neighbours in time. Times are never judged. Requests and bytes of pages
are counted by Chromium, once a version.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import io
import itertools
import json
import os
import re
import statistics
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from bench import page, wire
from bench.load import ALWAYS, Request, cpu_seconds, measure
from deploy import run as deployment

RESULTS = Path(__file__).parent / "against.md"
ROUNDS = 20
CHATS = 100_000
STREAM_SECONDS, STREAM_RATE = 3.0, 10
LISTENER_ATTEMPTS = 5
SETTLED_MS, SETTLED_WITHIN = 15.0, 15.0  # of CPU in a quarter of a second; seconds
TEXT = "A message of a usual length, no more."
PINNED = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", re.MULTILINE)

Pair = tuple[float, float]  # CPU of the application and of the database, ms for one request


class Version:
    """One version, running in processes of its own. Use it in a `with` block."""

    def __init__(self, name: str, root: Path, python: str, origin: str) -> None:
        self.name = name
        self._process = subprocess.Popen(
            [python, "-P", str(Path(__file__).with_name("side.py")), origin],
            cwd=root,
            env=_environment(root),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.url = self.admin = self.user = self.chat = ""
        self.next_page = ""
        self.numbers = itertools.count()
        self._pids: dict[str, list[int]] = {}

    def ask(self, do: str, **what: Any) -> dict[str, Any]:
        """Give the version a command and return its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": do, **what}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name}: its process ended; the reason stands above.")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def begin(self) -> None:
        """Wait until the version serves."""
        for name, value in self.ask("about").items():
            setattr(self, name, value)
        self._pids = self.ask("pids")

    def restart(self) -> None:
        """Let a new worker take over, which remembers nothing, and wait until it is idle."""
        self.ask("restart")
        self._pids = self.ask("pids")
        end = time.monotonic() + SETTLED_WITHIN
        before = sum(self.cpu())
        while time.monotonic() < end:
            time.sleep(0.25)
            now = sum(self.cpu())
            if now - before < SETTLED_MS:
                break
            before = now

    def cpu(self) -> Pair:
        """Return the CPU used so far by the application and by the database, in ms."""
        return cpu_seconds(self._pids["app"]) * 1000, cpu_seconds(self._pids["database"]) * 1000

    def run(self, path: str, count: int, connections: int = 8, warmup: int = 0) -> Pair:
        """Return what one GET of the agent costs."""
        request: Request = ("GET", path, None, _bearer(self.admin))
        return self.measure(lambda _: request, count, connections, warmup)

    def measure(
        self, make: Callable[[int], Request], count: int, connections: int, warmup: int
    ) -> Pair:
        """Return what one request costs."""
        found = measure(
            self.url,
            make,
            count,
            self._pids["app"],
            self._pids["database"],
            connections=connections,
            warmup=warmup,
        )
        return found.app, found.database

    def get(self, path: str) -> tuple[dict[str, str], Any]:
        """Ask once as the agent; return headers and JSON."""
        link = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=120)
        link.request("GET", path, headers=_bearer(self.admin))
        answer = link.getresponse()
        body = answer.read()
        link.close()
        if answer.status != 200:
            raise RuntimeError(f"{self.name}: GET {path}: {answer.status} {body[:300]!r}")
        return {name.lower(): value for name, value in answer.getheaders()}, json.loads(body)

    def message(self, token: str) -> Request:
        """Return the request that sends the next message."""
        body = {"content": TEXT, "clientMessageId": f"bench-{next(self.numbers)}"}
        return "POST", f"/api/chat/{self.chat}/messages", body, _bearer(token)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _environment(root: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(root)}


# --- the rows


def _send(version: Version) -> Pair:
    return version.measure(lambda _: version.message(version.user), 100, 1, 10)


def _unchanged_list(version: Version) -> Pair:
    etag = version.get("/api/chat")[0]["etag"]
    request: Request = ("GET", "/api/chat", None, _bearer(version.admin) | {"If-None-Match": etag})
    return version.measure(lambda _: request, 100, 8, 16)


def _first_look(version: Version) -> Pair:
    version.restart()
    version.get("/api/auth/me")  # The new worker reads the session, and connects.
    return version.run("/api/chat", 1, connections=1)


def _second_page(version: Version) -> Pair:
    """Measure page 2 as a worker that has just shown page 1 reads it."""
    if not version.next_page:
        cursor = version.get("/api/chat")[0]["x-next-cursor"]
        version.next_page = f"/api/chat?cursor={cursor}"
    version.restart()
    version.get("/api/chat")
    return version.run(version.next_page, 1, connections=1)


def _with_listener(version: Version) -> Pair:
    """Measure a message while one client listens to the chat over SSE, at a steady rate.

    A measurement counts only if the messages reached the stream; 0.1.0 sometimes tells late.
    """
    for _ in range(LISTENER_ATTEMPTS):
        found, delivered, count = _listened(version)
        if delivered >= count - 1:
            return found
    raise RuntimeError(f"{version.name}: {delivered} of {count} messages reached the stream")


def _without_listener(version: Version) -> Pair:
    """Measure a message at that rate while no client listens: the difference is the stream's."""
    sender = http.client.HTTPConnection(urlsplit(version.url).netloc, timeout=60)
    _send_steadily(version, sender, STREAM_RATE)
    count = int(STREAM_SECONDS * STREAM_RATE)
    before = version.cpu()
    _send_steadily(version, sender, count)
    after = version.cpu()
    sender.close()
    return (after[0] - before[0]) / count, (after[1] - before[1]) / count


def _send_steadily(version: Version, sender: http.client.HTTPConnection, count: int) -> None:
    """Send messages at STREAM_RATE, and wait until the last one's turn is over."""
    started = time.monotonic()
    for number in range(count):
        time.sleep(max(0.0, started + number / STREAM_RATE - time.monotonic()))
        method, path, body, headers = version.message(version.admin)
        sender.request(method, path, json.dumps(body), ALWAYS | headers)
        answer = sender.getresponse()
        text = answer.read()
        if answer.status != 201:
            raise RuntimeError(f"{version.name}: {answer.status} {text[:300]!r}")
    time.sleep(max(0.0, started + count / STREAM_RATE - time.monotonic()))


def _listened(version: Version) -> tuple[Pair, int, int]:
    """Return what a message costs, how many reached the stream, and how many were sent."""
    address = urlsplit(version.url).netloc
    listener = http.client.HTTPConnection(address, timeout=60)
    listener.request("GET", f"/api/chat/{version.chat}/events", headers=_bearer(version.user))
    stream = listener.getresponse()
    deliveries = 0
    is_open = True

    def listen() -> None:
        nonlocal deliveries
        with contextlib.suppress(OSError, ValueError, AttributeError):
            while is_open and (line := stream.fp.readline()):
                deliveries += line.startswith(b"event: message")

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    sender = http.client.HTTPConnection(address, timeout=60)
    count = int(STREAM_SECONDS * STREAM_RATE)
    _send_steadily(version, sender, STREAM_RATE)
    before, said = version.cpu(), deliveries
    _send_steadily(version, sender, count)
    after = version.cpu()
    delivered = deliveries - said
    is_open = False
    sender.close()
    listener.close()
    found = (after[0] - before[0]) / count, (after[1] - before[1]) / count
    return found, delivered, count


def _listing(path: str, count: int, warmup: int = 16) -> Callable[[Version], Pair]:
    return lambda version: version.run(path, count, warmup=warmup)


@dataclass
class Row:
    """A piece of work. `app`, `database`: the highest ratio new / old that is wanted."""

    key: str
    title: str
    work: Callable[[Version], Pair]
    app: float | None = None
    database: float | None = None
    is_large: bool = False  # on many chats
    found: list[tuple[Pair, Pair]] = field(default_factory=list)  # old, new

    def ratios(self, part: int) -> list[float]:
        """Return new / old of each round: part 0 is the application, 1 the database."""
        return [new[part] / max(old[part], 1e-9) for old, new in self.found]


def rows() -> list[Row]:
    """Return every row. One that leaves a follower behind stands after those it would cost."""
    return [
        Row("send", "a send", _send, app=1.0, database=0.85),
        Row("list-50", "list of 50 chats", _listing("/api/chat", 40), app=0.68, database=0.5),
        Row("list-100", "list of 100 chats", _listing("/api/chat?limit=100", 40), app=0.68),
        Row("list-304", "304 of a list", _unchanged_list, app=0.76, database=0.15),
        Row("unheard", "a message, no listener, 10 a second", _without_listener),
        Row("sse", "a message, one SSE listener, 10 a second", _with_listener, app=0.65),
        Row("first-look", "first look", _first_look, database=0.03, is_large=True),
        Row("page-2", "page 2", _second_page, database=0.005, is_large=True),
        Row(
            "status-priority",
            "status and priority",
            _listing("/api/chat?status=active&priority=high", 3, warmup=1),
            database=0.07,
            is_large=True,
        ),
        Row(
            "counts",
            "counts",
            _listing("/api/admin/stats", 1, warmup=1),
            database=0.005,
            is_large=True,
        ),
    ]


WIRE = "wire"
# Requests and kB that are wanted; None: not judged.
WIRE_BOUNDS: dict[str, tuple[int | None, float]] = {
    "widget closed": (3, 12),
    "widget opened, on top": (8, 45),
    "console, first visit": (None, 60),
}


# --- one run


def run(options: argparse.Namespace) -> list[str]:
    """Measure both versions and return the report."""
    commit = _git("rev-parse", "--short", f"{options.against}^{{commit}}")
    chosen, with_pages = choose(options.rows)
    pages: dict[str, wire.Found] = {}
    host = wire.HostPage()
    with (
        tempfile.TemporaryDirectory(prefix="livechat-against-") as folder,
        contextlib.closing(host),
    ):
        root, python = _check_out(commit, Path(folder))
        with (
            Version("old", root, python, host.origin) as old,
            Version("new", deployment.ROOT, sys.executable, host.origin) as new,
        ):
            both = (old, new)
            for version in both:
                version.begin()
            if with_pages:
                for version in both:
                    pages[version.name] = wire.measure(host, version.url, version.admin)
            for row in (each for each in chosen if not each.is_large):
                _measure(row, both, options.rounds)
            large = [each for each in chosen if each.is_large]
            if large:
                _grow(both, options.chats)
            for row in large:
                _measure(row, both, options.rounds)
    return report(commit, chosen, pages, options)


def choose(keys: str | None) -> tuple[list[Row], bool]:
    """Return the rows of these keys, None for all, and whether pages are counted too."""
    found = rows()
    names = [*(row.key for row in found), WIRE]
    wanted = keys.split(",") if keys else names
    unknown = set(wanted) - set(names)
    if unknown:
        raise SystemExit(f"--rows: {', '.join(sorted(unknown))}: choose from {', '.join(names)}")
    return [row for row in found if row.key in wanted], WIRE in wanted


def _grow(both: Sequence[Version], count: int) -> None:
    with ThreadPoolExecutor() as pool:
        taken = list(pool.map(lambda version: version.ask("grow", count=count)["seconds"], both))
    print(f"({count:,} chats more in {taken[0]:.0f} s and {taken[1]:.0f} s)", flush=True)


def _measure(row: Row, both: tuple[Version, Version], rounds: int) -> None:
    """Take the rounds of one row, in turns the old and the new version first."""
    old, new = both
    row.work(old), row.work(new)  # What is done once only is not counted.
    for number in range(rounds):
        if number % 2:
            second, first = row.work(new), row.work(old)
        else:
            first, second = row.work(old), row.work(new)
        row.found.append((first, second))
    for part, name in enumerate(("app", "database")):
        print(
            f"{row.title:42} {name:9} {_median(row, 0, part):9.2f} -> "
            f"{_median(row, 1, part):9.2f} ms  ratio {_spread(row.ratios(part))}",
            flush=True,
        )


def _median(row: Row, version: int, part: int) -> float:
    return statistics.median(each[version][part] for each in row.found)


def _spread(ratios: Sequence[float]) -> str:
    """Return the median, and the range of the middle half of the rounds."""
    middle = statistics.median(ratios)
    if len(ratios) < 2:
        return f"{middle:.3f}"
    low, _, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return f"{middle:.3f} ({low:.3f}-{high:.3f})"


def report(
    commit: str, chosen: Sequence[Row], pages: dict[str, wire.Found], options: argparse.Namespace
) -> list[str]:
    """Return the report in Markdown."""
    lines = [
        f"# This version beside {commit}",
        "",
        page.origin(f"make bench AGAINST={options.against}"),
        "",
        str(__doc__).partition("\n\n")[2].strip(),
        "",
        (
            f"Medians of {options.rounds} rounds; in brackets the middle half of the rounds' "
            f"ratios. The rows of many chats have {options.chats:,}."
        ),
        "",
        f"| work | CPU of | {commit}, ms | new, ms | ratio new / {commit} | wanted |",
        "|---|---|---|---|---|---|",
    ]
    for row in chosen:
        for part, (name, bound) in enumerate((("app", row.app), ("database", row.database))):
            ratios = row.ratios(part)
            title = f"{row.title}, {options.chats:,} chats" if row.is_large else row.title
            lines.append(
                f"| {title} | {name} | {_median(row, 0, part):.2f} | {_median(row, 1, part):.2f} "
                f"| {_spread(ratios)} | {_verdict(statistics.median(ratios), bound)} |"
            )
    if pages:
        lines += [
            "",
            f"| page | {commit}: requests, kB | new: requests, kB | wanted |",
            "|---|---|---|---|",
        ]
        for name, (most, size) in WIRE_BOUNDS.items():
            before, after = pages["old"][name], pages["new"][name]
            asked = "" if most is None else f"{_verdict(after[0], most)} requests, "
            lines.append(
                f"| {name} | {before[0]}, {before[1]:.1f} | {after[0]}, {after[1]:.1f} "
                f"| {asked}{_verdict(after[1], size)} kB |"
            )
    return lines


def _verdict(value: float, bound: float | None) -> str:
    if bound is None:
        return ""
    return f"≤ {bound}" if value <= bound else f"**missed** ≤ {bound}"


# --- the other commit


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=deployment.ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"git {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout.strip()


def _check_out(commit: str, folder: Path) -> tuple[Path, str]:
    """Unpack a commit; return its folder and the Python that has what it requires."""
    root = folder / "checkout"
    packed = subprocess.run(
        ["git", "archive", "--format=tar", commit],
        cwd=deployment.ROOT,
        capture_output=True,
        check=True,
    )
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        archive.extractall(root, filter="data")
    if not list(unmet(root)):
        return root, sys.executable
    print("Installing what that commit requires ...", flush=True)
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    python = str(folder / "venv" / "bin" / "python")
    install = [python, "-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet"]
    command = [*install, "install", "-r", "requirements-dev.txt"]
    subprocess.run(command, cwd=root, check=True)
    return root, python


def unmet(root: Path) -> Iterator[str]:
    """Yield what a checkout pins and this Python has in another version or not at all."""
    for path in root.glob("requirements*.txt"):
        for name, version in PINNED.findall(path.read_text(encoding="utf-8")):
            try:
                found = metadata.version(name)
            except metadata.PackageNotFoundError:
                found = None
            if found != version:
                yield f"{name}=={version}"
