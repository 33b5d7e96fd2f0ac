"""The embedded database as `make run` starts it: no sweeper, a login, no stranger believed."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bson
import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from chatapi.domain import clock
from deploy import run
from deploy.embedded import EmbeddedDatabase
from deploy.process import Failure
from tests.live.impostor import HANDSHAKE, Impostor
from tests.servers import start_app, start_database
from tests.tiers import representatives

SWEEPER = "_ttl_sweep_loop"
ACCEPTS = "_serve_forever"
# What start() needs of the supervisor's signals.
SIGNALS: Any = SimpleNamespace(pause=time.sleep)


def connect(uri: str) -> MongoClient[dict[str, Any]]:
    return MongoClient(uri, serverSelectionTimeoutMS=5000, tz_aware=True)


def dump(command: list[str], log: Path, port: int) -> str:
    """Start a database, end it with SIGABRT, and return what it wrote."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [command[0], "-X", "faulthandler", *command[1:]],
            stderr=output,
            stdout=output,
            cwd=log.parent,
        )
        try:
            end = time.monotonic() + 30
            while not run.answers(port):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < end, log.read_text()
                time.sleep(0.02)
            # It listens before its threads run; one that answers runs them.
            with connect(f"mongodb://127.0.0.1:{port}/?directConnection=true") as client:
                client.admin.command("hello")
            process.send_signal(signal.SIGABRT)
            process.wait(timeout=10)
        finally:
            process.kill()
            process.wait()
    return log.read_text()


def stacks(command: list[str], log: Path, port: int) -> str:
    """Return the stacks of all threads of a database.

    Python walks the stacks while the threads run on, and now and then follows
    one that has just gone: the dump then ends early, in a segmentation fault.
    Such a dump proves nothing, and another is taken.
    """
    for _ in range(10):
        text = dump(command, log, port)
        if "Segmentation fault" not in text:
            return text
    raise AssertionError(text)


@pytest.mark.long
def test_no_sweeper_runs_in_the_database_of_the_product(tmp_path: Path) -> None:
    port = run.free_port()

    ours = stacks(run.database_command(tmp_path / "ours", port), tmp_path / "ours.log", port)

    assert ACCEPTS in ours
    assert SWEEPER not in ours


@pytest.mark.long
def test_the_servers_own_command_line_does_start_a_sweeper(tmp_path: Path) -> None:
    """If this fails the server's makers have mended it, and the launcher may go."""
    (tmp_path / "secantusd.toml").write_text("[storage]\nttl_sweep_seconds = 0\n")
    port = run.free_port()
    command = [sys.executable, "-m", "secantus", "--config", str(tmp_path / "secantusd.toml")]
    command += ["--port", str(port), "--storage-path", str(tmp_path / "theirs")]

    assert SWEEPER in stacks(command, tmp_path / "theirs.log", port)


@pytest.mark.long
def test_expired_sessions_are_removed_without_the_sweeper(tmp_path: Path) -> None:
    with start_database(tmp_path / "db") as server, connect(server.uri) as client:
        sessions = client.livechat.sessions
        with start_app(server.uri, env={"RATELIMIT_ENABLED": "false"}) as app:
            ago = clock.now() - timedelta(hours=1)
            row = {"userId": bson.ObjectId(), "createdAt": ago, "expiresAt": ago}
            sessions.insert_many([{"_id": f"old{number}", **row} for number in range(60)])
            for number in range(3):
                who = {
                    "name": "Ada",
                    "email": f"ada{number}@example.org",
                    "password": "a long one 7",
                }
                assert app.request("POST", "/api/auth/register", json=who)[0] == 201

        assert sessions.count_documents({"expiresAt": {"$lt": clock.now()}}) == 0
        assert sessions.count_documents({}) == 3


@pytest.fixture
def embedded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddedDatabase]:
    """The database of a new data directory, with its login."""
    monkeypatch.setattr("deploy.embedded.PROBE_TIMEOUT_MS", 2000)
    database = EmbeddedDatabase(tmp_path / "var")
    database.start(SIGNALS)
    yield database
    database.close()
    database.child.kill()


