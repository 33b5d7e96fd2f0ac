"""Flask, as the product uses it: an app with state of its own, whose views are plain functions."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Token
from typing import Any

from flask import Flask
from flask.ctx import AppContext

from chatapi.domain.runtime import Runtime


class ChatContext(AppContext):
    """An app context: what runs in it is a part of the app."""

    def __init__(self, app: Flask) -> None:
        super().__init__(app)
        self._runtime: Runtime = app.extensions["chat"]
        self._tokens: list[Token[Runtime]] = []

    def push(self) -> None:
        """Begin the context."""
        self._tokens.append(self._runtime.enter())
        super().push()

    def pop(self, *error: Any) -> None:
        """End it; `error` is what it ends with."""
        try:
            super().pop(*error)
        finally:
            self._runtime.leave(self._tokens.pop())


class Chat(Flask):
    """A Flask app whose state is `extensions["chat"]`."""

    def __init__(self, name: str) -> None:
        super().__init__(name, static_folder=None)
        self.extensions["chat"] = Runtime()

    def app_context(self) -> AppContext:
        """Return a context. Flask makes one for each request and each command."""
        return ChatContext(self)

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Return it: Flask would look with each request whether a view or hook is async."""
        return func
