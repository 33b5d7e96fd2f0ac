"""Every log call of the application names a declared event, and docs/logging.md lists them all."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from chatapi.domain.log_events import LogEvent

ROOT = Path(__file__).parent.parent
LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}
# Its level depends on the error: `Follower._note` picks one of the three.
CHOSEN_LEVELS = {"follower_failed": {"error", "warning", "info"}}


@dataclass
class Row:
    """An event with its levels and fields."""

    levels: set[str]
    fields: set[str]


def is_log_method(node: ast.expr) -> bool:
    """Return whether an expression is a method of a structlog logger, such as `log.info`."""
    match node:
        case ast.Attribute(value=ast.Name(id="log") | ast.Attribute(attr="log"), attr=level):
            return level in LEVELS
        case ast.Call(func=ast.Name(id="getattr"), args=[ast.Name(id="log"), *_]):
            return True
    return False


def log_calls(tree: ast.Module) -> Iterator[tuple[ast.expr, list[ast.expr], ast.Call, ast.AST]]:
    """Yield method, positional arguments, call and surrounding function of each log call."""
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    for function in functions:
        for node in ast.walk(function):
            if not isinstance(node, ast.Call):
                continue
            if is_log_method(node.func):
                yield node.func, node.args, node, function
            elif node.args and is_log_method(node.args[0]):
                yield node.args[0], node.args[1:], node, function


def fields_of(call: ast.Call, function: ast.AST) -> set[str]:
    """Return the fields of a log call, also those of a dict that it passes as `**fields`."""
    found: set[str] = set()
    for keyword in call.keywords:
        if keyword.arg is not None:
            found.add("exception" if keyword.arg == "exc_info" else keyword.arg)
        elif isinstance(keyword.value, ast.Name):
            found |= keys_of(keyword.value.id, function)
    return found


def keys_of(name: str, function: ast.AST) -> set[str]:
    """Return the keys that a function puts into its dict of that name."""
    keys: set[str] = set()
    for node in ast.walk(function):
        match node:
            case ast.AnnAssign(target=ast.Name(id=target), value=ast.Dict(keys=items)):
                if target == name:
                    keys |= {ast.literal_eval(item) for item in items if item is not None}
            case ast.Subscript(
                value=ast.Name(id=target), slice=ast.Constant(value=str(key)), ctx=ast.Store()
            ):
                if target == name:
                    keys.add(key)
    return keys


def events_in_code() -> dict[str, Row]:
    """Return what the application logs, by event."""
    rows: dict[str, Row] = {}
    for folder in ("chatapi", "admin_ui", "chat_ui"):
        for path in (ROOT / folder).rglob("*.py"):
            source = path.read_text(encoding="utf-8")
            # Only calls of loggers with this name are found below.
            assert source.count("get_logger(") == source.count("log = structlog.get_logger(")
            tree = ast.parse(source)
            for method, arguments, call, function in log_calls(tree):
                match arguments:
                    case [ast.Attribute(value=ast.Name(id="LogEvent"), attr=name)]:
                        event = LogEvent[name].value
                    case _:
                        raise AssertionError(f"{path.name}:{call.lineno} names no LogEvent")
                levels = (
                    {"error" if method.attr == "exception" else method.attr}
                    if isinstance(method, ast.Attribute)
                    else CHOSEN_LEVELS[event]
                )
                row = rows.setdefault(event, Row(set(), set()))
                row.levels |= levels
                row.fields |= fields_of(call, function)
    return rows


def events_in_documentation() -> dict[str, Row]:
    """Return the table of docs/logging.md, by event."""
    text = (ROOT / "docs" / "logging.md").read_text(encoding="utf-8")
    cells = [line.strip("| ").split("|") for line in text.splitlines() if line.startswith("| `")]
    return {
        event.strip(" `"): Row(set(re.findall(r"\w+", levels)), set(re.findall(r"\w+", fields)))
        for event, levels, fields, *_ in cells
    }


def test_the_documentation_lists_every_event_with_its_levels_and_fields() -> None:
    assert events_in_documentation() == events_in_code()


def test_every_declared_event_is_logged() -> None:
    assert set(events_in_code()) == set(LogEvent)


def test_an_event_has_its_own_name_as_its_value() -> None:
    for event in LogEvent:
        assert event.value == event.name.lower()
