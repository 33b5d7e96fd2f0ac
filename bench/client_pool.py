"""A pool of processes of `bench.clients`."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from deploy import run

Answer = dict[str, Any]


class ClientPoolFailed(Exception):
    """A process of clients exited, or did not respond in time."""


class ClientPool:
    """Processes with many clients each. Use it in a `with` block, which ends them."""

    def __init__(self, address: str, port: int, processes: int = 2) -> None:
        command = [
            *(sys.executable, str(run.ROOT / "deploy" / "die_with_parent.py")),
            *(str(int(signal.SIGKILL)), str(os.getpid())),
            *(sys.executable, "-m", "bench.clients", address, str(port)),
        ]
        self.processes = [
            subprocess.Popen(
                command,
                cwd=run.ROOT,
                env={**os.environ, "PYTHONPATH": str(run.ROOT)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=-1,
            )
            for _ in range(processes)
        ]

    def ask(self, do: str, within: float = 60, **what: Any) -> list[Answer]:
        """Send the same command to every process and return the results.

        Raises ClientPoolFailed if one does not respond within so many seconds.
        """
        return self.ask_each(do, [what] * len(self.processes), within)

    def ask_each(self, do: str, whats: Sequence[Answer], within: float = 60) -> list[Answer]:
        """Send each process its own command and return the results."""
        for number, what in enumerate(whats):
            self.send_command(number, do, **what)
        end = time.monotonic() + within
        return [self.read_result(number, end - time.monotonic()) for number in range(len(whats))]

    def send_command(self, number: int, do: str, **what: Any) -> None:
        """Send a command to one process; read its result before sending the next one."""
        pipe = self.processes[number].stdin
        assert pipe is not None
        try:
            pipe.write(json.dumps({"do": do, **what}).encode() + b"\n")
            pipe.flush()
        except OSError as error:
            raise ClientPoolFailed(f"Process {number} of clients has ended.") from error

    def read_result(self, number: int, seconds: float) -> Answer:
        """Return the result of one process. Raises ClientPoolFailed without one."""
        pipe = self.processes[number].stdout
        assert pipe is not None
        if not select.select([pipe], [], [], max(0.0, seconds))[0]:
            raise ClientPoolFailed(f"Process {number} of clients did not answer in time.")
        line = pipe.readline()
        if not line:
            raise ClientPoolFailed(f"Process {number} of clients has ended.")
        answer: Answer = json.loads(line)
        return answer

    def open(self, plans: Sequence[Answer], parallel: int, seconds: float) -> int:
        """Open clients, distributed over the processes; return how many were ready in time."""
        count = len(self.processes)
        whats = [
            {"plans": plans[number::count], "parallel": max(1, parallel // count)}
            for number in range(count)
        ]
        asked = [what | {"seconds": seconds} for what in whats]
        answers = self.ask_each("open", asked, seconds + 30)
        return sum(answer["ready"] for answer in answers)

    def freeze(self, number: int) -> None:
        """Freeze one process by SIGSTOP."""
        os.kill(self.processes[number].pid, signal.SIGSTOP)

    def resume(self, number: int) -> None:
        """Resume a frozen process."""
        os.kill(self.processes[number].pid, signal.SIGCONT)

    def close(self) -> None:
        """End the processes."""
        for number, process in enumerate(self.processes):
            self.resume(number)
            process.kill()
        for process in self.processes:
            process.wait(10)
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
