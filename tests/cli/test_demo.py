"""`flask seed-demo`: complete, believable, once, and without a trace of a crash."""

from __future__ import annotations

import json
import re
import stat
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import mongomock
import pytest
from click.testing import Result
from flask import Flask
from pymongo.database import Database

from chatapi import create_app
from chatapi.cli import demo, demo_people, demo_plan
from chatapi.domain.enums import OPEN_STATUSES, PRIORITIES, STATUSES
from chatapi.domain.lengths import MAX_MESSAGE_LENGTH, MAX_SUBJECT_LENGTH
from chatapi.schemas import field_types
from chatapi.services import accounts, messages, sessions, users
from chatapi.store import indexes, migrations
from chatapi.store.database import Document
from config import TestConfig
from tests.cli.conftest import BreakWrites
from tests.conftest import CLIENT, MakeUser

NOW = datetime(2026, 3, 12, 15, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def plan() -> list[demo_plan.PlannedChat]:
    return demo_plan.plan(NOW)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "var"


@pytest.fixture
def small(app: Flask, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Flask:
    """The app with a data directory of its own and a demo of few chats."""
    monkeypatch.setattr(demo_plan, "CLOSED_CHATS", 6)
    monkeypatch.setattr(demo_plan, "OPEN_CHATS", 5)
    monkeypatch.setattr(demo_plan, "LONG_CHAT_MESSAGES", 8)
    everybody = _few_people()
    monkeypatch.setattr(demo_people, "people", lambda: everybody)
    app.config.update(DATA_DIR=str(data_dir), PORT=8123)
    return app


def _few_people() -> demo_people.People:
    everybody = demo_people.people()
    return demo_people.People(
        everybody.admin, everybody.agents[:2], everybody.users[:8], everybody.guests[:4]
    )


def seed(app: Flask, *arguments: str) -> Result:
    return app.test_cli_runner().invoke(args=["seed-demo", *arguments])


def logins(data_dir: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((data_dir / "demo.json").read_text(encoding="utf-8"))
    return found


def stored(database: Database[Document]) -> dict[str, list[Document]]:
    return {
        name: list(database[name].find().sort("_id")) for name in ("users", "chatrooms", "messages")
    }


def test_plan_has_what_a_console_shows(plan: list[demo_plan.PlannedChat]) -> None:
    assert len(plan) >= 120
    statuses = Counter(chat.status for chat in plan)
    assert set(statuses) == set(STATUSES)
    assert statuses["active"] + statuses["pending"] >= 40
    assert {chat.priority for chat in plan} == set(PRIORITIES)
    assert {chat.category for chat in plan} == set(TestConfig.CHAT_CATEGORIES)
    assert {chat.agent is None for chat in plan} == {True, False}
    assert {chat.read_by_agents == len(chat.lines) for chat in plan} == {True, False}
    assert {chat.read_by_user == len(chat.lines) for chat in plan} == {True, False}
    assert max(len(chat.lines) for chat in plan) == 1500
    everybody = demo_people.people()
    assert len(everybody.agents) >= 3
    assert len(everybody.users) >= 20


def test_plan_never_gives_anybody_two_chats_at_a_time(plan: list[demo_plan.PlannedChat]) -> None:
    ended: dict[str, datetime] = {}
    for chat in plan:
        times = [line.at for line in chat.lines]
        assert times == sorted(times)
        assert times[-1] <= (chat.ended or NOW) <= NOW
        begun = ended.get(chat.owner)
        assert begun is None or begun < times[0]
        ended[chat.owner] = chat.ended or datetime.max.replace(tzinfo=UTC)


def test_every_text_of_the_plan_is_one_that_the_api_takes(
    plan: list[demo_plan.PlannedChat],
) -> None:
    text = field_types.Text(1, MAX_MESSAGE_LENGTH, multiline=True)
    for chat in plan:
        assert field_types.Text(1, MAX_SUBJECT_LENGTH).deserialize(chat.subject) == chat.subject
        for line in chat.lines:
            assert line.speaker in {"user", "admin", "other"}
            assert text.deserialize(line.text) == line.text
            assert not re.search(r"\{\w+\}", line.text)
        assert chat.lines[0].speaker == "user"


def test_plan_of_the_same_moment_is_the_same(plan: list[demo_plan.PlannedChat]) -> None:
    assert demo_plan.plan(NOW) == plan


def test_people_have_accounts_of_their_own() -> None:
    everybody = demo_people.people()
    emails = [
        person.email
        for person in (
            everybody.admin,
            *everybody.agents,
            *everybody.users,
            *everybody.guests,
        )
    ]
    assert len(set(emails)) == len(emails)
    assert [field_types.EmailAddress().deserialize(email) for email in emails] == emails


def test_seed_writes_logins_that_work_into_a_private_file(small: Flask, data_dir: Path) -> None:
    result = seed(small)
    assert result.exit_code == 0, result.output
    file = data_dir / "demo.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not (data_dir / "demo.json.part").exists()
    found = logins(data_dir)
    assert found["baseUrl"] == "http://127.0.0.1:8123"
    for role, row in [
        ("admin", found["admin"]),
        ("admin", found["agents"][0]),
        ("user", found["users"][0]),
        ("user", found["users"][-1]),
    ]:
        session, _ = accounts.login(row["email"], row["password"], CLIENT)
        assert session.role == role
    every = [found["admin"], *found["agents"], *found["users"]]
    assert len({row["password"] for row in every}) == len(every)


def test_seed_loads_the_plan(small: Flask, database: Database[Document]) -> None:
    assert seed(small).exit_code == 0
    rows = list(database["chatrooms"].find())
    assert len(rows) == 12
    admin = users.find("admin@fernhill.example")
    assert admin
    for row in rows:
        assert row["lastMessageAt"] < datetime.now(UTC)
        assert row["createdAt"] <= row["lastMessageAt"]
        chat, history = messages.history(sessions.session_for(admin), row["_id"])
        unread = [m for m in history if m["senderRole"] != "admin" and not m["isRead"]]
        assert chat["unread"]["admin"] == len(unread)
        assert chat["lastSeq"] == len(history)


def test_seed_runs_once(small: Flask, database: Database[Document], data_dir: Path) -> None:
    seed(small)
    before, known = stored(database), logins(data_dir)
    result = seed(small)
    assert result.exit_code == 0
    assert "there already" in result.output
    assert stored(database) == before
    assert logins(data_dir) == known


@pytest.mark.parametrize("survived", [0, 1, 2, 3, 17, 40])
def test_seed_after_a_crash_leaves_nothing_twice(
    small: Flask,
    database: Database[Document],
    data_dir: Path,
    break_writes: BreakWrites,
    survived: int,
) -> None:
    with break_writes(survived):
        assert seed(small).exit_code == 1
    assert not (data_dir / "demo.json").exists()
    unfinished = data_dir / "demo.json.part"
    assert stat.S_IMODE(unfinished.stat().st_mode) == 0o600
    known = json.loads(unfinished.read_text(encoding="utf-8"))

    assert seed(small).exit_code == 0
    assert logins(data_dir) == known
    assert database["chatrooms"].count_documents({}) == 12
    for row in database["chatrooms"].find():
        assert database["messages"].count_documents({"chatId": row["_id"]}) == row["lastSeq"]
    guests = [row["email"] for row in database["users"].find({"role": "guest"})]
    assert len(set(guests)) == len(guests)


def test_seed_into_a_new_database_keeps_the_passwords(small: Flask, data_dir: Path) -> None:
    seed(small)
    known = logins(data_dir)
    fresh: Database[Document] = mongomock.MongoClient(tz_aware=True)["fresh"]
    migrations.run(fresh)
    indexes.ensure(fresh, validators=False)
    other = create_app(TestConfig, database=fresh)
    other.config.update(DATA_DIR=str(data_dir), PORT=8123)
    assert seed(other).exit_code == 0
    assert logins(data_dir) == known
    accounts.login(known["admin"]["email"], known["admin"]["password"], CLIENT)


def test_seed_follows_a_new_address(small: Flask, data_dir: Path) -> None:
    seed(small)
    known = logins(data_dir)
    small.config["PUBLIC_URL"] = "https://chat.example"
    assert seed(small).exit_code == 0
    assert logins(data_dir) == known | {"baseUrl": "https://chat.example"}


def test_seed_refuses_accounts_it_does_not_know(
    small: Flask, make_user: MakeUser, database: Database[Document], data_dir: Path
) -> None:
    make_user(name="Somebody", email="wei@fernhill.example")
    make_user(name="Ingrid", email="ingrid@fernhill.example")
    before = stored(database)
    result = seed(small)
    assert result.exit_code == 1
    assert "ingrid@fernhill.example" in result.output
    assert stored(database) == before
    assert sorted(path.name for path in data_dir.iterdir()) == ["demo.lock"]


def test_seed_names_a_broken_file(
    small: Flask, database: Database[Document], data_dir: Path
) -> None:
    data_dir.mkdir()
    for content in ("{", "[]", '{"admin": 1}', '{"admin": {"email": "a"}}'):
        (data_dir / "demo.json").write_text(content)
        result = seed(small)
        assert result.exit_code == 1
        assert "demo.json" in result.output
        assert isinstance(result.exception, SystemExit)
    assert database["users"].count_documents({}) == 0


def test_seed_refuses_production(small: Flask, database: Database[Document]) -> None:
    small.config["APP_ENV"] = "production"
    result = seed(small)
    assert result.exit_code == 1
    assert "--yes" in result.output
    assert database["users"].count_documents({}) == 0


def test_seed_in_production_when_told_to(small: Flask, database: Database[Document]) -> None:
    small.config["APP_ENV"] = "production"
    assert seed(small, "--yes").exit_code == 0
    assert database["chatrooms"].count_documents({}) == 12


def test_seed_knows_no_category_but_the_configured_ones(
    small: Flask, database: Database[Document]
) -> None:
    small.config["CHAT_CATEGORIES"] = ("questions", "billing")
    assert seed(small).exit_code == 0
    assert set(database["chatrooms"].distinct("category")) <= {"questions", "billing"}


def test_private_file_is_never_readable_by_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes = []
    replace = Path.replace

    def watched(self: Path, target: Path) -> Path:
        modes.append(stat.S_IMODE(self.stat().st_mode))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", watched)
    file = tmp_path / "demo.json"
    file.write_text("old")
    file.chmod(0o644)
    demo._write_private(file, {"baseUrl": "new"})
    assert modes == [0o600]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_demo_users_have_at_most_one_open_chat(small: Flask, database: Database[Document]) -> None:
    seed(small)
    open_chats = Counter(
        row["userId"]
        for row in database["chatrooms"].find({"status": {"$in": list(OPEN_STATUSES)}})
    )
    assert set(open_chats.values()) == {1}
