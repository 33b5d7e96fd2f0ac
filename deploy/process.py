"""Child processes of the supervisor: started in groups of their own, stopped in order."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
LOG_LIMIT = 5_000_000  # bytes; a longer log is set aside at the next start
TICK = 0.1


class Failure(Exception):
    """An error that ends the program; the user sees only its text."""


class Busy(Failure):
    """Another process holds the data directory."""


class Stop(Exception):
    """A signal asked this process to end."""


class Signals:
    """Counts the signals SIGINT, SIGTERM and SIGHUP.

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
    """A process, in a group of its own unless it is in the foreground.

    Ctrl-C then reaches only the supervisor.
    """

    name: str
    command: list[str]
    environment: dict[str, str]
    stop_seconds: float
    # What the child is sent when this process, or the thread that started it, is gone.
    orphan_signal: int = signal.SIGTERM
    output: IO[bytes] | None = None
    # In the terminal's own process group, with its input: a command may ask for a password.
    foreground: bool = False
    directory: Path = ROOT
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> None:
        """Start the process; what was left of its predecessor's group is killed."""
        self.kill()
        self.process = subprocess.Popen(  # noqa: S603 - the command is ours
            [
                *(sys.executable, "-I", "-S", str(ROOT / "deploy" / "die_with_parent.py")),
                *(str(int(self.orphan_signal)), str(os.getpid())),
                *self.command,
            ],
            cwd=self.directory,
            env=self.environment,
            stdin=None if self.foreground else subprocess.DEVNULL,
            stdout=self.output,
            stderr=subprocess.STDOUT if self.output is not None else None,
            start_new_session=not self.foreground,
        )

    @property
    def exit_code(self) -> int | None:
        """None while the process runs."""
        return self.process.poll() if self.process else -1

    def stop(self, is_hurried: Callable[[], bool]) -> None:
        """Ask the process to end, wait for it, and kill its group when it does not."""
        if self.process is not None and self.exit_code is None:
            self.process.terminate()
            end = time.monotonic() + self.stop_seconds
            while self.exit_code is None and time.monotonic() < end and not is_hurried():
                time.sleep(TICK / 2)
        self.kill()

    def kill(self) -> None:
        """Kill the rest of the process's group, and reap it."""
        if self.process is not None:
            # The group is gone, or (on macOS) holds nothing but zombies.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if self.foreground:
                    self.process.kill()
                else:
                    os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


class Backoff:
    """How long to wait before the next restart: longer each time, short again after calm."""

    FIRST, MAX_DELAY, CALM = 0.2, 10.0, 60.0

    def __init__(self) -> None:
        self.delay = self.FIRST
        self.last = time.monotonic()

    def next(self) -> float:
        """Return the seconds to wait now."""
        if time.monotonic() - self.last > self.CALM:
            self.delay = self.FIRST
        delay, self.delay = self.delay, min(self.delay * 2, self.MAX_DELAY)
        self.last = time.monotonic()
        return delay


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


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read; after a crash it is the old one or the new."""
    aside = path.with_name(f"{path.name}.new")
    aside.unlink(missing_ok=True)
    with os.fdopen(os.open(aside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
