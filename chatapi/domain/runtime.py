"""What one application of the process keeps for itself, and which application it is.

Two applications in one process share no state. What changes while the product runs, and what an
app's configuration decides, is declared by the module that it belongs to:

    _recent = PerApp(dict)      # at the top: made under each app at its first use there
    _recent.current[key] = now  # in a function: that of the app whose work this is

An app context makes its app current: for a request, a command, a frame of a WebSocket. A thread
or greenlet begins outside: `Runtime.run` starts it as a part of an app.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar, Token
from typing import Any, Generic, TypeVar

T = TypeVar("T")

_END: Any = object()


class Runtime:
    """The state of one application. `create_app` makes it: `app.extensions["chat"]`."""

    def __init__(self) -> None:
        self.values: dict[PerApp[Any], Any] = {}
        # A value may be made of others.
        self.lock = threading.RLock()

    def enter(self) -> Token[Runtime]:
        """Make this app the current one of this thread or greenlet."""
        return _runtime.set(self)

    def leave(self, token: Token[Runtime]) -> None:
        """Make the app current that was before `enter`."""
        _runtime.reset(token)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Make this app the current one in the block."""
        token = self.enter()
        try:
            yield
        finally:
            self.leave(token)

    def run(self, work: Callable[..., T], *arguments: Any) -> T:
        """Return what the work returns. It is a part of this app, and not of its caller."""
        context = Context()
        context.run(self.enter)
        return context.run(work, *arguments)

    def iterate(self, items: Iterable[T]) -> Iterator[T]:
        """Yield the items, each made as a part of this app."""
        iterator = iter(items)
        while (item := self.run(next, iterator, _END)) is not _END:
            yield item


_runtime: ContextVar[Runtime] = ContextVar("runtime")


def current() -> Runtime:
    """Return the state of the current app. Raises RuntimeError where there is none."""
    try:
        return _runtime.get()
    except LookupError:
        raise RuntimeError("No app is current here: see chatapi/domain/runtime.py.") from None


class PerApp(Generic[T]):
    """A value that exists once for each app.

    make -- returns the value of an app, called at the first use.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make

    @property
    def current(self) -> T:
        """The value of the current app."""
        try:
            found: T = _runtime.get().values[self]
        except LookupError:
            return self._made_in(current())
        return found

    def set(self, value: T) -> None:
        """Give the current app this value."""
        current().values[self] = value

    def _made_in(self, runtime: Runtime) -> T:
        with runtime.lock:
            if self not in runtime.values:
                runtime.values[self] = self._make()
            found: T = runtime.values[self]
            return found
