"""JSON that every reader understands alike: no repeated names, no NaN, no Infinity."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any


class DuplicateKey(ValueError):
    """An object names a member twice; the text names the member."""


def reject_duplicate_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse an object that names a member twice: readers disagree on which one counts."""
    found = dict(pairs)
    if len(found) < len(pairs):
        ((name, _),) = Counter(key for key, _ in pairs).most_common(1)
        raise DuplicateKey(f"{shortened(name)} stands twice in one object")
    return found


def shortened(value: object) -> str:
    """Return a value as an error shows it."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _finite_number(text: str) -> float:
    """Refuse what is too large for a number: it would go out as Infinity, which is no JSON."""
    number = float(text)
    if math.isinf(number):
        raise ValueError("A number is too large.")
    return number


def _reject_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON.")


_decoder = json.JSONDecoder(
    object_pairs_hook=reject_duplicate_keys,
    parse_float=_finite_number,
    parse_constant=_reject_constant,
)


def decode(text: str) -> Any:
    """Return what a JSON text says. Raises ValueError, RecursionError for what is none.

    Python would take NaN, Infinity and 1e400, and write them so that no browser reads them.
    """
    return _decoder.decode(text)
