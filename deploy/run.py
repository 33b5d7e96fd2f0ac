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
import fcntl
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
LOG_LIMIT = 5_000_000  # bytes; a longer log is set aside at the next start
DATABASE_START_SECONDS = 60
DATABASE_RETRY_SECONDS = 10
WEB_START_SECONDS = 60
# gunicorn gives requests graceful_timeout seconds; past this the group is killed.
WEB_STOP_SECONDS = 20
DATABASE_STOP_SECONDS = 15
TICK = 0.1


class Failure(Exception):
    """A reason not to go on; its text is all that the user is shown."""


class Busy(Failure):
    """Another process holds the data directory."""


class Stop(Exception):
    """Somebody asked this process to end."""


@dataclass
class Settings:
    """What the environment says, with `make run`'s defaults."""

    data_dir: Path
    address: str
    port: int
    mongo_uri: str
    seed_demo: bool

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Settings:
        """Return the settings, or fail naming the variable that is wrong."""
        mongo_uri = environ.get("MONGO_URI", "")
        seed = environ.get("SEED_DEMO", "" if mongo_uri else "1")
        text = environ.get("PORT", "8000")
        if not text.isdecimal() or not 0 < int(text) < 65_536:
            raise Failure(f"PORT must be a number from 1 to 65535, not {text!r}.")
        return cls(
            data_dir=Path(environ.get("DATA_DIR") or ROOT / "var").resolve(),
            address=environ.get("LISTEN_ADDRESS", "127.0.0.1"),
            port=int(text),
            mongo_uri=mongo_uri,
            seed_demo=seed.strip().lower() in {"1", "true", "yes", "on"},
        )

    @property
    def url(self) -> str:
        """The address to open on this machine."""
        host = "127.0.0.1" if self.address in {"0.0.0.0", ""} else self.address  # noqa: S104
        return f"http://{host}:{self.port}"

    def environment(self, mongo_uri: str) -> dict[str, str]:
        """Return the environment of flask and gunicorn."""
        return {
            **os.environ,
            "MONGO_URI": mongo_uri,
            "DATA_DIR": str(self.data_dir),
            "PORT": str(self.port),
            "LISTEN_ADDRESS": self.address,
        }


class Signals:
    """Remembers that SIGINT, SIGTERM or SIGHUP came, and how often.

    The same wish often comes twice, from the terminal and from make: one second is one wish.
    """

    def __init__(self) -> None:
        self.count = 0
        self.last = 0.0
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._note)

    def _note(self, _number: int, _frame: object) -> None:
        now = time.monotonic()
        if not self.count or now - self.last > 1:
            self.count += 1
            self.last = now

    def pause(self, seconds: float = TICK) -> None:
        """Sleep, and raise Stop as soon as this process was asked to end."""
        end = time.monotonic() + seconds
        while True:
            if self.count:
                raise Stop
            left = end - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, TICK))


@dataclass
class Child:
    """A process in a group of its own, so that Ctrl-C reaches only the supervisor."""

    name: str
    command: list[str]
    environment: dict[str, str]
    stop_seconds: float
    # What the child is sent when this process, or the thread that started it, is gone.
    orphan_signal: int = signal.SIGTERM
    output: IO[bytes] | None = None
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> None:
        """Start the process; what was left of its predecessor's group is killed."""
        self.kill()
        self.process = subprocess.Popen(  # noqa: S603 - the command is ours
            [
                *(sys.executable, "-I", "-S", str(ROOT / "deploy" / "leash.py")),
                *(str(int(self.orphan_signal)), str(os.getpid())),
                *self.command,
            ],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=self.output,
            stderr=subprocess.STDOUT if self.output is not None else None,
            start_new_session=True,
        )

    @property
    def exit_code(self) -> int | None:
        """None while the process runs."""
        return self.process.poll() if self.process else -1

    def stop(self, impatient: Callable[[], bool]) -> None:
        """Ask the process to end, wait for it, and kill its group when it does not."""
        if self.process is not None and self.exit_code is None:
            self.process.terminate()
            end = time.monotonic() + self.stop_seconds
            while self.exit_code is None and time.monotonic() < end and not impatient():
                time.sleep(TICK / 2)
        self.kill()

    def kill(self) -> None:
        """Kill whatever is left of the process's group, and reap it."""
        if self.process is not None:
            # The group is gone, or (on macOS) holds nothing but zombies.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


