"""Polling with ETags: 304 while nothing looks different, and never a moment longer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from tests.user_api.callers import Caller

# What changes how a chat looks to both sides.
CHANGES: dict[str, Callable[[Caller, Caller, str], Any]] = {
    "a message of the user": lambda user, _, path: user.post(f"{path}/messages", {"content": "Hi"}),
    "a message of an agent": lambda _, admin, path: admin.patch(path, {"message": "Hi"}),
    "reading by the user": lambda user, _, path: user.post(f"{path}/read", {"seq": 2}),
    "reading by an agent": lambda _, admin, path: admin.patch(path, {"read": True}),
    "a priority": lambda _, admin, path: admin.patch(path, {"priority": "urgent"}),
    "a category": lambda _, admin, path: admin.patch(path, {"category": "billing"}),
    "a status": lambda _, admin, path: admin.patch(path, {"status": "closed"}),
    "an assignment": lambda _, admin, path: admin.patch(path, {"adminId": admin.id}),
    "a rename of the user": lambda user, admin, _: admin.patch(
        f"/api/admin/users/{user.id}", {"name": "Renamed"}
    ),
    "a picture of the user": lambda user, admin, _: admin.patch(
        f"/api/admin/users/{user.id}", {"image": "https://pictures.example/a.png"}
    ),
    "a tombstone in the middle": lambda _, admin, path: admin.delete(f"{path}/messages/1"),
    "a tombstone at the end": lambda _, admin, path: admin.delete(f"{path}/messages/2"),
    "a bulk change": lambda _, admin, path: admin.post(
        "/api/admin/chats/bulk", {"ids": [path.rpartition("/")[2]], "status": "pending"}
    ),
}
# What does not.
NO_CHANGES: dict[str, Callable[[Caller, Caller, str], Any]] = {
    "looking": lambda user, _, path: user.get(path),
    "a refused message": lambda user, _, path: user.post(f"{path}/messages", {"content": ""}),
    "the same priority": lambda _, admin, path: admin.patch(path, {"priority": "medium"}),
    "the same status": lambda _, admin, path: admin.patch(path, {"status": "active"}),
    "a retry": lambda user, _, path: user.post(
        f"{path}/messages", {"content": "One", "clientMessageId": "once"}
    ),
    "reading what was read": lambda user, _, path: user.post(f"{path}/read", {"seq": 0}),
    "an empty change": lambda _, admin, path: admin.patch(path, {}),
    "a change that is refused": lambda user, _, path: user.patch(path, {"status": "closed"}),
    "the same name": lambda user, admin, _: admin.patch(
        f"/api/admin/users/{user.id}", {"name": user.get("/api/auth/me").json["name"]}
    ),
}
VIEWS = ["/api/chat", "CHAT", "CHAT/messages"]


@pytest.fixture
def chat_path(user: Caller, admin: Caller) -> str:
    """The address of a chat with a message of each side."""
    chat = user.open_chat(message="One", clientMessageId="once")
    admin.say(chat, "Two")
    return f"/api/chat/{chat['_id']}"


def poll(person: Caller, path: str, etag: str) -> Any:
    return person.get(path, headers={"If-None-Match": etag})


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("name", CHANGES)
def test_a_poll_notices(name: str, view: str, user: Caller, admin: Caller, chat_path: str) -> None:
    path = view.replace("CHAT", chat_path)
    etags = {id(each): each.get(path).headers["ETag"] for each in (user, admin)}
    assert CHANGES[name](user, admin, chat_path).status_code < 300
    for person in (user, admin):
        answer = poll(person, path, etags[id(person)])
        assert answer.status_code == 200
        assert answer.headers["ETag"] != etags[id(person)]


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("name", NO_CHANGES)
def test_a_poll_is_not_disturbed_by(
    name: str, view: str, user: Caller, admin: Caller, chat_path: str
) -> None:
    path = view.replace("CHAT", chat_path)
    etags = {id(each): each.get(path).headers["ETag"] for each in (user, admin)}
    NO_CHANGES[name](user, admin, chat_path)
    for person in (user, admin):
        answer = poll(person, path, etags[id(person)])
        assert (answer.status_code, answer.data) == (304, b"")
        assert answer.headers["ETag"] == etags[id(person)]


def test_a_304_of_the_list_still_tells_the_unread_total(admin: Caller, chat_path: str) -> None:
    etag = admin.get("/api/chat").headers["ETag"]
    assert poll(admin, "/api/chat", etag).headers["X-Unread-Total"] == "1"


def test_a_poll_of_the_list_notices_a_new_and_a_deleted_chat(
    admin: Caller, other: Caller, chat_path: str
) -> None:
    etag = admin.get("/api/chat").headers["ETag"]
    chat = other.open_chat()
    answer = poll(admin, "/api/chat", etag)
    assert answer.status_code == 200
    admin.delete(f"/api/chat/{chat['_id']}")
    answer = poll(admin, "/api/chat", answer.headers["ETag"])
    assert answer.status_code == 200
    assert len(answer.json) == 1


def test_a_users_poll_is_not_disturbed_by_other_peoples_chats(
    user: Caller, other: Caller, chat_path: str
) -> None:
    etag = user.get("/api/chat").headers["ETag"]
    other.open_chat(message="Hello")
    assert poll(user, "/api/chat", etag).status_code == 304


def test_a_page_is_not_disturbed_by_what_is_after_it(
    admin: Caller, user: Caller, other: Caller, chat_path: str
) -> None:
    etag_before = admin.get("/api/chat?limit=1").headers["ETag"]
    other.open_chat()
    etag = admin.get("/api/chat?limit=1").headers["ETag"]
    assert etag != etag_before
    admin.patch(chat_path, {"priority": "low"})
    assert poll(admin, "/api/chat?limit=1", etag).status_code == 304


def test_the_end_of_a_page_changes_it(admin: Caller, other: Caller, chat_path: str) -> None:
    other.open_chat()
    answer = admin.get("/api/chat?limit=1")
    assert "Link" in answer.headers
    admin.delete(chat_path)
    again = poll(admin, "/api/chat?limit=1", answer.headers["ETag"])
    assert again.status_code == 200
    assert "Link" not in again.headers


@pytest.mark.parametrize("form", ["W/{0}", '"x", {0}', '{0}, W/"y"'])
def test_an_etag_is_known_in_every_form_that_a_client_may_send(
    form: str, user: Caller, chat_path: str
) -> None:
    for path in ("/api/chat", chat_path, f"{chat_path}/messages"):
        etag = user.get(path).headers["ETag"]
        assert poll(user, path, form.format(etag)).status_code == 304


@pytest.mark.parametrize("etag", ['"x"', "", "nonsense", '"', "W/", '"' + "x" * 3000 + '"'])
def test_a_strange_etag_gets_the_full_answer(etag: str, user: Caller, chat_path: str) -> None:
    for path in ("/api/chat", chat_path, f"{chat_path}/messages"):
        assert poll(user, path, etag).status_code == 200


def test_the_etag_of_a_compressed_answer_is_known_too(user: Caller, chat_path: str) -> None:
    for number in range(20):
        user.patch(chat_path, {"message": f"A message to make it long {number}"})
    gzip = {"Accept-Encoding": "gzip"}
    answer = user.get(chat_path, headers=gzip)
    assert answer.headers["Content-Encoding"] == "gzip"
    etag = answer.headers["ETag"]
    assert user.get(chat_path, headers=gzip | {"If-None-Match": etag}).status_code == 304
    assert poll(user, chat_path, etag).status_code == 304


def test_another_users_etag_opens_nothing(
    user: Caller, other: Caller, admin: Caller, chat_path: str
) -> None:
    etag = user.get(chat_path).headers["ETag"]
    assert poll(other, chat_path, etag).status_code == 403
    assert poll(admin, chat_path, etag).status_code == 200


def test_no_answer_with_somebodys_data_is_kept_by_a_proxy(user: Caller, chat_path: str) -> None:
    for path in ("/api/chat", chat_path, f"{chat_path}/messages", "/api/auth/me"):
        control = user.get(path).headers["Cache-Control"]
        assert "private" in control or "no-store" in control


def test_an_etag_does_not_outlive_a_new_release_of_the_app(
    app: Flask, user: Caller, chat_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    etags = {path: user.get(path).headers["ETag"] for path in ("/api/chat", chat_path)}
    for module in ("chats", "chat_lists"):
        monkeypatch.setattr(f"chatapi.services.{module}.REPRESENTATION", "next")
    for path, etag in etags.items():
        assert poll(user, path, etag).status_code == 200


def test_a_poll_that_may_wait_but_has_nothing_to_wait_for_is_a_poll(
    user: Caller, chat_path: str
) -> None:
    etag = user.get(f"{chat_path}/messages").headers["ETag"]
    answer = user.get(f"{chat_path}/messages?wait=5", headers={"If-None-Match": etag})
    assert answer.status_code == 304
