"""Starts the parts of the product in order, and starts them again when they die."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path

import config
from deploy.data_dir import publish
from deploy.embedded import EmbeddedDatabase, Probe, port_is_free
from deploy.process import ROOT, TICK, Backoff, Child, Failure, Signals, open_log, tail
from deploy.settings import Settings
from deploy.web_server import check_port, ready, web_command

# Without -P the folder where the user stands would be searched for modules first.
FLASK = [sys.executable, "-P", "-m", "flask", "--app", str(ROOT / "wsgi.py")]
WEB_START_SECONDS = 60
# gunicorn gives requests graceful_timeout seconds; past this the group is killed.
WEB_STOP_SECONDS = 20


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
        """Restart every part that exits, until Stop is raised.

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
        """Kill a database that fails its probe; restart the probe's thread if it ended."""
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
        """Restart the database, on another port if another program uses its own."""
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
        """Stop the web server first, then the database.

        A second signal cuts the waiting short.
        """
        asked = self.signals.count
        if self.probe:
            self.probe.stop()
        for part in (self.web, self.database.child if self.database else None):
            if part is not None:
                part.stop(lambda: self.signals.count > asked)


def banner(settings: Settings, secrets: bool) -> str:
    """Return the addresses and logins to print once everything runs.

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
