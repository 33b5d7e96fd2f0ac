"""Run the whole product on one machine: `make run`.

Starts the embedded database as a child process, prepares it, writes the demo data once,
starts gunicorn, and starts either again when it dies. SIGINT or SIGTERM stops gunicorn
first and the database last; the data stays in DATA_DIR. When this process is killed, its
children end with it.

    python deploy/run.py                   everything, until it is told to stop
    python deploy/run.py flask COMMAND …   one flask command on the same database

With MONGO_URI set that database is used: none is started, and demo data is written only
with SEED_DEMO=1.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import socket
import sys
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import config
from deploy.data_dir import locked, publish, published_uri
from deploy.embedded import (
    EmbeddedDatabase,
    Probe,
    answers,
    database_command,
    database_uri,
    free_port,
    port_is_free,
)
from deploy.process import (
    ROOT,
    TICK,
    Backoff,
    Busy,
    Child,
    Failure,
    Signals,
    Stop,
    open_log,
    tail,
)

# Tests and measurements start the same parts.
__all__ = [
    "ROOT",
    "Child",
    "answers",
    "database_command",
    "database_uri",
    "free_port",
    "open_log",
    "port_is_free",
    "tail",
]

# Without -P the folder where the user stands would be searched for modules first.
FLASK = [sys.executable, "-P", "-m", "flask", "--app", str(ROOT / "wsgi.py")]
WEB_START_SECONDS = 60
# gunicorn gives requests graceful_timeout seconds; past this the group is killed.
WEB_STOP_SECONDS = 20


@dataclass
class Settings:
    """What the environment says, with `make run`'s defaults."""

    data_dir: Path
    address: str  # an IPv6 address without its brackets
    port: int
    mongo_uri: str
    seed_demo: bool
    disk_reserve_mb: int

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Settings:
        """Return the settings, or fail naming the variable that is wrong."""
        mongo_uri = environ.get("MONGO_URI", "")
        seed = environ.get("SEED_DEMO", "" if mongo_uri else "1")
        text = environ.get("PORT", "8000")
        if not text.isdecimal() or not 0 < int(text) < 65_536:
            raise Failure(f"PORT must be a number from 1 to 65535, not {text!r}.")
        reserve = environ.get("DISK_RESERVE_MB", str(config.Config.DISK_RESERVE_MB))
        low, high = config.RANGES["DISK_RESERVE_MB"]
        if not reserve.isdecimal() or not low <= int(reserve) <= high:
            raise Failure(f"DISK_RESERVE_MB must be a number from {low} to {high}.")
        address = (environ.get("LISTEN_ADDRESS") or "127.0.0.1").strip()
        return cls(
            data_dir=Path(environ.get("DATA_DIR") or ROOT / "var").resolve(),
            address=address.removeprefix("[").removesuffix("]"),
            disk_reserve_mb=int(reserve),
            port=int(text),
            mongo_uri=mongo_uri,
            seed_demo=seed.strip().lower() in {"1", "true", "yes", "on"},
        )

    @property
    def url(self) -> str:
        """The address to open on this machine."""
        # A server on all addresses is open on this machine's own.
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.address, self.address)  # noqa: S104
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def environment(self, mongo_uri: str) -> dict[str, str]:
        """Return the environment of flask and gunicorn."""
        # Of a database that is somewhere else the disk is not watched, unless the user says so.
        directory = {} if self.mongo_uri else {"DATABASE_DIRECTORY": str(self.data_dir / "db")}
        return {
            **os.environ,
            **directory,
            "MONGO_URI": mongo_uri,
            "DATA_DIR": str(self.data_dir),
            "PORT": str(self.port),
            "LISTEN_ADDRESS": self.address,
        }


