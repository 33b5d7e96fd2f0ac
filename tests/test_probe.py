"""The supervisor's probe of the embedded database, which must not end unseen."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from deploy import embedded, run
from deploy.embedded import EmbeddedDatabase, Probe
from deploy.process import Failure


class Client:
    """A client that writes nowhere."""

    def __init__(self, uri: str, **_: Any) -> None:
        self.uri, self.closed = uri, False

    def get_default_database(self) -> dict[str, Any]:
        return {"probes": SimpleNamespace(update_one=lambda *_, **__: None)}

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EmbeddedDatabase:
    """A database whose process seems to run, with a client that writes nowhere."""
    monkeypatch.setattr(embedded, "MongoClient", Client)
    made = EmbeddedDatabase(tmp_path)
    process: Any = SimpleNamespace(pid=1, poll=lambda: None)
    made.child.process = process
    return made


def broken() -> None:
    raise AttributeError("unforeseen")


def test_an_unforeseen_error_is_a_failed_probe_and_is_logged(
    database: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    probe = Probe(database, 0)
    monkeypatch.setattr(database, "write", broken)
    for _ in range(Probe.ALLOWED_FAILURES):
        assert not probe.failed.is_set()
        probe.probe()
    assert probe.failed.is_set()
    assert "AttributeError('unforeseen')" in probe.error
    assert capsys.readouterr().out.count("AttributeError('unforeseen')") == 3


def test_a_close_right_after_the_probe_looked_at_the_client_does_no_harm(
    database: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[Any] = [Client(database.uri)]

    def read_and_closed(_: EmbeddedDatabase) -> Any:
        found, kept[0] = kept[0], None
        return found

    def assigned(_: EmbeddedDatabase, client: Any) -> None:
        kept[0] = client

    closing = property(read_and_closed, assigned)
    monkeypatch.setattr(EmbeddedDatabase, "_client", closing, raising=False)
    probe = Probe(database, 0)
    for _ in range(3):
        probe.probe()
        assert probe.error == ""


def test_a_client_opened_while_the_port_changes_is_not_kept(
    database: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    free_port, old = embedded.free_port, database.uri

    def meanwhile() -> int:
        database.write()
        assert database._client is not None
        return free_port()

    monkeypatch.setattr(embedded, "free_port", meanwhile)
    database.choose_port()
    database.write()
    client: Any = database._client
    assert client.uri == database.uri != old


def test_the_watcher_starts_a_probe_again_that_ended(
    database: EmbeddedDatabase, capsys: pytest.CaptureFixture[str]
) -> None:
    settings: Any = SimpleNamespace(mongo_uri="")
    signals: Any = None
    supervisor = run.Supervisor(settings, signals)
    ended = supervisor.probe = Probe(database, 7)
    ended.stop()
    ended.start()
    ended.join()
    supervisor.watch_probe()
    again = supervisor.probe
    assert again is not ended
    assert again.is_alive()
    assert again.reserve == 7
    supervisor.watch_probe()
    assert supervisor.probe is again
    again.stop()
    again.join()
    assert capsys.readouterr().out.count("started again") == 1


def test_a_database_that_is_not_installed_is_a_sentence_and_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(Failure, match=r"MONGO_URI.*requirements-embedded\.lock"):
        embedded.EmbeddedDatabase(tmp_path)
    assert list(tmp_path.iterdir()) == []
