"""All streams of a process: their state and their shutdown."""

from __future__ import annotations

from typing import Any

from chatapi.realtime import followers
from chatapi.realtime.hub import hub
from chatapi.realtime.session_cache import session_cache
from chatapi.realtime.tail import tail
from chatapi.services.feeds import feed_registry
from chatapi.services.presence import PROCESS
from chatapi.transport.reaper import close_slow_consumers, reaper

SHUTDOWN_SLOW_SECONDS = 2.0


def shutdown() -> None:
    """Close every stream; clients reconnect to another process, for this one is about to end."""
    feed_registry.is_shutting_down = True
    open_feeds = feed_registry.all()
    for number, feed in enumerate(open_feeds):
        # Spread over two seconds, so that they do not all come back in one moment.
        feed.listener.close("restarting", 0.2 + 2 * number / len(open_feeds))


def close_slow() -> None:
    """Close streams whose client does not read, when the process waits for nothing else."""
    close_slow_consumers(feed_registry.all(), SHUTDOWN_SLOW_SECONDS)


def state() -> dict[str, Any]:
    """Return the state of real time in this process, for monitoring."""
    open_feeds = feed_registry.all()
    return {
        "process": PROCESS[:8],
        "streams": len(open_feeds),
        "accounts": len({feed.session.user_id for feed in open_feeds}),
        "longestQueue": max((feed.listener.backlog for feed in open_feeds), default=0),
        **tail.state(),
        "followers": followers.state(),
    }


def start() -> None:
    """Connect the parts of real time: each learns of the others by these calls alone."""
    hub.on_join = tail.ensure_running
    session_cache.on_foreign_change = tail.wake
    feed_registry.on_open = reaper.ensure_running
    feed_registry.on_agent_connect = hub.on_presence = reaper.wake
    session_cache.on_change = reaper.mark_for_recheck