class Supervisor:
    """Starts the parts in order, watches them, and stops them in the opposite order."""

    def __init__(self, settings: Settings, signals: Signals) -> None:
        self.settings = settings
        self.signals = signals
        self.database: EmbeddedDatabase | None = None
        self.probe: Probe | None = None
        self.web: Child | None = None
        self.mongo_uri = settings.mongo_uri

    def run(self) -> None:
        """Serve until a signal comes. Raises Failure when something does not start."""
        settings = self.settings
        check_port(settings, self.signals)
        self.start_database()
        # It also makes the secret key of this data directory, before any worker reads it.
        log = settings.data_dir / "prepare.log"
        self.flask("init-db", log=log)
        if settings.seed_demo:
            first = not (settings.data_dir / "demo.json").exists()
            say("Preparing the demo data" + (" (once; half a minute) ..." if first else " ..."))
            public = os.environ.get("PUBLIC_URL") or settings.url
            self.flask("seed-demo", log=log, PUBLIC_URL=public)
        web = self.start_web()
        try:
            publish(settings.data_dir, self.mongo_uri, settings.url)
            say(banner(settings, secrets=sys.stdout.isatty()))
            self.watch(web)
        finally:
            (settings.data_dir / "run.json").unlink(missing_ok=True)

    def start_database(self) -> None:
        """Start the embedded database, unless MONGO_URI names another, and wait for it."""
        if self.mongo_uri:
            return
        self.database = EmbeddedDatabase(self.settings.data_dir)
        say("Starting the database ...")
        self.database.start(self.signals)
        self.mongo_uri = self.database.uri
        reserve = config.disk_reserve(self.database.directory, self.settings.disk_reserve_mb)
        self.probe = Probe(self.database, reserve)
        self.probe.start()

    def flask(self, *arguments: str, log: Path | None, **more: str) -> None:
        """Run a flask command on the database.

        log -- where its output goes, to be shown only when it fails; None: the command has
        the terminal, and FILE arguments are relative to where the user stands.
        """
        with open_log(log) if log else contextlib.nullcontext() as output:
            child = Child(
                "command",
                [*FLASK, *arguments],
                {**self.settings.environment(self.mongo_uri), **more},
                stop_seconds=5,
                output=output,
                foreground=log is None,
                directory=ROOT if log else Path.cwd(),
            )
            child.start()
            try:
                while child.exit_code is None:
                    self.signals.pause(TICK / 2)
            finally:
                child.stop(lambda: False)
        if child.exit_code:
            said = f":\n{tail(log)}" if log else "."
            raise Failure(f"flask {' '.join(arguments)} failed{said}")

    def start_web(self) -> Child:
        """Start gunicorn and wait until it and the database are ready."""
        say("Starting the web server ...")
        web = self.web = Child(
            "web server",
            web_command(),
            self.settings.environment(self.mongo_uri),
            stop_seconds=WEB_STOP_SECONDS,
            orphan_signal=signal.SIGQUIT,  # gunicorn's quick shutdown
        )
        web.start()
        end = time.monotonic() + WEB_START_SECONDS
        while not ready(self.settings.url):
            if web.exit_code is not None:
                raise Failure("The web server does not start; the reason stands above.")
            if time.monotonic() > end:
                raise Failure(f"The web server was not ready within {WEB_START_SECONDS} s.")
            self.signals.pause(TICK / 2)
        return web

    def watch(self, web: Child) -> None:
        """Start a part that ended again, for ever. Ends by raising Stop.

        The web server needs no restart when the database had one: it connects again.
        """
        database = self.database
        parts = [(part, Backoff()) for part in (database and database.child, web) if part]
        while True:
            self.signals.pause(2 * TICK)
            self.watch_probe()
            for part, backoff in parts:
                if part.exit_code is not None:
                    delay = backoff.next()
                    say(f"The {part.name} ended ({part.exit_code}); restart in {delay:.1f} s.")
                    self.signals.pause(delay)
                    if database and part is database.child:
                        self.restart_database(database, web)
                    else:
                        part.start()

    def watch_probe(self) -> None:
        """Kill a database that does not work; start the probe's thread again if it ended."""
        probe = self.probe
        if probe is None:
            return
        if probe.failed.is_set():
            say(f"The database does not work ({probe.error}): it is killed.")
            probe.database.child.kill()
            probe.failed.clear()
        if not probe.is_alive():
            say("The database's probe ended; it is started again.")
            self.probe = Probe(probe.database, probe.reserve)
            self.probe.start()

    def restart_database(self, database: EmbeddedDatabase, web: Child) -> None:
        """Start the database again, on another port if a stranger listens on its own."""
        if port_is_free(database.port):
            database.start_process()
            return
        say(f"Another program listens on port {database.port}: the database moves.")
        database.choose_port()
        database.start_process()
        self.mongo_uri = database.uri
        web.environment = self.settings.environment(self.mongo_uri)
        web.stop(lambda: bool(self.signals.count))
        web.start()
        publish(self.settings.data_dir, self.mongo_uri, self.settings.url)

    def stop(self) -> None:
        """Stop what runs: first what writes, then what is written to.

        A second signal cuts the waiting short.
        """
        asked = self.signals.count
        if self.probe:
            self.probe.stop()
        for part in (self.web, self.database.child if self.database else None):
            if part is not None:
                part.stop(lambda: self.signals.count > asked)


