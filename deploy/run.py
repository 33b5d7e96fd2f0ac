"""Run the whole product on one machine: `make run`.

Starts the embedded database as a child process, prepares it, writes the demo data once,
starts gunicorn, and starts either again when it dies. SIGINT or SIGTERM stops gunicorn
first and the database last; the data stays in DATA_DIR. When this process is killed, its
children end with it.

    python deploy/run.py                   everything, until SIGINT or SIGTERM
    python deploy/run.py flask COMMAND …   one flask command on the same database

With MONGO_URI set that database is used: none is started, and demo data is written only
with SEED_DEMO=1.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from deploy.data_dir import locked, published_uri
from deploy.embedded import answers, database_command, database_uri, free_port, port_is_free
from deploy.process import ROOT, Busy, Child, Failure, Signals, Stop, open_log, tail
from deploy.settings import Settings
from deploy.supervisor import Supervisor, say
from deploy.web_server import ready, web_command

# Tests and measurements start the same parts.
__all__ = [
    "ROOT",
    "Child",
    "Supervisor",
    "answers",
    "database_command",
    "database_uri",
    "free_port",
    "open_log",
    "port_is_free",
    "ready",
    "tail",
    "web_command",
]


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
