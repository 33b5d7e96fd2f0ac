"""Noting the calls of a function that goes on doing its work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")


def recorded(calls: list[Any], real: Callable[..., Result]) -> Callable[..., Result]:
    """Return a function that adds the arguments of each call to `calls`, then calls `real`."""

    def call(*given: Any) -> Result:
        calls.append(given)
        return real(*given)

    return call
