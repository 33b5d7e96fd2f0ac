"""What a process does with all of its streams."""

from __future__ import annotations

import pytest
from pymongo.database import Database

from chatapi import create_app
from chatapi.realtime.hub import Hub
from chatapi.realtime.session_cache import SessionCache
from chatapi.realtime.tail import tail
from chatapi.services.feeds import FeedRegistry
from chatapi.store.database import Document
from chatapi.transport import streams
from chatapi.transport.reaper import reaper
from config import TestConfig


def test_an_app_connects_the_parts_of_real_time(
    database: Database[Document], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub, cache, feed_registry = Hub(), SessionCache(), FeedRegistry()
    for name, part in (("hub", hub), ("session_cache", cache), ("feed_registry", feed_registry)):
        monkeypatch.setattr(streams, name, part)
    create_app(TestConfig, database=database)
    assert hub.on_join == tail.ensure_running
    assert cache.on_foreign_change == tail.wake
    assert cache.on_change == reaper.mark_for_recheck
    assert feed_registry.on_open == reaper.ensure_running
    assert feed_registry.on_agent_connect == hub.on_presence == reaper.wake
