"""The inbox: its list, rows, filters and polls."""

from __future__ import annotations

import gzip
import re

import pytest

from admin_ui import assets
from chatapi.domain.documents import Chat
from chatapi.domain.enums import Role
from chatapi.services import accounts, chats, messages, sessions, users
from tests.admin_ui.conftest import FRAGMENT, Browser, Ids, stored
from tests.conftest import CLIENT, MakeChat, MakeSession, MakeUser

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
