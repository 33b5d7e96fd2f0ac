"""The open chat: changes, messages, reading, deletion."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask

from admin_ui import chats as views
from chatapi.domain import clock
from chatapi.domain.documents import Chat, UserChanges
from chatapi.schemas import categories
from chatapi.services import chats, messages, users
from chatapi.services.access import access_chat
from tests.admin_ui.conftest import Browser, Ids, stored
from tests.conftest import MakeChat, MakeSession, MakeUser
from tests.documents import preview_of


def test_status_priority_and_category_apply_at_once(agent: Browser, chat: Chat) -> None:
    agent.get("/admin")
    for name, value in (("status", "pending"), ("priority", "urgent"), ("category", "billing")):
        change: dict[str, Any] = {name: value}
        response = agent.post(f"/admin/chats/{chat['_id']}?first=1&new=0", **change)
        assert response.status_code == 200
        assert 'id="chat"' in response.text
        assert "hx-partial" in response.text
        assert "console:changed" in response.headers["HX-Trigger"]
        assert stored(agent, chat).get(name) == value


@pytest.mark.parametrize(
    "fields",
    [{"status": "odd"}, {"category": "odd"}, {"adminId": "odd"}, {"adminId": "a" * 24}, {}],
)
def test_a_change_to_what_is_none_is_refused(
    agent: Browser, chat: Chat, fields: dict[str, Any]
) -> None:
    response = agent.post(f"/admin/chats/{chat['_id']}", **fields)
    assert response.status_code == 422
    assert response.headers["HX-Retarget"] == "#toasts"
    assert stored(agent, chat)["version"] == 1


def test_assignment(agent: Browser, chat: Chat, make_user: MakeUser) -> None:
    other = make_user(name="Olu Other", role="admin")
    path = f"/admin/chats/{chat['_id']}"
    agent.post(path, adminId="me")
    assert stored(agent, chat)["adminName"] == "Ada Agent"
    assert "Assigned to Olu Other." in agent.post(path, adminId=str(other["_id"])).text
    assert stored(agent, chat)["adminId"] == other["_id"]
    agent.post(path, adminId="")
    assert stored(agent, chat)["adminId"] is None


def test_a_form_works_without_htmx(agent: Browser, chat: Chat) -> None:
    path = f"/admin/chats/{chat['_id']}"
    for where, fields in (
        (path, {"status": "pending"}),
        (f"{path}/messages", {"message": "Hi", "clientMessageId": "x1"}),
    ):
        response = agent.post(where, htmx=False, **fields)
        assert (response.status_code, response.location) == (303, path)
    assert preview_of(stored(agent, chat)) == "Hi"
    assert agent.post(f"{path}/delete", htmx=False).location == "/admin"


def test_sending(agent: Browser, chat: Chat) -> None:
    path = f"/admin/chats/{chat['_id']}/messages"
    fields: dict[str, Any] = {"message": "One\r\n\r\ntwo", "clientMessageId": "abc"}
    for _ in range(2):
        response = agent.post(f"{path}?first=1&new=0", **fields)
        assert response.status_code == 200
        assert 'id="m-2"' in response.text
    _, sent = messages.history(agent.session, chat["_id"])
    assert [each["content"] for each in sent] == ["Hello?", "One\n\ntwo"]
    assert sent[1]["senderName"] == "Ada Agent"


@pytest.mark.parametrize("text", ["", "   ", "x" * 5001])
def test_a_message_that_is_refused_is_explained_beside_the_field(
    agent: Browser, chat: Chat, text: str
) -> None:
    path = f"/admin/chats/{chat['_id']}/messages"
    response = agent.post(path, message=text)
    assert response.status_code == 422
    assert response.headers["HX-Retarget"] == "#composer-error"
    assert 'class="field-error"' in response.text
    page = agent.post(path, htmx=False, message=text)
    assert page.status_code == 422
    assert 'class="field-error"' in page.text
    assert text.strip() in page.text


def test_send_and_close(agent: Browser, chat: Chat) -> None:
    response = agent.post(f"/admin/chats/{chat['_id']}/messages", message="Bye", status="closed")
    assert "Reopen" in response.text
    assert 'id="composer"' not in response.text
    assert stored(agent, chat)["status"] == "closed"
    assert preview_of(stored(agent, chat)) == "Bye"


def test_nothing_is_sent_into_a_closed_chat(agent: Browser, chat: Chat) -> None:
    chats.update(agent.session, chat["_id"], status="closed")
    response = agent.post(f"/admin/chats/{chat['_id']}/messages", message="Too late")
    assert response.status_code == 409
    assert "This chat is closed" in response.text
    assert "console:changed" in response.headers["HX-Trigger"]
    assert stored(agent, chat)["lastSeq"] == 1


def test_reopening_beside_another_open_chat_is_refused_with_the_way_there(
    agent: Browser, make_chat: MakeChat, make_session: MakeSession
) -> None:
    user = make_session()
    old = make_chat(user)
    chats.update(agent.session, old["_id"], status="closed")
    new = make_chat(user)
    response = agent.post(f"/admin/chats/{old['_id']}", status="active")
    assert response.status_code == 409
    assert f"/admin/chats/{new['_id']}" in response.text


def test_reading(agent: Browser, chat: Chat) -> None:
    path = f"/admin/chats/{chat['_id']}/read"
    assert agent.post(path, seq="1").status_code == 204
    assert stored(agent, chat)["unreadCount"] == 0
    assert agent.post(path, seq="2").status_code == 422
    assert agent.post(path).status_code == 422


def test_older_messages_come_in_pages(
    agent: Browser, chat: Chat, make_session: MakeSession
) -> None:
    for number in range(2, 121):
        messages.send(agent.session, chat["_id"], f"Message {number}")
    opened = agent.fragment(f"/admin/chats/{chat['_id']}").text
    assert re.findall(r'id="m-(\d+)"', opened) == [str(n) for n in range(71, 121)]
    path = re.findall(r'hx-get="([^"]+before=71)"', opened)[0]
    older = agent.fragment(path).text
    assert re.findall(r'id="m-(\d+)"', older) == [str(n) for n in range(21, 71)]
    assert "<html" not in older
    assert "<html" in agent.get(path).text
    oldest = agent.fragment(path.replace("before=71", "before=21")).text
    assert "opened this chat" in oldest
    assert "before=" not in oldest


def test_a_window_left_far_behind_starts_anew(
    agent: Browser, chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "MAX_WINDOW", 8)
    monkeypatch.setattr(views, "WINDOW", 4)
    for number in range(9):
        messages.send(agent.session, chat["_id"], str(number))
    text = agent.fragment(f"/admin/chats/{chat['_id']}?first=1&new=0").text
    assert 'id="older-7"' in text
    assert 'id="m-6"' not in text


def test_what_the_user_has_seen_is_marked(
    agent: Browser, make_chat: MakeChat, make_session: MakeSession
) -> None:
    user = make_session()
    chat = make_chat(user)
    messages.send(agent.session, chat["_id"], "Hi")
    path = f"/admin/chats/{chat['_id']}"
    assert ">Sent<" in agent.fragment(path).text
    messages.mark_read(user, chat["_id"], 1)
    assert ">Seen<" in agent.fragment(path).text


def test_days_are_parted_where_the_reader_is(agent: Browser, chat: Chat) -> None:
    for hour in (20, 23):
        with clock.frozen(datetime(2026, 3, 1, hour, 30, tzinfo=UTC)):
            messages.send(agent.session, chat["_id"], "Late")
    path = f"/admin/chats/{chat['_id']}?first=2&new=0"
    assert agent.fragment(path).text.count('class="day"') == 1
    utc = agent.fragment(path).headers["ETag"]
    agent.client.set_cookie("chat_zone", "Europe/Berlin")
    berlin = agent.fragment(path, If_None_Match=utc)
    assert berlin.text.count('class="day"') == 2
    for odd in ("../../etc/passwd", "No/Where", ""):
        agent.client.set_cookie("chat_zone", odd)
        assert agent.fragment(path).status_code == 200


def test_deleting_a_message_asks_first_and_leaves_a_note(agent: Browser, chat: Chat) -> None:
    path = f"/admin/chats/{chat['_id']}/messages/1/delete"
    assert "<dialog" in agent.fragment(path).text
    assert "Hello?" in agent.get(path).text
    response = agent.post(path)
    assert json.loads(response.headers["HX-Trigger"])["console:redacted"] == {"seq": 1}
    text = agent.fragment(f"/admin/chats/{chat['_id']}").text
    assert "Hello?" not in text
    assert "This message was deleted." in text
    assert agent.fragment(path.replace("/1/", "/9/")).status_code == 404


def test_deleting_a_chat_asks_first(agent: Browser, chat: Chat) -> None:
    path = f"/admin/chats/{chat['_id']}/delete"
    assert "Parcel is late" in agent.fragment(path).text
    response = agent.post(path)
    assert "console:closed" in response.headers["HX-Trigger"]
    assert agent.get(f"/admin/chats/{chat['_id']}").status_code == 404


@pytest.mark.parametrize(
    ("change", "said"),
    [({"disabled": True}, "Bea Agent (disabled)"), ({"role": "user"}, "Bea Agent (left)")],
)
def test_an_agent_in_charge_who_cannot_answer_is_marked_at_the_next_poll(
    agent: Browser, chat: Chat, make_user: MakeUser, change: UserChanges, said: str
) -> None:
    bea = make_user(name="Bea Agent", role="admin")
    chats.update(agent.session, chat["_id"], admin_id=str(bea["_id"]), status="closed")
    path = f"/admin/chats/{chat['_id']}?first=1&new=0"
    before = agent.fragment(path)
    assert "selected>Bea Agent</option>" in before.text
    users.update_user(agent.session, bea["_id"], change)
    after = agent.fragment(path, If_None_Match=before.headers["ETag"])
    assert after.status_code == 200
    assert f"selected disabled>{said}</option>" in after.text
    assert agent.fragment(path, If_None_Match=after.headers["ETag"]).status_code == 304


@pytest.mark.parametrize("change", [{"disabled": True}, {"role": "user"}])
def test_an_open_chat_of_an_agent_who_leaves_is_shown_unassigned(
    agent: Browser, chat: Chat, make_user: MakeUser, change: UserChanges
) -> None:
    bea = make_user(name="Bea Agent", role="admin")
    chats.update(agent.session, chat["_id"], admin_id=str(bea["_id"]))
    assert chat["subject"] not in agent.fragment("/admin?assigned=none").text
    users.update_user(agent.session, bea["_id"], change)
    assert chat["subject"] in agent.fragment("/admin?assigned=none").text
    assert "Bea Agent" not in agent.fragment("/admin").text


@pytest.mark.parametrize(
    ("image", "is_shown"),
    [
        ("https://pictures.example/a.png", True),
        ("HTTPS://pictures.example/a.png", True),
        ("https://pictures.example", True),
        ("https://pictures.example:443/a.png", True),
        ("http://localhost/a.png", True),
        ("http://localhost:80/a.png", True),
        ("https://localhost/a.png", False),
        ("https://localhost:80/a.png", False),
        ("https://elsewhere.example/a.png", False),
        ("https://pictures.example:8443/a.png", False),
        ("https://pictures.example.elsewhere.example/a.png", False),
        ("https://elsewhere.example/pictures.example/a.png", False),
        ("https://pictures.example@elsewhere.example/a.png", False),
        ("https://elsewhere.example@pictures.example/a.png", False),
        ("https://elsewhere.example\\@pictures.example/a.png", False),
        ("http://pictures.example/a.png", False),
        ("http://localhost.pictures.example/a.png", False),
    ],
)
def test_a_picture_that_the_policy_forbids_is_left_to_the_initials(
    agent: Browser, chat: Chat, image: str, is_shown: bool
) -> None:
    users.update_user(agent.session, chat["userId"], {"image": image})
    for path in ("/admin", f"/admin/chats/{chat['_id']}", "/admin/users"):
        text = agent.fragment(path).text
        assert ">AS<" in text
        assert (f'src="{image}"' in text) == is_shown


@pytest.fixture
def without_billing(app: Flask) -> None:
    """The category billing is not offered any more."""
    categories.configure(name for name in categories.offered() if name != "billing")


def test_a_chat_shows_a_category_that_is_no_longer_offered(
    agent: Browser, make_chat: MakeChat, ids: Ids, without_billing: None
) -> None:
    chat = make_chat(subject="Invoice", category="billing")
    make_chat(subject="Other")
    page = agent.get(f"/admin/chats/{chat['_id']}").text
    option = '<option value="billing" selected>Billing (no longer offered)</option>'
    assert option in page[page.index('id="set-category"') :]
    listed = agent.get("/admin?category=billing")
    assert listed.status_code == 200
    assert ids(listed) == [str(chat["_id"])]
    assert option in listed.text
    agent.post(f"/admin/chats/{chat['_id']}", priority="high")
    stored = access_chat(agent.session, str(chat["_id"]))
    assert (stored["category"], stored["priority"]) == ("billing", "high")


def test_a_category_that_is_no_longer_offered_cannot_be_chosen(
    agent: Browser, make_chat: MakeChat, without_billing: None
) -> None:
    chat = make_chat(subject="Other")
    assert agent.post(f"/admin/chats/{chat['_id']}", category="billing").status_code == 422
    refused = agent.get("/admin?category=billing")
    assert refused.status_code == 422