def web_command() -> list[str]:
    """Return how gunicorn is started; the rest is in its configuration file."""
    return [
        *(sys.executable, "-m", "gunicorn", "--config", "deploy/gunicorn.conf.py"),
        *("--no-control-socket", "--log-level", "warning", "wsgi:app"),
    ]


def check_port(settings: Settings, signals: Signals) -> None:
    """Fail when PORT is taken, after a moment in which a predecessor may still leave it."""
    for attempt in range(20):
        try:
            family, kind, protocol, _, address = resolve(settings.address, settings.port)
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
                return
        except PermissionError:
            raise Failure(f"PORT {settings.port} needs root; choose one above 1023.") from None
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise Failure(
                    f"LISTEN_ADDRESS {settings.address} is no address of this machine."
                ) from None
            if attempt == 19:
                raise Failure(
                    f"PORT {settings.port} cannot be used on {settings.address} "
                    f"({error.strerror}). Choose another: PORT={settings.port + 10} make run"
                ) from None
        signals.pause()


def resolve(address: str, port: int) -> Any:
    """Return the first entry that getaddrinfo has for a listening address. Raises Failure."""
    try:
        return socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
            0
        ]
    except (socket.gaierror, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "not a host name"
        raise Failure(
            f"LISTEN_ADDRESS must be an address of this machine, not {address!r} ({reason})."
        ) from None


def ready(url: str) -> bool:
    """Say whether the web server answers and reaches its database."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except (OSError, ValueError):
        return False


def banner(settings: Settings, secrets: bool) -> str:
    """Return what the user needs to know once everything runs.

    secrets -- with the passwords of the demo logins. Output that is no terminal is often kept,
    in a journal that others may read: there only the file is named.
    """
    lines = [
        "",
        "The live chat is running. Ctrl-C stops it; the data stays in " + str(settings.data_dir),
        "",
        f"  Console for agents    {settings.url}/admin",
        f"  Chat for users        {settings.url}/chat",
        f"  API documentation     {settings.url}/api/docs",
    ]
    with contextlib.suppress(OSError, ValueError, KeyError):
        demo = json.loads((settings.data_dir / "demo.json").read_text())
        lines += ["", f"  Demo logins (all of them: {settings.data_dir / 'demo.json'})"]
        if not secrets:
            return "\n".join([*lines, ""])
        people = [("agent", demo["admin"]), *(("user", user) for user in demo["users"][:2])]
        lines += [f"    {role:<6} {who['email']:<28} {who['password']}" for role, who in people]
    return "\n".join([*lines, ""])


def say(text: str) -> None:
    """Print; a terminal that went away is no reason to fail."""
    with contextlib.suppress(OSError):
        print(text, flush=True)


def run_everything(settings: Settings, signals: Signals) -> None:
    """Serve until a signal comes, then stop in order."""
    with locked(settings.data_dir):
        supervisor = Supervisor(settings, signals)
        try:
            supervisor.run()
        except Stop:
            say("\nStopping ...")
        finally:
            supervisor.stop()
        say("Stopped.")


def run_command(settings: Settings, signals: Signals, arguments: list[str]) -> None:
    """Run one flask command on this data directory's database.

    The database of a running `make run` is used; with none running it is started for the
    command alone.
    """
    supervisor = Supervisor(settings, signals)
    with contextlib.ExitStack() as held:
        if not settings.mongo_uri:
            try:
                held.enter_context(locked(settings.data_dir))
                held.callback(supervisor.stop)
                supervisor.start_database()
            except Busy:
                supervisor.mongo_uri = published_uri(settings.data_dir)
        supervisor.flask(*arguments, log=None)


def main(arguments: list[str]) -> int:
    """Do what the command line says and return the exit code."""
    signals = Signals()
    try:
        settings = Settings.read(os.environ)
        if arguments[:1] == ["flask"]:
            run_command(settings, signals, arguments[1:])
        elif arguments:
            raise Failure("Usage: python deploy/run.py [flask COMMAND ...]")
        else:
            run_everything(settings, signals)
    except Stop:
        return 130 if arguments else 0
    except OSError as error:
        # The disk is full, or a file of the data directory belongs to another user.
        print(f"{error.strerror}: {error.filename or 'DATA_DIR'}", file=sys.stderr)
        return 1
    except Failure as failure:
        print(failure, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