class Backoff:
    """How long to wait before the next restart: longer each time, short again after calm."""

    FIRST, LONGEST, CALM = 0.2, 10.0, 60.0

    def __init__(self) -> None:
        self.delay = self.FIRST
        self.last = time.monotonic()

    def next(self) -> float:
        """Return the seconds to wait now."""
        if time.monotonic() - self.last > self.CALM:
            self.delay = self.FIRST
        delay, self.delay = self.delay, min(self.delay * 2, self.LONGEST)
        self.last = time.monotonic()
        return delay


class Supervisor:
    """Starts the parts in order, watches them, and stops them in the opposite order."""

    def __init__(self, settings: Settings, signals: Signals) -> None:
        self.settings = settings
        self.signals = signals
        self.database: Child | None = None
        self.web: Child | None = None
        self.mongo_uri = settings.mongo_uri
        self.database_port = 0

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
        self.start_web()
        with published(settings.data_dir, self.mongo_uri, settings.url):
            say(banner(settings))
            self.watch()

    def start_database(self) -> None:
        """Start the embedded database, unless MONGO_URI names another, and wait for it."""
        if self.mongo_uri:
            return
        directory = self.settings.data_dir / "db"
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.database_port = free_port()
        self.mongo_uri = database_uri(self.database_port)
        self.database = Child(
            "database",
            database_command(directory, self.database_port),
            dict(os.environ),
            stop_seconds=DATABASE_STOP_SECONDS,
            # Its orderly stop can wait for clients; what it acknowledged is in the journal.
            orphan_signal=signal.SIGKILL,
            output=open_log(self.settings.data_dir / "database.log"),
        )
        say("Starting the database ...")
        begun = time.monotonic()
        self.database.start()
        while not answers(self.database_port):
            if self.database.exit_code is not None:
                # A predecessor that was killed may still be writing its last page.
                if time.monotonic() > begun + DATABASE_RETRY_SECONDS:
                    raise Failure(
                        "The database does not start. The last it said:\n"
                        + tail(self.settings.data_dir / "database.log")
                    )
                self.signals.pause(0.5)
                self.database.start()
            elif time.monotonic() > begun + DATABASE_START_SECONDS:
                raise Failure(f"The database did not answer in {DATABASE_START_SECONDS} s.")
            self.signals.pause(TICK / 2)

    def flask(self, *arguments: str, log: Path | None, **more: str) -> None:
        """Run a flask command on the database.

        log -- where its output goes, to be shown only when it fails; None: straight through.
        """
        with open_log(log) if log else contextlib.nullcontext() as output:
            child = Child(
                "command",
                [sys.executable, "-m", "flask", "--app", "wsgi", *arguments],
                {**self.settings.environment(self.mongo_uri), **more},
                stop_seconds=5,
                output=output,
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

    def start_web(self) -> None:
        """Start gunicorn and wait until it and the database are ready."""
        say("Starting the web server ...")
        self.web = Child(
            "web server",
            web_command(),
            self.settings.environment(self.mongo_uri),
            stop_seconds=WEB_STOP_SECONDS,
            orphan_signal=signal.SIGQUIT,  # gunicorn's quick shutdown
        )
        self.web.start()
        end = time.monotonic() + WEB_START_SECONDS
        while not ready(self.settings.url):
            if self.web.exit_code is not None:
                raise Failure("The web server does not start; the reason stands above.")
            if time.monotonic() > end:
                raise Failure(f"The web server was not ready within {WEB_START_SECONDS} s.")
            self.signals.pause(TICK / 2)

    def watch(self) -> None:
        """Start a part that ended again, for ever. Ends by raising Stop.

        The web server needs no restart when the database had one: it connects again.
        """
        parts = [(part, Backoff()) for part in (self.database, self.web) if part]
        while True:
            self.signals.pause(2 * TICK)
            for part, backoff in parts:
                if part.exit_code is not None:
                    delay = backoff.next()
                    say(f"The {part.name} ended ({part.exit_code}); restart in {delay:.1f} s.")
                    self.signals.pause(delay)
                    part.start()

    def stop(self) -> None:
        """Stop what runs: first what writes, then what is written to.

        A second signal cuts the waiting short.
        """
        asked = self.signals.count
        for part in (self.web, self.database):
            if part is not None:
                part.stop(lambda: self.signals.count > asked)


@contextlib.contextmanager
def locked(data_dir: Path) -> Iterator[None]:
    """Hold the data directory; only one process can. The lock ends with the process."""
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (data_dir / "run.lock").open("a+")
    except OSError as error:
        raise Failure(f"DATA_DIR {data_dir} cannot be used: {error.strerror}.") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Busy(
                f"Something runs with DATA_DIR {data_dir} already (process {holder(data_dir)}). "
                "Stop it first, or choose another: DATA_DIR=./var2 PORT=8010 make run"
            ) from None
        lock.seek(0)
        lock.truncate()
        lock.write(json.dumps({"pid": os.getpid()}))
        lock.flush()
        yield


def holder(data_dir: Path) -> str:
    """Return the number of the process that holds the data directory, as far as known."""
    try:
        return str(json.loads((data_dir / "run.lock").read_text())["pid"])
    except (OSError, ValueError, KeyError):
        return "unknown"


@contextlib.contextmanager
def published(data_dir: Path, mongo_uri: str, url: str) -> Iterator[None]:
    """Tell other commands where the database of this data directory is, while it runs."""
    path = data_dir / "run.json"
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
        json.dump({"pid": os.getpid(), "mongoUri": mongo_uri, "url": url}, file)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def published_uri(data_dir: Path) -> str:
    """Return where the running database of this data directory is."""
    try:
        return str(json.loads((data_dir / "run.json").read_text())["mongoUri"])
    except (OSError, ValueError, KeyError):
        raise Failure(f"What runs with DATA_DIR {data_dir} has not finished starting.") from None


def database_command(directory: Path, port: int) -> list[str]:
    """Return how the embedded database is started."""
    return [
        *(sys.executable, "-m", "secantus", "--config", str(ROOT / "deploy" / "secantusd.toml")),
        *("--host", "127.0.0.1", "--port", str(port)),
        *("--storage-path", str(directory), "--cache-size", "256M"),
        *("--log-level", "WARNING"),
    ]


def database_uri(port: int) -> str:
    """Return how the embedded database is reached.

    With journal an acknowledged write survives a kill; retryable writes grow dearer there
    the longer it runs.
    """
    return f"mongodb://127.0.0.1:{port}/livechat?retryWrites=false&w=1&journal=true"


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
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((settings.address, settings.port))
                return
        except PermissionError:
            raise Failure(f"PORT {settings.port} needs root; choose one above 1023.") from None
        except OSError as error:
            if attempt == 19:
                raise Failure(
                    f"PORT {settings.port} cannot be used on {settings.address} "
                    f"({error.strerror}). Choose another: PORT={settings.port + 10} make run"
                ) from None
        signals.pause()


def free_port() -> int:
    """Return a free port below those that outgoing connections get.

    A restarted database then finds its port as it left it.
    """
    for port in random.SystemRandom().sample(range(20_000, 30_000), 200):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise Failure("No free port was found from 20000 to 29999 for the database.")


def answers(port: int) -> bool:
    """Say whether something accepts connections on this port of the machine."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def ready(url: str) -> bool:
    """Say whether the web server answers and reaches its database."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except (OSError, ValueError):
        return False


def open_log(path: Path) -> IO[bytes]:
    """Open a log for appending; one that has grown long is set aside first."""
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size > LOG_LIMIT:
            path.replace(path.with_suffix(".log.1"))
    return os.fdopen(os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600), "ab")


def tail(path: Path, lines: int = 25) -> str:
    """Return the last lines of a log."""
    with contextlib.suppress(OSError):
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    return f"(there is no {path})"


def banner(settings: Settings) -> str:
    """Return what the user needs to know once everything runs."""
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
        return 0
    except Failure as failure:
        print(failure, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
