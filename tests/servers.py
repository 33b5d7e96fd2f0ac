"""Real servers for tests and measurements: a database and gunicorn, each in its own process.

Both are ready to be used when `start` returns, and raise ServerFailed with the end of their
log when they do not get there. Both are context managers that kill on leaving: what they hold is
thrown away, and an orderly stop takes seconds. A test of an orderly stop calls `stop`.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pymongo import MongoClient

from chatapi.domain.runtime import Runtime
from chatapi.store import indexes, migrations
from deploy import run

START_SECONDS = 60
ADDRESS = "127.0.0.1"

# Direct, whatever proxy this machine's environment names.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class ServerFailed(Exception):
    """A server did not start; the text ends with the end of its log."""


class DatabaseServer:
    """The embedded database on a directory. The port stays the same over restarts."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = run.free_port()
        self.uri = run.database_uri(self.port)
        self.log = directory.parent / f"{directory.name}.log"
        directory.mkdir(parents=True, exist_ok=True)
        self._child = run.Child(
            "database",
            run.database_command(directory, self.port),
            dict(os.environ),
            stop_seconds=15,
        )

    @property
    def pid(self) -> int:
        """The process, of the last start."""
        assert self._child.process is not None, "not started"
        return self._child.process.pid

    def start(self) -> None:
        """Start the server and wait until it answers."""
        with run.open_log(self.log) as log:
            self._child.output = log
            self._child.start()
        end = time.monotonic() + START_SECONDS
        while not run.answers(self.port):
            if self._child.exit_code is not None or time.monotonic() > end:
                self.kill()
                raise ServerFailed(f"The database did not start.\n{run.tail(self.log)}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop in order; takes about two seconds."""
        self._child.stop(is_hurried=lambda: False)

    def kill(self) -> None:
        """Kill the process without a warning, as a power cut would."""
        self._child.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()


class AppServer:
    """gunicorn with gevent workers on a database. The port stays the same over restarts."""

    def __init__(
        self, mongo_uri: str, workers: int = 1, env: Mapping[str, str] | None = None
    ) -> None:
        self.port = run.free_port()
        self.url = f"http://{ADDRESS}:{self.port}"
        self.directory = Path(tempfile.mkdtemp(prefix="livechat-"))
        self.log = self.directory / "gunicorn.log"
        self.environment = {
            # A setting of the shell that runs the tests must not change what they find.
            **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
            "APP_ENV": "development",
            "SECRET_KEY": "only-for-the-tests-0123456789-0123456789",
            "PASSWORD_TIME_COST": "1",
            "PASSWORD_MEMORY_KIB": "8",
            "LOG_LEVEL": "WARNING",
            "MONGO_URI": mongo_uri,
            "DATA_DIR": str(self.directory),
            "LISTEN_ADDRESS": ADDRESS,
            "PORT": str(self.port),
            "WEB_CONCURRENCY": str(workers),
            **(env or {}),
        }
        self.workers = workers
        self._prepared = False
        self._child = run.Child(
            "web server",
            run.web_command(),
            self.environment,
            stop_seconds=30,
        )

    @property
    def pid(self) -> int:
        """The master process, of the last start."""
        assert self._child.process is not None, "not started"
        return self._child.process.pid

    def start(self) -> None:
        """Prepare the database, start gunicorn and wait until every worker is ready."""
        if not self._prepared:
            # As `flask init-db` does with a new database, without a second for another process.
            with (
                MongoClient[dict[str, Any]](self.environment["MONGO_URI"]) as client,
                Runtime().active(),
            ):
                database = client.get_default_database()
                migrations.run(database)
                indexes.ensure(database)
            self._prepared = True
        with run.open_log(self.log) as log:
            self._child.output = log
            self._child.start()
        end = time.monotonic() + START_SECONDS
        while not run.ready(self.url) or len(self.worker_pids()) < self.workers:
            if self._child.exit_code is not None or time.monotonic() > end:
                self.kill()
                raise ServerFailed(f"gunicorn did not get ready.\n{run.tail(self.log, 60)}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop as a deployment does: requests that are being served are finished."""
        self._child.stop(is_hurried=lambda: False)

    def kill(self) -> None:
        """Kill the master and all workers without a warning."""
        self._child.kill()

    def reload(self) -> None:
        """Replace the workers one by one, as `systemctl reload` does."""
        os.kill(self.pid, signal.SIGHUP)

    def worker_pids(self) -> list[int]:
        """Return the processes that answer requests, oldest first."""
        return children(self.pid)

    def kill_worker(self) -> int:
        """Kill one worker without a warning and return which; gunicorn starts another."""
        pid = self.worker_pids()[0]
        os.kill(pid, signal.SIGKILL)
        return pid

    def request(
        self,
        method: str,
        path: str,
        token: str | None = None,
        json: object = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 30,
    ) -> tuple[int, dict[str, str], Any]:
        """Send a request and return status, headers (names in lower case) and JSON.

        A body that is no JSON comes back as text, none as None. Errors are answers too.
        """
        return request(f"{self.url}{path}", method, token, json, headers, timeout)

    def _flask(self, *arguments: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "flask", "--app", "wsgi", *arguments],
            cwd=run.ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=START_SECONDS,
        )
        if done.returncode:
            raise ServerFailed(f"flask {' '.join(arguments)} failed.\n{done.stdout}{done.stderr}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)


def start_database(directory: Path) -> DatabaseServer:
    """Start the embedded database with its data in a directory."""
    server = DatabaseServer(Path(directory))
    server.start()
    return server


def start_app(mongo_uri: str, workers: int = 1, env: Mapping[str, str] | None = None) -> AppServer:
    """Start gunicorn on a database.

    env -- settings on top of the tests' own: cheap password hashes, warnings only.
    """
    server = AppServer(mongo_uri, workers, env)
    server.start()
    return server


def children(pid: int) -> list[int]:
    """Return the direct children of a process, oldest first; zombies are left out."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name, in parentheses, may hold spaces.
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue  # It ended just now.
        if int(parent) == pid and state != "Z":
            found.append(int(stat.parent.name))
    return sorted(found)


def descendants(pid: int) -> list[int]:
    """Return the children of a process, theirs, and so on."""
    return [each for child in children(pid) for each in (child, *descendants(child))]


def request(
    url: str,
    method: str = "GET",
    token: str | None = None,
    body: object = None,
    headers: Mapping[str, str] | None = None,
    timeout: float = 30,
) -> tuple[int, dict[str, str], Any]:
    """Send a request with a JSON body, and return status, headers and JSON."""
    sent = {"Accept": "application/json", **(headers or {})}
    data = None
    if body is not None:
        data = json.dumps(body).encode()
        sent["Content-Type"] = "application/json"
    if token:
        sent["Authorization"] = f"Bearer {token}"
    wanted = urllib.request.Request(url, data=data, headers=sent, method=method)
    try:
        answer = _opener.open(wanted, timeout=timeout)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        content = answer.read()
        received = {name.lower(): value for name, value in answer.headers.items()}
        if "json" in received.get("content-type", ""):
            return answer.status, received, json.loads(content)
        return answer.status, received, content.decode() or None
