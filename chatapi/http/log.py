"""The log: one JSON line an event on standard output, with the request's id.

Secrets never reach the log: fields with secret names are blanked, a database error is
logged without the document, and requests are logged without their query,
headers and body.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import time
import traceback
from typing import Any

import structlog
from flask import Flask, Response
from flask.globals import app_ctx, request_ctx
from pymongo.errors import PyMongoError
from structlog.typing import EventDict, WrappedLogger

from chatapi.domain.log_events import LogEvent
from chatapi.domain.runtime import PerApp
from chatapi.http import identity, problems

log = structlog.get_logger("chat")

MAX_CAUSES = 20
PROBES = frozenset({"/healthz", "/readyz"})
SECRET_NAMES = frozenset(
    {
        "password",
        "current",
        "new",
        "token",
        "authorization",
        "cookie",
        "csrf_token",
        "content",
        "message",
        "body",
        "secret_key",
    }
)


# Events below it are not logged.
level = PerApp(lambda: logging.INFO)


def init_app(app: Flask) -> None:
    """Configure the log and log each request.

    The log is the process's; the level is the app's.
    """
    level.set(logging.getLevelNamesMapping()[str(app.config["LOG_LEVEL"]).upper()])
    structlog.configure(
        processors=[
            _filter,
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _blank_secrets,
            _write_exception,
            _render,
        ],
        # `_filter` decides by the app's level.
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        logger_factory=_StandardOutput,
        cache_logger_on_first_use=False,
    )
    app.before_request(_bind_request_id)
    app.after_request(_log_request)


class _StandardOutput:
    """A logger that writes to the current standard output, also if it was replaced."""

    def __init__(self, *_: Any) -> None:
        pass

    def msg(self, line: str) -> None:
        """Write one line. Errors, as on a full disk, are ignored."""
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.write(line + "\n")
            sys.stdout.flush()

    debug = info = warning = error = critical = exception = log = msg


def _bind_request_id() -> None:
    app_ctx.g.started = time.perf_counter()
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(requestId=problems.request_id())


def _log_request(response: Response) -> Response:
    # Once, because each access through a proxy costs.
    asked, known = request_ctx.request, app_ctx.g
    now = time.perf_counter()
    fields: dict[str, Any] = {
        "method": asked.method,
        "path": asked.path,
        "status": response.status_code,
        "ms": round((now - known.get("started", now)) * 1000, 1),
        "address": asked.remote_addr,
    }
    if "_login_user" in known and (session := identity.optional()):
        fields["userId"] = str(session.user_id)
    if "error_code" in known:
        fields["code"] = known.error_code
    if asked.path in PROBES and response.status_code < 400:
        # Probes come every few seconds and are all alike.
        log.debug(LogEvent.REQUEST_FINISHED, **fields)
    else:
        log.info(LogEvent.REQUEST_FINISHED, **fields)
    return response


def _filter(_: WrappedLogger, method: str, event: EventDict) -> EventDict:
    if logging.getLevelNamesMapping()[method.upper()] < level.current:
        raise structlog.DropEvent
    return event


def _blank_secrets(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    for name in event:
        if name.lower() in SECRET_NAMES:
            event[name] = "[hidden]"
    return event


_as_json = json.JSONEncoder(default=repr).encode


def _render(_: WrappedLogger, __: str, event: EventDict) -> str:
    """Return the line. A value that cannot be encoded must not raise."""
    try:
        return _as_json(event)
    except Exception as failure:  # noqa: BLE001 - a value's own repr may raise
        known = ("timestamp", "level", "event", "requestId", "exception")
        line = {name: str(event[name]) for name in known if name in event}
        return json.dumps(line | {"notWritten": type(failure).__name__})


def _write_exception(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    error = event.pop("exc_info", None)
    if isinstance(error, BaseException):
        try:
            event["exception"] = "".join(_trace(error))
        except Exception as failure:  # noqa: BLE001 - an error's own text may raise
            event["exception"] = f"{type(error).__name__} ({type(failure).__name__} in its trace)"
    return event


def _trace(error: BaseException) -> list[str]:
    """Return the error's trace after those of its causes, each once: they may form a cycle."""
    chain: list[BaseException] = []
    cause: BaseException | None = error
    seen: set[int] = set()
    while cause is not None and id(cause) not in seen and len(chain) < MAX_CAUSES:
        chain.append(cause)
        seen.add(id(cause))
        cause = cause.__cause__
    lines: list[str] = []
    for each in reversed(chain):
        lines += ["\nthen:\n"] if lines else []
        lines += traceback.format_tb(each.__traceback__)
        lines.append(f"{type(each).__name__}: {_text(each)}\n")
    return lines


def _text(error: BaseException) -> str:
    text = str(error)
    if isinstance(error, PyMongoError):
        # The rest has values of the document or the key.
        text = text.split("full error", maxsplit=1)[0].split("dup key", maxsplit=1)[0]
    return text
