"""`flask import-conversations`: what is in the file is in the chat, once, or is refused."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import mongomock
import pytest
from bson import ObjectId
from click.testing import Result
from flask import Flask
from pymongo.database import Database
from pymongo.errors import AutoReconnect

from chatapi.cli import import_file, imports
from chatapi.services import chats, users
from chatapi.store.database import Document
from tests.cli.conftest import BreakWrites
from tests.conftest import PASSWORD, MakeSession, MakeUser


def conversation(number: object = 1, *texts: str, **changes: Any) -> dict[str, Any]:
    spoken = [
        {"role": ("user", "admin")[index % 2], "text": text}
        for index, text in enumerate(texts or ("My kettle leaks.", "Where, at the spout?"))
    ]
    return {"id": f"talk_{number}", "subject": "Kettle", "messages": spoken} | changes


Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """`write(*rows)` -> a file with a line for each row, an object or raw bytes."""

    def make(*rows: dict[str, Any] | bytes) -> Path:
        file = tmp_path / "conversations.jsonl"
        lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
        file.write_bytes(b"".join(line + b"\n" for line in lines))
        return file

    return make


def run(app: Flask, file: Path, *options: str) -> Result:
    return app.test_cli_runner().invoke(args=["import-conversations", str(file), *options])


def content(database: Database[Document]) -> list[tuple[str, int, str, str]]:
    """Return subject, seq, role and text of what readers see."""
    subjects = {row["_id"]: row["subject"] for row in database["chatrooms"].find()}
    return sorted(
        (subjects[row["chatId"]], row["seq"], row["senderRole"], row["content"])
        for row in database["messages"].find({"chatId": {"$in": list(subjects)}})
    )


def stored(database: Database[Document]) -> list[list[Document]]:
    return [list(database[name].find().sort("_id")) for name in ("chatrooms", "messages")]


def test_import_keeps_every_text_and_its_order(
    app: Flask, database: Database[Document], make_user: MakeUser, write: Write
) -> None:
    make_user(role="admin")
    texts = ("مرحبا 👋\n\n\tزرقة", "x" * 5000, "<b>&amp;</b>", "a  b\r\nc", "e\u0301 é", "a\u2028b")
    result = run(app, write(conversation(1, *texts)))
    assert result.exit_code == 0, result.output
    assert content(database) == [
        ("Kettle", seq, ("user", "admin")[(seq - 1) % 2], text)
        for seq, text in enumerate(texts, start=1)
    ]
    chat = database["chatrooms"].find_one({})
    assert chat
    assert chat["status"] == "closed"
    assert chat["unread"] == {"user": 0, "admin": 0}
    assert run(app, write(conversation(1, *texts)), "--verify").exit_code == 0


def test_import_twice_writes_nothing_more(
    app: Flask, database: Database[Document], write: Write
) -> None:
    file = write(conversation(1), conversation(2))
    run(app, file)
    before = stored(database)
    result = run(app, file)
    assert result.exit_code == 0
    assert "2 were there already; 0 messages written" in result.output
    assert stored(database) == before


@pytest.mark.parametrize("survived", range(12))
def test_import_goes_on_where_it_was_cut_off(
    app: Flask,
    database: Database[Document],
    write: Write,
    break_writes: BreakWrites,
    survived: int,
) -> None:
    file = write(conversation(1, "a", "b", "c", "d"), conversation(2, "e", "f", "g", "h"))
    with break_writes(survived):
        result = run(app, file)
    assert result.exit_code == 1
    assert "continues where it stopped" in result.output
    result = run(app, file)
    assert result.exit_code == 0
    assert sorted(text for *_, text in content(database)) == [*"abcdefgh"]
    assert database["users"].count_documents({"role": "user"}) == 2
    assert run(app, file, "--verify").exit_code == 0


def outcome(database: Database[Document]) -> list[str]:
    """Return all that readers see of an import, but for ids, times and versions."""
    chats = {row["_id"]: row for row in database["chatrooms"].find()}
    messages = list(database["messages"].find({"chatId": {"$in": list(chats)}}))
    for message in messages:
        chat = chats[message["chatId"]]
        if message["seq"] == chat["lastSeq"]:
            times = (chat["lastMessageAt"], chat["lastMessage"].pop("timestamp"))
            assert times == (message["timestamp"], message["timestamp"])
    found = [*database["users"].find(), *chats.values(), *messages]
    return sorted(repr({k: v for k, v in row.items() if lasts(k, v)}) for row in found)


def lasts(key: str, value: Any) -> bool:
    return key not in {"version", "idempotencyKey"} and not isinstance(value, datetime | ObjectId)


def break_database(patch: pytest.MonkeyPatch, survived: int) -> None:
    """Let the database be gone after so many writes, whatever they write."""
    left = itertools.count(survived, -1)

    def breaking(write: Callable[..., Any]) -> Callable[..., Any]:
        def attempt(*arguments: Any, **options: Any) -> Any:
            if next(left) <= 0:
                raise AutoReconnect("the cable was pulled")
            return write(*arguments, **options)

        return attempt

    for name in ("insert_one", "insert_many", "update_one", "update_many", "delete_many"):
        patch.setattr(mongomock.Collection, name, breaking(getattr(mongomock.Collection, name)))


def test_import_killed_after_any_write_ends_like_one_that_was_not(
    app: Flask,
    database: Database[Document],
    make_user: MakeUser,
    write: Write,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_user(role="admin")
    before = database["users"].find_one({})
    assert before
    by_agent = [{"role": role, "text": role} for role in ("admin", "user", "admin")]
    file = write(conversation(1, "a", "b", "c"), conversation(2, messages=by_agent))
    assert run(app, file).exit_code == 0
    wanted = outcome(database)

    for survived in itertools.count():
        for name in ("chatrooms", "messages", "users"):
            database[name].delete_many({"_id": {"$ne": before["_id"]}})
        with monkeypatch.context() as patch:
            break_database(patch, survived)
            killed = run(app, file)
        assert run(app, file).exit_code == 0
        assert outcome(database) == wanted, f"after {survived} writes"
        if killed.exit_code == 0:
            break
    assert survived > 15


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"{", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b'{"id": "a", "id": "b", "subject": "s", "messages": []}', "'id' stands twice"),
        (b'"\xff"', "not UTF-8 (byte 2)"),
        (b'{"id": NaN, "subject": "s", "messages": []}', "not valid JSON (NaN"),
        (b'{"id": -Infinity, "subject": "s", "messages": []}', "not valid JSON (-Infinity"),
        (b'{"id": 1e400, "subject": "s", "messages": []}', "not valid JSON (A number is too"),
        (b"[1]", "line: must be an object, not [1]"),
        ({"id": "a", "subject": "s"}, "messages: is missing"),
        (conversation(2, subject=""), "subject: Must not be empty."),
        (conversation(2, subject="s" * 201), "subject: Must have at most 200"),
        (conversation(2, subject=["s"]), "subject: Not a valid string."),
        (conversation(2, id=7), "id: Not a valid string."),
        (conversation(2, id="i" * 65), "id: Must have at most 64"),
        (conversation(2, messages=[]), "messages: must be a list of at least one"),
        (conversation(2, messages={"role": "user"}), "messages: must be a list"),
        (conversation(2, messages=["hello"]), "messages[0]: must be an object, not 'hello'"),
        (conversation(2, messages=[{"role": "user"}]), "messages[0].text: is missing"),
        (conversation(2, messages=[{"text": "t"}]), "messages[0].role: is missing"),
        (
            conversation(2, messages=[{"role": "system", "text": "t"}]),
            "messages[0].role: must be one of user, admin, not 'system'",
        ),
        (
            conversation(2, messages=[{"role": ["user"], "text": "t"}]),
            "messages[0].role: must be one of",
        ),
        (conversation(2, "ok", "x" * 5001), "messages[1].text: Must have at most 5,000"),
        (conversation(2, "ok", " padded"), "messages[1].text: begins or ends with white space"),
        (conversation(2, "  "), "messages[0].text: Must not be empty."),
        (conversation(2, "nul \0 inside"), "messages[0].text: Must not contain control"),
        (conversation(2, "half \ud83d pair"), "messages[0].text: Must not contain control"),
        (conversation(2, priority="high"), "'priority': unknown field"),
        (conversation(1), "id: 'talk_1' is on line 1 already"),
    ],
)
def test_bad_line_is_named_and_nothing_is_imported(
    app: Flask, database: Database[Document], write: Write, line: Any, problem: str
) -> None:
    file = write(conversation(1), b"", line, conversation(3))
    result = run(app, file)
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert f"line 3: {problem}" in result.output
    assert database["users"].count_documents({}) == 0
    assert database["messages"].count_documents({}) == 0


def test_skip_bad_lists_the_bad_and_imports_the_others(
    app: Flask, database: Database[Document], write: Write
) -> None:
    file = write(conversation(1), b"{", conversation(3, subject="Toaster"))
    result = run(app, file, "--skip-bad")
    assert result.exit_code == 0
    assert "line 2: not valid JSON" in result.output
    assert sorted(database["chatrooms"].distinct("subject")) == ["Kettle", "Toaster"]


def test_trim_imports_what_the_chat_would_trim(
    app: Flask, database: Database[Document], write: Write
) -> None:
    file = write(conversation(1, " \n in the middle \n", "ok"))
    assert run(app, file, "--trim").exit_code == 0
    assert [text for *_, text in content(database)] == ["in the middle", "ok"]
    assert run(app, file, "--trim", "--verify").exit_code == 0


def test_file_without_conversations_is_refused(app: Flask, write: Write) -> None:
    result = run(app, write(b"", b"  "))
    assert result.exit_code == 1
    assert "no conversation" in result.output


def test_ids_that_differ_by_case_or_signs_are_different_people(
    app: Flask, database: Database[Document], write: Write
) -> None:
    ids = ["a", "A", "a b", "a@b", "ä", "a-1", "a_1", "x" * 64]
    file = write(*(conversation(id=each) for each in ids))
    assert run(app, file).exit_code == 0
    assert database["chatrooms"].count_documents({}) == len(ids)
    assert database["users"].count_documents({"role": "user"}) == len(ids)
    assert run(app, file, "--verify").exit_code == 0


def test_names_of_imported_people_hold_nothing_invisible(
    app: Flask, database: Database[Document], write: Write
) -> None:
    assert run(app, write(conversation("ab\u202ecd\u200b"))).exit_code == 0
    names = database["users"].distinct("name")
    assert any(name.endswith("abcd") for name in names)
    assert not any("\u202e" in name or "\u200b" in name for name in names)


def test_agent_may_begin(app: Flask, database: Database[Document], write: Write) -> None:
    spoken = [{"role": "admin", "text": "Still leaking?"}, {"role": "admin", "text": "Hello?"}]
    assert run(app, write(conversation(messages=spoken))).exit_code == 0
    assert [row[2:] for row in content(database)] == [
        ("admin", "Still leaking?"),
        ("admin", "Hello?"),
    ]


def test_status_and_agent_can_be_chosen(
    app: Flask, database: Database[Document], make_user: MakeUser, write: Write
) -> None:
    agent = make_user(role="admin", name="Ada", email="ada@example.org")
    options = ("--status", "pending", "--agent", "ADA@example.org")
    assert run(app, write(conversation()), *options).exit_code == 0
    chat = database["chatrooms"].find_one({})
    assert chat
    assert (chat["status"], chat["adminId"], chat["adminName"]) == ("pending", agent["_id"], "Ada")


@pytest.mark.parametrize("email", ["nobody@example.org", "user@example.org"])
def test_unknown_agent_is_refused(
    app: Flask, database: Database[Document], make_user: MakeUser, write: Write, email: str
) -> None:
    make_user(email="user@example.org")
    result = run(app, write(conversation()), "--agent", email)
    assert result.exit_code == 2
    assert email in result.output
    assert database["chatrooms"].count_documents({}) == 0


def test_own_agent_rests_after_the_import(app: Flask, make_user: MakeUser, write: Write) -> None:
    make_user(role="admin", name="Ada")
    for number in (1, 2):
        assert run(app, write(conversation(number))).exit_code == 0
        agent = users.find(imports.AGENT_EMAIL)
        assert agent
        assert agent["disabled"]
        assert [admin["name"] for admin in users.list_admins()] == ["Ada"]


def test_own_agent_stays_while_it_is_the_only_one(app: Flask, write: Write) -> None:
    result = run(app, write(conversation()))
    assert result.exit_code == 0
    assert "create-admin" in result.output


def test_nobody_can_sign_in_as_the_imported(app: Flask, write: Write) -> None:
    run(app, write(conversation()))
    client = app.test_client()
    for email in (imports.AGENT_EMAIL, f"import+talk_1@{import_file.DOMAIN}"):
        assert users.find(email)
        for password in ("", PASSWORD, "None"):
            answer = client.post("/api/auth/login", json={"email": email, "password": password})
            assert answer.status_code in {401, 422}


@pytest.mark.parametrize("email", [f"import+talk_1@{import_file.DOMAIN}", imports.AGENT_EMAIL])
def test_import_gives_nothing_to_somebody_who_took_the_address(
    app: Flask, database: Database[Document], make_user: MakeUser, write: Write, email: str
) -> None:
    make_user(email=email)
    result = run(app, write(conversation()))
    assert result.exit_code == 1
    assert email in result.output
    assert database["chatrooms"].count_documents({}) == 0


def test_import_leaves_a_chat_alone_that_holds_something_else(
    app: Flask, database: Database[Document], write: Write
) -> None:
    run(app, write(conversation(1)))
    before = stored(database)
    for other in (
        conversation(1, "My kettle sings.", "Where, at the spout?"),
        conversation(1, subject="Pan"),
        conversation(1, "My kettle leaks.", "Where, at the spout?", "Yes."),
    ):
        result = run(app, write(other))
        assert result.exit_code == 1
        assert "talk_1: the chat" in result.output
        assert stored(database) == before


def test_verify_writes_nothing_and_names_what_is_missing(
    app: Flask, database: Database[Document], write: Write
) -> None:
    result = run(app, write(conversation(1)), "--verify")
    assert result.exit_code == 1
    assert "talk_1: is not there" in result.output
    assert database["users"].count_documents({}) == 0


def test_verify_finds_a_single_changed_letter(
    app: Flask, database: Database[Document], write: Write
) -> None:
    file = write(conversation(1), conversation(2))
    run(app, file)
    database["messages"].update_one({"content": "My kettle leaks."}, {"$set": {"content": "My"}})
    result = run(app, file, "--verify")
    assert result.exit_code == 1
    assert "1 conversations with 2 messages are equal" in result.output
    assert "something else as message 1" in result.output


def test_verify_finds_a_message_too_many(
    app: Flask, database: Database[Document], write: Write, make_session: MakeSession
) -> None:
    file = write(conversation(1))
    run(app, file, "--status", "active")
    chat = database["chatrooms"].find_one({})
    assert chat
    chats.update(make_session("admin"), chat["_id"], message="One more thing.")
    result = run(app, file, "--verify")
    assert result.exit_code == 1
    assert "has 3 messages, the file 2" in result.output
    assert run(app, file).exit_code == 0
