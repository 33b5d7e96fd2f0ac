"""Fixtures of the commands' tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
from pymongo.errors import AutoReconnect

from chatapi.store import chats, messages

BreakWrites = Callable[[int], AbstractContextManager[None]]


@pytest.fixture
def break_writes(monkeypatch: pytest.MonkeyPatch) -> BreakWrites:
    """Return what lets the database be gone, inside a with block, after so many writes."""

    @contextmanager
    def after(survived: int) -> Iterator[None]:
        left = survived

        def breaking(write: Callable[..., Any]) -> Callable[..., Any]:
            def attempt(*arguments: Any) -> Any:
                nonlocal left
                left -= 1
                if left < 0:
                    raise AutoReconnect("the cable was pulled")
                return write(*arguments)

            return attempt

        with monkeypatch.context() as patch:
            for module, name in [
                (chats, "insert"),
                (chats, "replace"),
                (messages, "insert"),
                (messages, "insert_many"),
            ]:
                patch.setattr(module, name, breaking(getattr(module, name)))
            yield

    return after
