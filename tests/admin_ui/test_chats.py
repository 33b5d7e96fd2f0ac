"""The inbox and the conversation."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from admin_ui import assets
from admin_ui import chats as views
from chatapi.domain import clock
from chatapi.domain.documents import Chat, ShownChat, UserChanges
from chatapi.domain.enums import Role
from chatapi.schemas import categories
from chatapi.services import accounts, chats, messages, sessions, users
from chatapi.services.access import access_chat
from tests.admin_ui.conftest import FRAGMENT, Browser
from tests.conftest import CLIENT, MakeChat, MakeSession, MakeUser
from tests.documents import preview_of

Ids = Callable[[TestResponse], list[str]]
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</textarea></title></template><svg onload=alert(1)>",
    "<hx-partial hx-target='body'>x</hx-partial>",
    "javascript:alert(1)",
    "{{ 7 * 7 }}",
    'http://x.example/"onmouseover=alert(1)',
    "<a href='javascript:alert(1)'>x</a>",
]


@pytest.fixture
def chat(make_chat: MakeChat, make_session: MakeSession) -> ShownChat:
    return make_chat(make_session(name="Ana Souza"), subject="Parcel is late", message="Hello?")


def stored(agent: Browser, chat: Chat) -> ShownChat:
    return chats.get(agent.session, chat["_id"])[0]


def test_the_list_is_a_page_or_the_rows_that_the_page_includes(agent: Browser, chat: Chat) -> None:
    for path in ("/admin", "/admin/", "/admin/chats"):
        page, fragment = agent.get(path), agent.fragment(path)
        assert "<!doctype html>" in page.text
        assert "<html" not in fragment.text
        assert f'id="chat-{chat["_id"]}"' in page.text
        assert f'id="chat-{chat["_id"]}"' in fragment.text
        for response in (page, fragment):
            assert "HX-Request" in response.headers["Vary"]
        assert page.headers["Cache-Control"] == "no-store"


def test_a_row_shows_all_that_matters(agent: Browser, chat: Chat) -> None:
    chats.update(agent.session, chat["_id"], admin_id=str(agent.session.user_id))
    text = agent.fragment("/admin").text
    for shown in ("Ana Souza", "Parcel is late", "Hello?", "Active", "Medium", "General"):
        assert shown in text
    assert "Ada Agent" in text
    assert ">AS<" in text
    assert '<span class="count"><span>1</span>' in text


def test_a_guest_is_marked(agent: Browser, make_chat: MakeChat, make_session: MakeSession) -> None:
    make_chat(make_session("guest"))
    assert '<span class="guest">Guest</span>' in agent.fragment("/admin").text


@pytest.mark.parametrize(("role", "badge"), [("guest", "guest"), ("user", "unverified")])
def test_who_is_called_like_an_agent_is_still_told_apart(
    agent: Browser, make_chat: MakeChat, make_session: MakeSession, role: Role, badge: str
) -> None:
    customer = make_session(role, "Ada Agent")
    chat_id = make_chat(customer, message="Trust me")["_id"]
    messages.send(agent.session, chat_id, "No")
    name = '<span class="name" dir="auto">Ada Agent</span>'
    marked = f'<span class="{badge}">{badge.capitalize()}</span>'
    rows, chat = agent.fragment("/admin").text, agent.fragment(f"/admin/chats/{chat_id}").text
    assert marked in rows
    assert f"{marked} {name}" in chat
    sender = '<p class="sender"><span dir="auto">Ada Agent</span> '
    assert chat.count(sender) == 2
    assert f"{sender}{marked}" in chat
    assert f'{sender}<span class="agent">Agent</span>' in chat
    assert '<span class="agent">' not in rows


def test_registering_a_guests_address_leaves_the_guests_chats_a_guests(
    agent: Browser, make_chat: MakeChat, make_session: MakeSession
) -> None:
    guest = make_session("guest")
    chat_id = make_chat(guest)["_id"]
    accounts.register("Other", guest.email, "a good sentence", CLIENT)
    assert '<span class="guest">Guest</span>' in agent.fragment(f"/admin/chats/{chat_id}").text


def test_an_upgraded_guest_is_unverified(
    agent: Browser, make_chat: MakeChat, make_session: MakeSession
) -> None:
    guest = make_session("guest")
    make_chat(guest)
    accounts.upgrade_guest(guest, "a good sentence")
    text = agent.fragment("/admin").text
    assert '<span class="unverified">Unverified</span>' in text
    assert '<span class="guest">' not in text


def test_a_guest_with_the_address_of_a_later_agent_is_still_marked(
    agent: Browser, make_chat: MakeChat, make_session: MakeSession
) -> None:
    guest = make_session("guest")
    chat_id = make_chat(guest)["_id"]
    users.create_admin("Later Agent", guest.email, "a long sentence of an agent")
    text = agent.fragment(f"/admin/chats/{chat_id}").text
    assert '<span class="guest">Guest</span>' in text
    assert '<span class="unverified">Unverified</span>' in text
    assert '<span class="agent">' not in text


def test_the_title_tells_how_much_is_unread(agent: Browser, chat: Chat) -> None:
    assert "<title>(1) Inbox</title>" in agent.get("/admin").text
    messages.mark_read(agent.session, chat["_id"], 1)
    assert "<title>Inbox</title>" in agent.get("/admin").text


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", "abcd"),
        ("status=closed", "d"),
        ("status=open", "abc"),
        ("status=active&status=closed", "abd"),
        ("priority=high", "b"),
        ("category=billing", "b"),
        ("assigned=me", "c"),
        ("assigned=none", "abd"),
        ("unread=true", "a"),
        ("unread=false", "bcd"),
        ("solved=true", "b"),
        ("solved=false", "acd"),
        ("q=parcel", "a"),
        ("q=beate%40mail", "b"),
        ("q=nothing", ""),
        ("status=&priority=&category=&assigned=&unread=&solved=&q=", "abcd"),
        ("status=active&priority=high&utm_source=x", "b"),
    ],
)
def test_filters(
    agent: Browser, make_chat: MakeChat, make_user: MakeUser, ids: Ids, query: str, found: str
) -> None:
    beate = sessions.session_for(make_user(name="Beate", email="beate@mail.example"))
    made = {
        "a": make_chat(subject="Parcel lost", message="Where?"),
        "b": make_chat(beate, subject="Invoice", priority="high", category="billing"),
        "c": make_chat(subject="Login"),
        "d": make_chat(subject="Old"),
    }
    chats.update(
        agent.session, made["c"]["_id"], admin_id=str(agent.session.user_id), status="pending"
    )
    chats.update(agent.session, made["d"]["_id"], status="closed")
    chats.mark_solved(beate, made["b"]["_id"])
    wanted = {str(made[name]["_id"]) for name in found}
    assert set(ids(agent.fragment(f"/admin?{query}"))) == wanted
    assert set(ids(agent.get(f"/admin?{query}"))) == wanted


@pytest.mark.parametrize("query", ["status=odd", "assigned=x", "cursor=x", "limit=101", "limit=a"])
def test_a_filter_that_is_none_is_refused_in_words(agent: Browser, query: str) -> None:
    response = agent.get(f"/admin?{query}")
    assert response.status_code == 422
    assert "Some of this is not right" in response.text
    assert agent.fragment(f"/admin?{query}").headers["HX-Retarget"] == "#toasts"


def test_pages_follow_each_other_by_cursor(agent: Browser, make_chat: MakeChat, ids: Ids) -> None:
    made = [str(make_chat(subject=f"Chat {n}")["_id"]) for n in range(5)]
    seen, path, pages = [], "/admin?limit=2&status=open", 0
    while path:
        text = agent.get(path).text
        seen += re.findall(r'id="chat-([0-9a-f]{24})"', text)
        older = re.search(r'href="([^"]+)"[^>]*>Older chats', text)
        path = older.group(1).replace("&amp;", "&") if older else ""
        pages += 1
    assert sorted(seen) == sorted(made)
    assert pages == 3
    assert "Back to the newest" in text


def test_a_poll_with_nothing_new_is_a_304(agent: Browser, chat: Chat) -> None:
    for path in ("/admin?status=open", f"/admin/chats/{chat['_id']}?first=1&new=0"):
        first = agent.fragment(path)
        etag = first.headers["ETag"]
        assert etag.strip('"') in first.text
        again = agent.fragment(path, If_None_Match=etag)
        assert (again.status_code, again.data) == (304, b"")
        assert "HX-Request" in again.headers["Vary"]
        messages.send(agent.session, chat["_id"], "News")
        assert agent.fragment(path, If_None_Match=etag).status_code == 200


def test_a_page_is_never_a_304(agent: Browser, chat: Chat) -> None:
    etag = agent.fragment("/admin").headers["ETag"]
    assert agent.get("/admin", If_None_Match=etag).status_code == 200


def test_opening_a_chat_marks_it_read_and_shows_where_the_new_begins(
    agent: Browser, chat: Chat
) -> None:
    response = agent.fragment(f"/admin/chats/{chat['_id']}")
    assert "<html" not in response.text
    assert 'id="new-line"' in response.text
    assert stored(agent, chat)["unreadCount"] == 0
    assert "new-line" not in agent.fragment(f"/admin/chats/{chat['_id']}").text


def test_a_poll_marks_nothing_read(agent: Browser, chat: Chat) -> None:
    assert "Hello?" in agent.fragment(f"/admin/chats/{chat['_id']}?first=1&new=1").text
    assert stored(agent, chat)["unreadCount"] == 1


def test_the_page_of_a_chat_has_the_list_beside_it(agent: Browser, chat: Chat, ids: Ids) -> None:
    response = agent.get(f"/admin/chats/{chat['_id']}?status=closed")
    assert "Hello?" in response.text
    # Its own row stays, whatever the filters say, until the agent leaves it.
    assert ids(response) == [str(chat["_id"])]
    assert "<title>Parcel is late</title>" in response.text


def test_what_its_user_calls_solved_is_marked_until_they_write_again(
    agent: Browser, make_chat: MakeChat, make_session: MakeSession
) -> None:
    session = make_session()
    chat = make_chat(session, message="How?")
    mark = '<span class="chip solved"'
    for path in ("/admin", f"/admin/chats/{chat['_id']}"):
        assert mark not in agent.get(path).text
    chats.mark_solved(session, chat["_id"])
    for path in ("/admin", f"/admin/chats/{chat['_id']}"):
        assert mark in agent.fragment(path).text
    # The links of the page keep the choice.
    assert f"/admin/chats/{chat['_id']}?solved=true" in agent.fragment("/admin?solved=true").text
    messages.send(session, chat["_id"], "It is not")
    for path in ("/admin", f"/admin/chats/{chat['_id']}"):
        assert mark not in agent.get(path).text


def test_the_open_chats_row_stays_in_a_list_that_leaves_it_out(
    agent: Browser, make_chat: MakeChat, ids: Ids
) -> None:
    older, kept, newer = (make_chat(message=word) for word in ("One", "Two", "Three"))
    messages.mark_read(agent.session, kept["_id"], 1)
    path = "/admin?unread=true"
    assert ids(agent.fragment(path)) == [str(newer["_id"]), str(older["_id"])]
    response = agent.fragment(f"{path}&keep={kept['_id']}")
    assert ids(response) == [str(chat["_id"]) for chat in (newer, kept, older)]
    assert "keep=" not in response.text

    etag = response.headers["ETag"]
    again = agent.fragment(f"{path}&keep={kept['_id']}", If_None_Match=etag)
    assert again.status_code == 304
    chats.update(agent.session, kept["_id"], priority="urgent")
    again = agent.fragment(f"{path}&keep={kept['_id']}", If_None_Match=etag)
    assert "Urgent" in again.text
    chats.delete(agent.session, kept["_id"])
    for gone in (kept["_id"], "nonsense"):
        assert ids(agent.fragment(f"{path}&keep={gone}")) == ids(agent.fragment(path))


def test_a_chat_that_is_not_there_is_a_404_in_words(agent: Browser) -> None:
    for chat_id in ("a" * 24, "nonsense"):
        page = agent.get(f"/admin/chats/{chat_id}")
        assert page.status_code == 404
        assert "No such chat" in page.text
        assert agent.fragment(f"/admin/chats/{chat_id}").headers["HX-Retarget"] == "#toasts"


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


@pytest.mark.parametrize("text", HOSTILE)
def test_what_people_write_is_text(
    agent: Browser, make_chat: MakeChat, make_session: MakeSession, text: str
) -> None:
    user = make_session(name=text[:100])
    chat = make_chat(user, subject=text, message=text)
    path = f"/admin/chats/{chat['_id']}"
    for response in (
        agent.get("/admin"),
        agent.get(path),
        agent.fragment(path),
        agent.fragment(f"{path}/delete"),
        agent.fragment(f"{path}/messages/1/delete"),
        agent.fragment(f"/admin?q={text[:50]}"),
        agent.get("/admin", Cookie=f"chat_zone={text}") if text.isascii() else agent.get("/admin"),
        agent.fragment("/admin/users"),
    ):
        for bad in ("<script>alert", "<img src=x", "<svg onload", "<hx-partial hx-target='body'"):
            assert bad not in response.text
        for tag in re.findall(r"<[a-z][^>]*>", response.text):
            plain = re.sub(r'"[^"]*"', "", tag)
            assert "onmouseover" not in plain
            assert "onerror" not in plain
            assert not re.search(r'(href|src|action)="javascript:', tag)
        assert ">49<" not in response.text


def test_links_in_messages_open_elsewhere_and_say_nothing_of_us(
    agent: Browser, make_chat: MakeChat
) -> None:
    chat = make_chat(message="See https://example.org/a?b=c&d=e please")
    text = agent.fragment(f"/admin/chats/{chat['_id']}").text
    assert 'href="https://example.org/a?b=c&amp;d=e"' in text
    assert 'rel="' in text
    assert "noopener" in text


def test_nothing_is_inline(agent: Browser, chat: Chat) -> None:
    for path in ("/admin", f"/admin/chats/{chat['_id']}", "/admin/users", "/admin/nothing"):
        text = agent.get(path).text
        assert not re.search(r"<script(?![^>]* src=)", text)
        assert "<style" not in text
        assert not re.search(r"<[^>]* (style|on[a-z]+)=", text)
        assert not re.search(r'(src|href)="(https?:)?//', text)


def test_a_hundred_chats_are_one_small_page(agent: Browser, make_chat: MakeChat) -> None:
    for number in range(100):
        make_chat(subject=f"Chat {number} with a subject of usual length", message="Hello " * 30)
    page = agent.get("/admin?limit=100")
    assert page.text.count("<tr role") == 101
    files = [
        path for path in (assets.FOLDER / "static").rglob("*") if path.suffix in {".js", ".css"}
    ]
    size = sum(len(gzip.compress(path.read_bytes(), 4)) for path in files)
    assert size + len(gzip.compress(page.data, 4)) < 100_000


def test_a_poll_asks_for_the_page_that_is_shown(agent: Browser, chat: Chat) -> None:
    response = agent.client.get("/admin?status=open&q=parcel", headers=FRAGMENT)
    assert 'data-poll="/admin?status=active&amp;status=pending&amp;q=parcel"' in response.text


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
