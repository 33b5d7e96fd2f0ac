"""`make run` as a process of a test."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from deploy import run
from tests.servers import children, descendants, request
from tests.waiting import eventually

SCRIPT = run.ROOT / "deploy" / "run.py"


class Supervisor:
    """deploy/run.py with a data directory and a port of its own."""

    def __init__(self, data_dir: Path, port: int | None = None, **environment: str) -> None:
        self.data_dir = data_dir
        self.port = port or run.free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.output = data_dir.with_suffix(".log")
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(data_dir.parent),
            "DATA_DIR": str(data_dir),
            "PORT": str(self.port),
            "PASSWORD_TIME_COST": "1",
            "PASSWORD_MEMORY_KIB": "8",
            "RATELIMIT_ENABLED": "false",
            **environment,
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Supervisor:
        """Start it and wait until it says that everything runs."""
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(SCRIPT)],
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        eventually(lambda: "is running" in self.said() or self.ended(), 90)
        assert not self.ended(), self.said()
        return self

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def said(self) -> str:
        return self.output.read_text()

    def child(self, part: str) -> int:
        """Return the process of the database ("secantus") or of the web server ("gunicorn")."""
        return next(pid for pid in children(self.pid) if part in command_line(pid))

    def signal(self, number: int) -> int:
        """Send a signal to the supervisor alone and return its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(timeout=30)

    def close(self) -> None:
        """Leave nothing behind, whatever the test did, and quicker than an orderly stop."""
        if self.process is not None and self.process.poll() is None:
            everything = descendants(self.pid)
            self.signal(signal.SIGKILL)
            for pid in filter(alive, everything):
                os.kill(pid, signal.SIGKILL)

    def refused(self) -> str:
        """Start it where it cannot run, and return the text it ends with."""
        done = subprocess.run(
            [sys.executable, str(SCRIPT)],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        return done.stderr

    def flask(self, *arguments: str) -> str:
        """Run a flask command through the supervisor and return its output."""
        done = subprocess.run(
            [sys.executable, str(SCRIPT), "flask", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def mongo_uri(self) -> str:
        """Return where the database is, as run.json says."""
        return str(json.loads((self.data_dir / "run.json").read_text())["mongoUri"])

    def request(self, method: str, path: str, token: str = "", body: object = None) -> Any:
        """Send a request, assert that it succeeds, and return the JSON of the answer."""
        status, _, answer = request(self.url + path, method, token, body)
        assert status < 300, answer
        return answer

    def login(self, who: dict[str, str]) -> str:
        body = {"email": who["email"], "password": who["password"]}
        return str(self.request("POST", "/api/auth/login", body=body)["token"])


def command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")


def alive(pid: int) -> bool:
    """Say whether a process runs; one that only waits to be reaped does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
