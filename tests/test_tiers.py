"""What the tiers rest on: the mark `long`, and the notes of what the tests have asked for."""

from __future__ import annotations

import pytest
from flask import Flask

from tests.exercised import Exercised
from tests.tiers import representatives


def test_all_parameters_but_the_representatives_are_long() -> None:
    sizes = representatives([(1, 2), (3, 4), (5, 6)], (3, 4))
    assert sizes[1] == (3, 4)
    for index, values in ((0, (1, 2)), (2, (5, 6))):
        assert sizes[index].values == values
        assert [mark.name for mark in sizes[index].marks] == ["long"]


def test_a_representative_that_is_no_parameter_is_refused() -> None:
    with pytest.raises(AssertionError):
        representatives(["one", "two"], "three")


def test_what_no_test_has_asked_for_is_missing(app: Flask) -> None:
    exercised = Exercised()
    client = app.test_client()
    assert {"health.healthz", "user_api.list_chats", "not_signed_in"} <= set(exercised.missing())
    client.get("/healthz")
    client.get("/api/chat")
    missing = exercised.missing()
    assert "health.healthz" not in missing
    assert "not_signed_in" not in missing
    # It was refused and has not succeeded.
    assert "user_api.list_chats" in missing
