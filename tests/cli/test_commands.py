"""What a command says when there is nothing to work on."""

from __future__ import annotations

import pytest
from flask import Flask
from pymongo.errors import ServerSelectionTimeoutError

from chatapi.store import indexes
from chatapi.store import users as stored_users


@pytest.mark.parametrize(
    ("module", "name", "arguments"),
    [
        (indexes, "ensure", ["init-db"]),
        (stored_users, "insert", ["create-admin", "ana@example.org", "--password", "a" * 12]),
    ],
)
def test_a_database_that_does_not_answer_is_one_sentence(
    app: Flask,
    monkeypatch: pytest.MonkeyPatch,
    module: object,
    name: str,
    arguments: list[str],
) -> None:
    def away(*_: object) -> None:
        raise ServerSelectionTimeoutError("127.0.0.1:27017: [Errno 111] Connection refused")

    monkeypatch.setattr(module, name, away)
    result = app.test_cli_runner().invoke(args=arguments)
    assert result.exit_code == 1
    assert "MONGO_URI" in result.output
    assert f"flask {arguments[0]}" in result.output
    assert len(result.output.splitlines()) == 1
