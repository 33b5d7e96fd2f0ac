"""Real time of an app: how its parts are connected, started and stopped, and their state."""

from __future__ import annotations

from typing import Any

from flask import Flask

from chatapi.domain.runtime import Runtime
from chatapi.realtime import followers
from chatapi.realtime.hub import hub
from chatapi.realtime.session_cache import session_cache
from chatapi.realtime.tail import tail
from chatapi.services.feeds import feed_registry
from chatapi.services.presence import presence_tracker
from chatapi.transport.connections import connections
from chatapi.transport.reaper import close_slow_consumers, reaper

SHUTDOWN_SLOW_SECONDS = 2.0


def init_app(app: Flask) -> None:
    """Connect the parts: each learns of the others by these calls alone."""
    with _runtime(app).active():
        hub.current.on_join = tail.current.ensure_running
        session_cache.current.on_foreign_change = tail.current.wake
        feed_registry.current.on_open = reaper.current.ensure_running
        feed_registry.current.on_agent_connect = hub.current.on_presence = reaper.current.wake
        session_cache.current.on_change = reaper.current.mark_for_recheck


def start(app: Flask) -> None:
    """Follow the sessions, in a process that serves the app."""
    with _runtime(app).active():
        session_cache.current.may_follow = True
        session_cache.current.follower.ensure_running()


def close_all(app: Flask) -> None:
    """Close every stream; clients reconnect to another process, for this one is about to end."""
    with _runtime(app).active():
        feed_registry.current.is_shutting_down = True
        open_feeds = feed_registry.current.all()
        for number, feed in enumerate(open_feeds):
            # Spread over two seconds, so that they do not all come back in one moment.
            feed.listener.close("restarting", 0.2 + 2 * number / len(open_feeds))


def close_slow(app: Flask) -> int:
    """Close streams whose client does not read, when the process waits for nothing else.

    Return how many connections are still open.
    """
    with _runtime(app).active():
        close_slow_consumers(feed_registry.current.all(), SHUTDOWN_SLOW_SECONDS)
        return len(connections.current)


def stop(app: Flask) -> None:
    """Close every stream, and let every thread of the app end: soon after this returns."""
    close_all(app)
    with _runtime(app).active():
        session_cache.current.may_follow = False
        followers.stop_all()
        tail.current.wake()
        reaper.current.wake()


def state() -> dict[str, Any]:
    """Return the state of real time in this process, for monitoring."""
    open_feeds = feed_registry.current.all()
    return {
        "process": presence_tracker.current.process[:8],
        "streams": len(open_feeds),
        "accounts": len({feed.session.user_id for feed in open_feeds}),
        "longestQueue": max((feed.listener.backlog for feed in open_feeds), default=0),
        **tail.current.state(),
        "followers": followers.state(),
    }


def _runtime(app: Flask) -> Runtime:
    runtime: Runtime = app.extensions["chat"]
    return runtime
