"""`flask import-conversations` on the real database, and when something is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from pymongo import MongoClient
from pymongo.database import Database

from chatapi.store.database import Document
from deploy import run
from tests.servers import DatabaseServer

CONVERSATIONS, LENGTH = 40, 10


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Conversations of our own writing, no two messages alike."""
    path = tmp_path / "conversations.jsonl"
    with path.open("w", encoding="utf-8") as lines:
        for number in range(CONVERSATIONS):
            spoken = [
                {
                    "role": ("user", "admin")[seq % 2],
                    "text": f"Message {seq} of talk {number}:\n«näïve» 🌱 {'文' * (seq + 1)}",
                }
                for seq in range(LENGTH)
            ]
            row = {"id": f"Live {number}", "subject": f"Talk {number}", "messages": spoken}
            lines.write(json.dumps(row, ensure_ascii=number % 2 == 0) + "\n")
    return path


def flask(uri: str, *arguments: object, data_dir: Path) -> subprocess.Popen[str]:
    environment = {
        **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
        "MONGO_URI": uri,
        "DATA_DIR": str(data_dir),
    }
    return subprocess.Popen(
        [sys.executable, "-m", "flask", "--app", "wsgi", *map(str, arguments)],
        cwd=run.ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for_messages(uri: str, count: int, writer: subprocess.Popen[str]) -> None:
    with MongoClient[dict[str, Any]](uri) as client:
        messages = client.get_default_database()["messages"]
        end = time.monotonic() + 30
        while messages.count_documents({}) < count:
            assert writer.poll() is None, writer.communicate()[0]
            assert time.monotonic() < end, "the import does not get on"
            time.sleep(0.01)


def assert_imported(database: Database[Document], file: Path) -> None:
    """Check against the documents themselves, without the command's own comparison."""
    chats = {row["subject"]: row for row in database["chatrooms"].find()}
    assert len(chats) == database["chatrooms"].count_documents({})
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert set(chats) == {line["subject"] for line in lines}
    for line in lines:
        chat = chats[line["subject"]]
        found = database["messages"].find({"chatId": chat["_id"]}).sort("seq")
        assert [(row["seq"], row["senderRole"], row["content"]) for row in found] == [
            (seq, message["role"], message["text"])
            for seq, message in enumerate(line["messages"], start=1)
        ]
        assert chat["lastSeq"] == chat["messageCount"] == len(line["messages"])
        assert chat["unread"] == {"user": 0, "admin": 0}
        assert chat["status"] == "closed"


def test_import_and_verify_on_the_real_database(
    app: Flask, database: Database[Document], file: Path
) -> None:
    runner = app.test_cli_runner()
    result = runner.invoke(args=["import-conversations", str(file)])
    assert result.exit_code == 0, result.output
    assert "40 conversations imported" in result.output
    assert_imported(database, file)
    result = runner.invoke(args=["import-conversations", str(file), "--verify"])
    assert result.exit_code == 0, result.output
    assert "40 conversations with 400 messages are equal" in result.output


@pytest.mark.long
@pytest.mark.parametrize("victim", ["command", "database"])
def test_killed_import_is_completed_by_the_next(
    own_database: DatabaseServer, file: Path, tmp_path: Path, victim: str
) -> None:
    with flask(own_database.uri, "init-db", data_dir=tmp_path) as prepared:
        output, _ = prepared.communicate(timeout=60)
        assert prepared.returncode == 0, output
    command = ("import-conversations", file)
    with flask(own_database.uri, *command, data_dir=tmp_path) as killed:
        wait_for_messages(own_database.uri, 45, killed)
        if victim == "command":
            killed.send_signal(signal.SIGKILL)
            killed.wait(30)
        else:
            own_database.kill()
            output, _ = killed.communicate(timeout=60)
            assert killed.returncode == 1
            assert "continues where it stopped" in output
            own_database.start()
    with flask(own_database.uri, *command, data_dir=tmp_path) as again:
        output, _ = again.communicate(timeout=60)
        assert again.returncode == 0, output
    with MongoClient[dict[str, Any]](own_database.uri) as client:
        assert_imported(client.get_default_database(), file)
