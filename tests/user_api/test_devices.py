"""How long a device is known."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import time_machine
from flask import Flask

from chatapi.http import devices

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
EMAIL = "ana@example.org"


def test_a_device_is_known_for_180_days_and_never_in_the_future(app: Flask) -> None:
    with app.test_request_context(), time_machine.travel(NOON, tick=False) as time:
        note = devices.remember(EMAIL)
        device = devices.known_device(EMAIL, note)
        assert device is not None
        assert devices.known_device("eva@example.org", note) is None
        time.move_to(NOON + timedelta(days=180))
        assert devices.known_device(EMAIL, note) == device
        time.move_to(NOON + timedelta(days=180, seconds=1))
        assert devices.known_device(EMAIL, note) is None
        time.move_to(NOON - timedelta(days=31))
        assert devices.known_device(EMAIL, note) is None
