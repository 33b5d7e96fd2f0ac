"""Runs operations against each other in every order that a bounded number of switches allows.

Each operation runs in a greenlet that pauses before every call to the store, so the order of
their database calls is ours to choose. `explore` tries all orders with up to so many switches
between operations, and, where asked, the death of an operation at each of its steps: it then
simply never goes on, as a process that was killed. Nothing is random; a failure names its order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Any

import pytest
from greenlet import getcurrent, greenlet

from chatapi.domain.errors import ChatError
from chatapi.store import chat_terms, chats, deletions, messages, presence, users

CALLS = {
    chats: ("insert", "by_id", "open_chat_of", "replace", "delete"),
    chat_terms: ("upsert", "add", "delete"),
    messages: (
        "insert",
        "at",
        "by_idempotency_key",
        "between",
        "delete",
        "delete_of_chat",
        "redact",
    ),
    deletions: ("begin", "finish", "unfinished"),
    presence: ("emit",),
    users: ("by_id", "update", "count_active_admins"),
}
MAX_STEPS = 500

Operation = Callable[[], Any]


@dataclass(frozen=True)
class Switch:
    """At this step another operation goes on; or the running one dies, then another goes on."""

    step: int
    to: int
    kill: bool = False


class Task(greenlet):
    """An operation under way. `result` is what it returned or the refusal it raised."""

    def __init__(self, operation: Operation) -> None:
        super().__init__(self._work)
        self.gr_context = copy_context()  # A part of the app that explores it.
        self.operation = operation
        self.result: Any = None
        self.killed = False
        self.finished = False

    def _work(self) -> None:
        try:
            self.result = self.operation()
        except ChatError as refusal:
            self.result = refusal
        self.finished = True

    @property
    def alive(self) -> bool:
        return not self.finished and not self.killed


@dataclass
class Run:
    """One execution: what each operation came to, and at which steps it could have gone on
    differently."""

    tasks: list[Task]
    switches: tuple[Switch, ...]
    steps: list[int] = field(default_factory=list)
    choices: list[Switch] = field(default_factory=list)

    @property
    def results(self) -> list[Any]:
        return [task.result for task in self.tasks]

    @property
    def killed(self) -> list[bool]:
        return [task.killed for task in self.tasks]


def pause_before_store_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every call to the store be a point at which `explore` may switch."""

    def pausing(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            task = getcurrent()
            if isinstance(task, Task) and task.parent is not None:
                task.parent.switch()
            return function(*args, **kwargs)

        return call

    for module, names in CALLS.items():
        for name in names:
            monkeypatch.setattr(module, name, pausing(getattr(module, name)))


def explore(
    scenario: Callable[[], Sequence[Operation]],
    check: Callable[[Run], None],
    switches: int = 2,
    kills: int = 0,
) -> int:
    """Run a scenario in every order and check each; return how many there were.

    scenario -- makes a fresh state and returns the operations on it.
    switches -- how often at most one operation is left for another before its end.
    kills -- how many of these at most kill the operation that is left.
    """
    count = 0
    for run in _runs(scenario, switches, kills):
        count += 1
        try:
            check(run)
        except Exception as error:
            error.add_note(f"steps {run.steps}, {run.switches}, results {run.results}")
            raise
    return count


def _runs(scenario: Callable[[], Sequence[Operation]], switches: int, kills: int) -> Iterator[Run]:
    plans: list[tuple[Switch, ...]] = [()]
    while plans:
        plan = plans.pop()
        run = _execute(scenario(), plan)
        yield run
        if len(plan) == switches:
            continue
        used = sum(switch.kill for switch in plan)
        plans += [(*plan, each) for each in run.choices if not each.kill or used < kills]


def _execute(operations: Sequence[Operation], plan: tuple[Switch, ...]) -> Run:
    tasks = [Task(operation) for operation in operations]
    run = Run(tasks, plan)
    planned = {switch.step: switch for switch in plan}
    last_planned = plan[-1].step if plan else -1
    current = 0
    for step in range(MAX_STEPS):
        alive = [number for number, task in enumerate(tasks) if task.alive]
        if not alive:
            return run
        if current not in alive:
            current = alive[0]
        if switch := planned.get(step):
            tasks[current].killed = switch.kill
            current = switch.to
        elif step > last_planned:
            others = [number for number in alive if number != current]
            run.choices += [Switch(step, other) for other in others]
            run.choices += [Switch(step, other, kill=True) for other in others or [current]]
        if tasks[current].alive:
            run.steps.append(current)
            tasks[current].switch()
    raise AssertionError(f"The operations do not end: {run.steps}")
