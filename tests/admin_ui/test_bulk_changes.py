"""Changes of many chats at once, and undoing changes."""

from __future__ import annotations

import re
from typing import Any

import pytest
from werkzeug.test import TestResponse

from chatapi.domain.documents import Chat
from chatapi.services import chats, users
from tests.admin_ui.conftest import Browser, stored
from tests.conftest import MakeChat, MakeSession, MakeUser


def test_many_chats_are_changed_at_once(agent: Browser, make_chat: MakeChat) -> None:
    made = [str(make_chat()["_id"]) for _ in range(3)]
    response = agent.post("/admin/chats/bulk", ids=made, status="closed")
    assert "3 chats changed." in response.text
    assert "console:deselect" in response.headers["HX-Trigger"]
    agent.post("/admin/chats/bulk", ids=made[:2], adminId="me")
    text = agent.fragment("/admin").text
    assert text.count('<span class="chip status-closed">') == 3
    assert text.count('<span class="assignee" dir="auto">Ada Agent') == 2


def test_what_refused_is_named_with_the_reason(
    agent: Browser, make_chat: MakeChat, make_session: MakeSession
) -> None:
    user = make_session()
    old = make_chat(user, subject="The old one")
    chats.update(agent.session, old["_id"], status="closed")
    make_chat(user)
    other = make_chat()
    given = [str(old["_id"]), "a" * 24, str(other["_id"])]
    response = agent.post("/admin/chats/bulk", ids=given, status="active")
    assert response.status_code == 200
    assert "1 chat changed. 2 refused:" in response.text
    assert "The old one" in response.text
    assert "The user has another open chat" in response.text
    assert "no chat with this id" in response.text
    page = agent.post("/admin/chats/bulk", htmx=False, ids=given, status="active")
    assert "2 refused" in page.text


@pytest.mark.parametrize("fields", [{"status": "closed"}, {"ids": ["a" * 24]}, {}])
def test_a_bulk_change_of_nothing_is_refused(agent: Browser, fields: dict[str, Any]) -> None:
    assert agent.post("/admin/chats/bulk", **fields).status_code == 422


def undo_fields(response: TestResponse) -> dict[str, Any]:
    """Return the fields of the form that a toast offers to undo with."""
    found = re.findall(r'name="(name|after|ids|before)" value="([^"]*)"', response.text)
    fields: dict[str, Any] = {"ids": [], "before": []}
    for name, value in found:
        if name in {"ids", "before"}:
            fields[name].append(value)
        else:
            fields[name] = value
    return fields


def test_a_closing_is_undone_unless_the_chat_was_changed_meanwhile(
    agent: Browser, chat: Chat
) -> None:
    path = f"/admin/chats/{chat['_id']}"
    for after in ("active", "archived"):
        fields = undo_fields(agent.post(path, status="closed"))
        if after == "archived":
            chats.update(agent.session, chat["_id"], status="archived")
        response = agent.post("/admin/chats/undo", **fields)
        assert response.status_code == (200 if after == "active" else 409)
        assert stored(agent, chat)["status"] == after
    assert "changed meanwhile" in response.text
    assert 'class="undo"' not in agent.post(path, priority="low").text


@pytest.mark.parametrize("name", ["after", "before"])
def test_a_status_that_does_not_exist_is_not_undone_to(
    agent: Browser, chat: Chat, name: str
) -> None:
    fields = undo_fields(agent.post(f"/admin/chats/{chat['_id']}", status="closed"))
    fields[name] = "done" if name == "after" else ["done"]
    assert agent.post("/admin/chats/undo", **fields).status_code == 422
    assert stored(agent, chat)["status"] == "closed"


def test_an_assignment_is_undone(agent: Browser, chat: Chat, make_user: MakeUser) -> None:
    other = make_user(name="Olu Other", role="admin")
    path = f"/admin/chats/{chat['_id']}"
    agent.post(path, adminId=str(other["_id"]))
    fields = undo_fields(agent.post(path, adminId="me"))
    agent.post("/admin/chats/undo", **fields)
    assert stored(agent, chat)["adminId"] == other["_id"]
    # Who had it cannot have it any more: it is refused, by name of what is wrong.
    fields = undo_fields(agent.post(path, adminId=""))
    users.update_user(agent.session, other["_id"], {"disabled": True})
    response = agent.post("/admin/chats/undo", **fields)
    assert response.status_code == 422
    assert stored(agent, chat)["adminId"] is None


def test_a_bulk_change_is_undone_where_it_changed_something(
    agent: Browser, make_chat: MakeChat
) -> None:
    made = [make_chat() for _ in range(3)]
    chats.update(agent.session, made[1]["_id"], status="pending")
    chats.update(agent.session, made[2]["_id"], status="closed")
    response = agent.post(
        "/admin/chats/bulk", ids=[str(each["_id"]) for each in made], status="closed"
    )
    fields = undo_fields(response)
    assert fields["before"] == ["active", "pending"]
    agent.post("/admin/chats/undo", **fields)
    assert [stored(agent, each)["status"] for each in made] == ["active", "pending", "closed"]
    fields["before"].pop()
    assert agent.post("/admin/chats/undo", **fields).status_code == 422
