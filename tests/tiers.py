"""Marks for the tiers of the tests: docs/testing.md says which test belongs to which."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def representatives(values: Iterable[Any], *chosen: Any) -> list[Any]:
    """Return parameters of which only the chosen ones are in `make test`; the others are long."""
    values = list(values)
    assert all(each in values for each in chosen), chosen
    return [
        value
        if value in chosen
        else pytest.param(
            *(value if isinstance(value, tuple) else (value,)), marks=pytest.mark.long
        )
        for value in values
    ]
