"""Tell whether the machine was quiet: a do-nothing timer, a loopback echo, and others' CPU.

They run beside what is measured. A thread that sleeps gets a processor before those that work,
so the timer alone can be on time on a busy machine: the CPU that processes outside the
measurement have used says the rest, from /proc/stat. Where it was not quiet, times say nothing
of the product.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

from bench.load import cpu_seconds

EVERY = 0.01
# A floor above these, in ms, is that of a machine with something else to do.
QUIET_P99, QUIET_WORST = 5.0, 50.0
QUIET_OTHERS = 0.1  # of a core


class Floor:
    """The lateness of a timer and the time of an echo, in ms. Use it in a `with` block.

    pids -- the processes that are part of the measurement, this one aside.
    """

    def __init__(self, pids: Iterable[int] = ()) -> None:
        self.others = 0.0  # cores that other processes used
        self._pids = [os.getpid(), *pids]
        self.timer: list[float] = []
        self.echo: list[float] = []
        self._is_over = threading.Event()
        self._threads = [
            threading.Thread(target=work, daemon=True) for work in (self._tick, self._ask)
        ]
        self._door = socket.create_server(("127.0.0.1", 0))
        self._answering = threading.Thread(target=self._answer, daemon=True)

    def _tick(self) -> None:
        while not self._is_over.is_set():
            due = time.monotonic() + EVERY
            time.sleep(EVERY)
            self.timer.append((time.monotonic() - due) * 1000)

    def _answer(self) -> None:
        link, _ = self._door.accept()
        with link:
            while data := link.recv(64):
                link.sendall(data)

    def _ask(self) -> None:
        with socket.create_connection(self._door.getsockname()) as link:
            while not self._is_over.is_set():
                begun = time.monotonic()
                link.sendall(b"?")
                link.recv(64)
                self.echo.append((time.monotonic() - begun) * 1000)
                time.sleep(EVERY)

    def __enter__(self) -> Self:
        self._begun = time.monotonic(), machine_seconds() - cpu_seconds(self._pids)
        self._answering.start()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        taken = time.monotonic() - self._begun[0]
        self.others = (machine_seconds() - cpu_seconds(self._pids) - self._begun[1]) / taken
        self._is_over.set()
        for thread in (*self._threads, self._answering):
            thread.join(5)
        self._door.close()

    @property
    def is_quiet(self) -> bool:
        """Tell whether both were on time and the processors were ours."""
        return self.others < QUIET_OTHERS and all(
            share(found, 0.99) < QUIET_P99 and max(found, default=QUIET_WORST) < QUIET_WORST
            for found in (self.timer, self.echo)
        )

    def __str__(self) -> str:
        parts = [
            f"{name} p99 {share(found, 0.99):.1f}, worst {max(found, default=0):.0f} ms"
            for name, found in (("timer", self.timer), ("echo", self.echo))
        ]
        parts.append(f"others used {max(0.0, self.others):.2f} cores")
        return f"{'; '.join(parts)}: {'quiet' if self.is_quiet else 'not quiet'}"


def machine_seconds() -> float:
    """Return the CPU time that all processes, and other machines on this one, have used."""
    user, nice, system, _, _, _, _, steal, *_ = Path("/proc/stat").read_text().split()[1:11]
    ticks = int(user) + int(nice) + int(system) + int(steal)
    return ticks / os.sysconf("SC_CLK_TCK")


def share(values: Sequence[float], part: float) -> float:
    """Return the value that so large a part of all does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else float("inf")