def test_without_the_password_nothing_is_read_or_written(embedded: EmbeddedDatabase) -> None:
    embedded.write()
    bare = embedded.uri.replace(f"livechat:{embedded.password}@", "").split("?")[0]
    with connect(bare) as stranger:
        for attempt in (
            stranger.livechat.probes.find_one,
            lambda: stranger.livechat.probes.insert_one({}),
            stranger.list_database_names,
            lambda: stranger.admin.command("createUser", "me", pwd="mine", roles=["root"]),
        ):
            with pytest.raises(OperationFailure) as refused:
                attempt()
            assert refused.value.code == 13
    wrong = embedded.uri.replace(embedded.password, "x" * 43)
    with connect(wrong) as stranger, pytest.raises(OperationFailure):
        stranger.livechat.probes.find_one()


def test_the_password_is_private_and_in_no_command_line(embedded: EmbeddedDatabase) -> None:
    assert embedded.password_file.stat().st_mode & 0o777 == 0o600
    assert embedded.directory.stat().st_mode & 0o777 == 0o700
    assert len(embedded.password) >= 32
    process = embedded.child.process
    assert process is not None
    assert embedded.password not in Path(f"/proc/{process.pid}/cmdline").read_text()
    assert embedded.password not in " ".join(embedded.child.command)


@pytest.mark.long
def test_a_directory_without_a_login_gets_one_and_keeps_its_data(tmp_path: Path) -> None:
    with start_database(tmp_path / "var" / "db") as before, connect(before.uri) as client:
        client.livechat.users.insert_one({"_id": 1, "name": "Ada"})

    database = EmbeddedDatabase(tmp_path / "var")
    try:
        database.start(SIGNALS)
        with connect(database.uri) as client:
            assert client.livechat.users.find_one() == {"_id": 1, "name": "Ada"}
        bare = f"mongodb://127.0.0.1:{database.port}/livechat"
        with connect(bare) as stranger, pytest.raises(OperationFailure):
            stranger.livechat.users.find_one()
    finally:
        database.close()
        database.child.kill()


def test_a_directory_with_another_user_is_not_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with start_database(tmp_path / "var" / "db") as before, connect(before.uri) as client:
        client.admin.command("createUser", "backdoor", pwd="left behind", roles=["root"])
        before.stop()  # What is killed may lose a user that was just created.
    monkeypatch.setattr("deploy.embedded.RETRY_SECONDS", 1)

    database = EmbeddedDatabase(tmp_path / "var")
    with pytest.raises(Failure, match=r"users that this product did not make: admin\.backdoor"):
        database.start(SIGNALS)
    database.close()


@pytest.mark.parametrize(
    "damage", representatives(["lost", "empty", "readable by all", "not text"], "lost")
)
def test_a_password_that_cannot_be_used_is_replaced(
    embedded: EmbeddedDatabase, damage: str
) -> None:
    embedded.write()
    file, before = embedded.password_file, embedded.password
    embedded.close()
    embedded.child.kill()
    if damage == "lost":
        file.unlink()
    elif damage == "readable by all":
        file.chmod(0o644)
    else:
        file.write_bytes(b"" if damage == "empty" else b"\xff" * 40)

    again = EmbeddedDatabase(embedded.directory.parent)
    try:
        again.start(SIGNALS)

        assert again.password != before
        with connect(again.uri) as client:
            assert client.livechat.probes.find_one()
    finally:
        again.close()
        again.child.kill()


def test_a_stranger_on_the_port_is_not_believed(embedded: EmbeddedDatabase) -> None:
    embedded.child.kill()
    impostor = Impostor(embedded.port)
    try:
        for ask in (embedded.write, embedded.read):
            with pytest.raises(PyMongoError):
                ask()
        with connect(embedded.uri) as client, pytest.raises(OperationFailure, match="signature"):
            client.livechat.users.insert_one({"password": "secret"})

        assert "saslContinue" in impostor.commands
        assert set(impostor.commands) <= HANDSHAKE
    finally:
        impostor.close()


def test_a_database_whose_port_was_taken_before_it_starts_takes_another(tmp_path: Path) -> None:
    database = EmbeddedDatabase(tmp_path / "var")
    taken = database.port
    impostor = Impostor(taken)
    try:
        database.start(SIGNALS)

        assert database.port != taken
        database.write()
    finally:
        impostor.close()
        database.close()
        database.child.kill()
