"""Statuses, priorities and roles are listed in domain/enums.py and nowhere else."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from chatapi.domain import enums

ROOT = Path(__file__).parent.parent.parent
SOURCE = ROOT / "chatapi/domain/enums.py"
ENUMS = (enums.STATUSES, enums.PRIORITIES, enums.SENDER_ROLES)
_VALUE = "['\"](?:" + "|".join(value for values in ENUMS for value in values) + ")['\"]"
TWO_VALUES = re.compile(rf"{_VALUE}\s*,\s*{_VALUE}")


def lists_of_values(source: str) -> Iterator[int]:
    """Yield the lines of tuples, lists and sets of several values of one enum, and no others."""
    # Searched first: parsing every file takes seconds.
    for node in ast.walk(ast.parse(source)) if TWO_VALUES.search(source) else ():
        if isinstance(node, (ast.Tuple, ast.List, ast.Set)) and len(node.elts) > 1:
            values = {each.value for each in node.elts if isinstance(each, ast.Constant)}
            if len(values) == len(node.elts) and any(values <= set(each) for each in ENUMS):
                yield node.lineno


def test_no_other_module_of_the_product_lists_the_values() -> None:
    files = [
        path
        for package in ("chatapi", "admin_ui", "chat_ui")
        for path in (ROOT / package).rglob("*.py")
        if path != SOURCE
    ]
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in files
        for number in lists_of_values(path.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_a_list_of_values_is_found() -> None:
    assert list(lists_of_values(SOURCE.read_text(encoding="utf-8")))
    assert list(lists_of_values('OPEN = ("active", "pending")\n')) == [1]
    assert list(lists_of_values('x = 1\ny = {"high", "urgent"}\n')) == [2]
    assert list(lists_of_values('x = ("active", "subject"), ["user"], ()\n')) == []


def test_each_side_has_another() -> None:
    assert [enums.other_side(side) for side in enums.SIDES] == [*reversed(enums.SIDES)]
