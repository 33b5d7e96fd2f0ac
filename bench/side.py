"""Run one version for `bench.against`: its own database, application and test data.

Started with `-P` in a version's checkout, and imports that checkout's code alone, so that each
version starts its database, and writes its documents, as it does itself. Commands are JSON
lines on standard input, answers JSON lines on standard output.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any, TextIO

from bench import data
from chatapi import create_app
from chatapi.services import chats
from config import Config, DevelopmentConfig
from tests.servers import AppServer, DatabaseServer, children, start_app, start_database

UNLIMITED = "10000000 per minute"
RESTART_SECONDS = 60.0


def main() -> None:
    """Serve until standard input ends."""
    # Output of this version's code must not mix with the results.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    origin = sys.argv[1]
    limits = {
        name: UNLIMITED
        for name in dir(Config)
        if name.startswith("LIMIT_") and isinstance(getattr(Config, name), str)
    }
    environment = {
        "LOG_LEVEL": "INFO",
        "DATABASE_TIMEOUT_MS": "60000",
        "CORS_ORIGINS": origin,
        **limits,
    }
    with (
        tempfile.TemporaryDirectory(prefix="livechat-bench-") as folder,
        start_database(Path(folder) / "db") as database,
        start_app(database.uri, env=environment) as app,
    ):
        settings = {"MONGO_URI": database.uri, "DATA_DIR": folder, "DATABASE_TIMEOUT_MS": 60_000}
        create_app(DevelopmentConfig, None, **settings).app_context().push()
        _serve(Side(database, app), sys.stdin, answers)


class Side:
    """One running version; each `do_` method is a command."""

    def __init__(self, database: DatabaseServer, app: AppServer) -> None:
        self.database, self.app = database, app
        self.admin, self.admin_token = _sign_up("agent", "admin")
        self.user, self.user_token = _sign_up("user", "user")
        chat, *_ = chats.create(self.user, "A chat to measure", message="Hello")
        self.chat_id = str(chat["_id"])
        data.add_chats(100, self.admin.user_id)

    def do_about(self) -> dict[str, Any]:
        """Return where the version listens and who may ask."""
        return {
            "url": self.app.url,
            "admin": self.admin_token,
            "user": self.user_token,
            "chat": self.chat_id,
        }

    def do_pids(self) -> dict[str, Any]:
        """Return the processes of the application and of the database."""
        return {"app": _tree(self.app.pid), "database": _tree(self.database.pid)}

    def do_grow(self, count: int) -> dict[str, Any]:
        """Add so many chats."""
        started = time.monotonic()
        data.add_chats(count, self.admin.user_id, seed=2)
        return {"seconds": time.monotonic() - started}

    def do_restart(self) -> dict[str, Any]:
        """Replace the worker by one that remembers nothing."""
        before = set(self.app.worker_pids())
        self.app.kill_worker()
        end = time.monotonic() + RESTART_SECONDS
        while not (set(self.app.worker_pids()) - before and _is_ready(self.app.url)):
            if time.monotonic() > end:
                raise TimeoutError("the worker did not come back")
            time.sleep(0.05)
        time.sleep(0.5)
        return {}


def _serve(side: Side, commands: TextIO, answers: TextIO) -> None:
    for line in commands:
        asked = json.loads(line)
        answer = getattr(side, f"do_{asked.pop('do')}")(**asked)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _services(name: str) -> Any:
    """Return a module of the services. Older versions have users and sessions in `accounts`."""
    full = f"chatapi.services.{name}"
    found = importlib.util.find_spec(full) is not None
    return importlib.import_module(full if found else "chatapi.services.accounts")


def _sign_up(name: str, role: str) -> tuple[Any, str]:
    users, sessions = _services("users"), _services("sessions")
    user = users.create_user(name, f"{name}@example.com", "bench password", role)
    signed: tuple[Any, str] = sessions.begin_session(user, sessions.ClientInfo())
    return signed


def _tree(pid: int) -> list[int]:
    return [pid, *(each for child in children(pid) for each in _tree(child))]


def _is_ready(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


if __name__ == "__main__":
    main()
