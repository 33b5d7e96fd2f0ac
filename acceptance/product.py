"""The product as this machine has it: its commands, run as processes, and its database."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.database import Database
from pymongo.errors import PyMongoError

from acceptance.instance import Instance, Unreachable
from acceptance.results import Failed, NotApplicable, NotRun

ROOT = Path(__file__).resolve().parents[1]
DEFAULT_DATABASE = "livechat"
DATABASE_TIMEOUT_MS = 3000
START_SECONDS = 30
STOP_SECONDS = 5
QUICK_SHUTDOWN = signal.SIGQUIT  # of gunicorn
NOWHERE = "mongodb://127.0.0.1:1/"
_STATIC_ENDPOINTS = (".static", ".versioned")
_ALONE = ("settings", "consistency")


class CommandFailed(Exception):
    """A command of the product ended with an error; the text is what it said."""


@dataclass(frozen=True)
class Route:
    """One method of one path that the code answers, with Flask's placeholders."""

    method: str
    path: str
    is_static: bool


class Product:
    """Runs the product's commands with the environment of this process."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self.environment = dict(os.environ if environment is None else environment)
        self._reports: dict[tuple[str, ...], Any] = {}

    # Commands

    def flask(self, *arguments: str, allowed: tuple[int, ...] = (0,)) -> str:
        """Run a flask command and return its output. Raises CommandFailed."""
        done = subprocess.run(  # noqa: S603 - our own command
            self._command(*arguments),
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode not in allowed:
            said = (done.stderr or done.stdout).strip().splitlines()
            raise CommandFailed(said[-1] if said else f"exit status {done.returncode}")
        return done.stdout

    def _command(self, *arguments: str) -> list[str]:
        # Without -P the folder where the user stands would be searched for modules first.
        return [sys.executable, "-P", "-m", "flask", "--app", self._app, *arguments]

    @property
    def _app(self) -> str:
        return self.environment.get("FLASK_APP") or str(ROOT / "wsgi.py")

    def doctor(self, name: str) -> str:
        """Return what the product's own check found. Raises Failed, NotApplicable or NotRun."""
        report = self._report(name)
        (result,) = (each for each in report["checks"] if each["name"] == name)
        detail, remedy = str(result["detail"]), str(result["remedy"])
        match result["status"]:
            case "passed":
                return detail
            case "not applicable":
                raise NotApplicable(detail)
            case "not run":
                raise NotRun(detail, remedy)
            case _:
                raise Failed(detail, remedy)

    def _report(self, name: str) -> Any:
        # Consistency is asked for when the chats of this run are there, the settings where there
        # is no database, too; the rest in one go.
        arguments = tuple(part for each in _ALONE for part in ("--skip", each))
        if name in _ALONE:
            arguments = ("--only", name)
        if arguments not in self._reports:
            text = self.flask("doctor", "--json", *arguments, allowed=(0, 1))
            self._reports[arguments] = _parsed("doctor", text)
        return self._reports[arguments]

    @cached_property
    def configuration(self) -> Any:
        """What the product says of its configuration: settings, defaults, what is refused."""
        return self._report("settings")

    @cached_property
    def routes(self) -> list[Route]:
        """Every route that the code has, described or not."""
        return list(_routes(self.flask("routes", "--sort", "match")))

    # The database

    @cached_property
    def database(self) -> Database[dict[str, Any]]:
        """The product's database. Raises NotRun where MONGO_URI is not given."""
        uri = self.environment.get("MONGO_URI")
        if not uri:
            raise NotRun("MONGO_URI is not set.", "Set it to the product's database.")
        timeout = int(self.environment.get("DATABASE_TIMEOUT_MS") or DATABASE_TIMEOUT_MS)
        client: MongoClient[dict[str, Any]] = MongoClient(uri, serverSelectionTimeoutMS=timeout)
        return client.get_default_database(DEFAULT_DATABASE)

    def database_failure(self) -> str | None:
        """Return why the database cannot be asked, None if it can."""
        try:
            self.database.command("ping")
        except PyMongoError as error:
            return f"The database does not answer ({type(error).__name__})."
        return None

    # A second instance

    def start(self, **environment: str) -> OwnInstance:
        """Start an instance of this configuration whose log can be read. Raises Failed."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        settings = {
            "LISTEN_ADDRESS": "127.0.0.1",
            "PORT": str(port),
            "WEB_CONCURRENCY": "1",
            # The commands read a relative one from where the user stands.
            "DATA_DIR": str(Path(self.configuration["settings"]["DATA_DIR"]).resolve()),
        }
        command = [
            *(sys.executable, "-m", "gunicorn", "--config", str(ROOT / "deploy/gunicorn.conf.py")),
            *("--no-control-socket", "--log-level", "warning", f"{Path(self._app).stem}:app"),
        ]
        own = OwnInstance(command, self.environment | settings | environment, port)
        own.wait()
        return own

    def close(self) -> None:
        """Close the connection to the database, if there is one."""
        if "database" in vars(self):
            self.database.client.close()


class OwnInstance:
    """An instance that these checks started for themselves, with its log."""

    def __init__(self, command: list[str], environment: Mapping[str, str], port: int) -> None:
        self._log = tempfile.TemporaryFile("w+", prefix="livechat-")  # noqa: SIM115 - until close()
        self.instance = Instance(f"http://127.0.0.1:{port}")
        self._process = subprocess.Popen(  # noqa: S603 - our own command
            [*_die_with_parent(), *command],
            cwd=ROOT,
            env=environment,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )

    def wait(self) -> None:
        """Wait until the instance answers. Raises Failed if it does not get there."""
        end = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(Unreachable):
                if self.instance.call("GET", "/healthz").status == 200:
                    return
            if self._process.poll() is not None or time.monotonic() > end:
                said = self.log().strip().splitlines()
                self.close()
                raise Failed(f"An instance does not start: {said[-1] if said else 'no output'}")
            time.sleep(0.05)

    def log(self) -> str:
        """Return everything that the instance has logged."""
        self._log.seek(0)
        return self._log.read()

    def lines(self) -> list[dict[str, Any]]:
        """Return the lines of the log that are JSON objects."""
        found = []
        for line in self.log().splitlines():
            with contextlib.suppress(ValueError):
                found.append(json.loads(line))
        return [line for line in found if isinstance(line, dict)]

    def close(self) -> None:
        """End the instance, which only these checks use."""
        self.instance.close()
        self._process.send_signal(QUICK_SHUTDOWN)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()


def _die_with_parent() -> list[str]:
    """Return how a program is started that is stopped when the checks are killed."""
    program = ROOT / "deploy" / "die_with_parent.py"
    return [sys.executable, str(program), str(int(QUICK_SHUTDOWN)), str(os.getpid())]


def _parsed(command: str, text: str) -> Any:
    """Return the JSON that a command printed, which is its last line. Raises CommandFailed."""
    try:
        return json.loads(text.strip().splitlines()[-1])
    except (ValueError, IndexError):
        raise CommandFailed(f"{command} printed no JSON.") from None


def _routes(text: str) -> list[Route]:
    """Read the table that `flask routes` prints, whose second line shows the columns."""
    found = []
    lines = text.splitlines()
    ruler = next(line for line in lines if re.fullmatch(r"-+ +-+ +-+", line.strip()))
    spans = [match.span() for match in re.finditer(r"-+", ruler)]
    for line in lines[lines.index(ruler) + 1 :]:
        if not line.strip():
            continue
        endpoint, methods = (line[start:end].strip() for start, end in spans[:2])
        path = line[spans[2][0] :].strip()
        is_static = endpoint.endswith(_STATIC_ENDPOINTS)
        found += [Route(method, path, is_static) for method in methods.split(", ")]
    return found
