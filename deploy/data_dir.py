"""The process that uses a data directory, and its database's address: `run.lock`, `run.json`."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path

from deploy.process import Busy, Failure, write_private


@contextlib.contextmanager
def locked(data_dir: Path) -> Iterator[None]:
    """Lock the data directory for this process. The lock ends with the process."""
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


def publish(data_dir: Path, mongo_uri: str, url: str) -> None:
    """Write where the database of this data directory is, for other commands."""
    facts = {"pid": os.getpid(), "mongoUri": mongo_uri, "url": url}
    write_private(data_dir / "run.json", json.dumps(facts))


def published_uri(data_dir: Path) -> str:
    """Return where the running database of this data directory is."""
    try:
        return str(json.loads((data_dir / "run.json").read_text())["mongoUri"])
    except (OSError, ValueError, KeyError):
        raise Failure(f"What runs with DATA_DIR {data_dir} has not finished starting.") from None
