"""What a process does with all of its streams."""

from __future__ import annotations

from flask import Flask

from chatapi.realtime.hub import hub
from chatapi.realtime.session_cache import session_cache
from chatapi.realtime.tail import tail
from chatapi.services.feeds import feed_registry
from chatapi.transport.reaper import reaper


def test_an_app_connects_the_parts_of_real_time(app: Flask) -> None:
    assert hub.current.on_join == tail.current.ensure_running
    assert session_cache.current.on_foreign_change == tail.current.wake
    assert session_cache.current.on_change == reaper.current.mark_for_recheck
    assert feed_registry.current.on_open == reaper.current.ensure_running
    assert feed_registry.current.on_agent_connect == hub.current.on_presence == reaper.current.wake
