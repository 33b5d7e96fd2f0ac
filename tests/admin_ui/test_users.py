"""The people, as agents see and change them."""

from __future__ import annotations

import re
from typing import Any

import pytest

from chatapi.domain.documents import User
from chatapi.services import accounts, users
from tests.admin_ui.conftest import Browser
from tests.conftest import CLIENT, MakeChat, MakeSession, MakeUser


def account(email: str) -> User:
    found = users.find(email)
    assert found is not None
    return found


def test_the_list_is_a_page_or_its_rows(agent: Browser, make_user: MakeUser) -> None:
    make_user(name="Uma User")
    page, fragment = agent.get("/admin/users"), agent.fragment("/admin/users")
    assert "<html" in page.text
    assert "<html" not in fragment.text
    for response in (page, fragment):
        assert "Uma User" in response.text
        assert "Ada Agent" in response.text
        assert "HX-Request" in response.headers["Vary"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("role=admin", {"Ada Agent"}),
        ("role=user", {"Uma User", "Udo User"}),
        ("role=guest", {"Gil Guest"}),
        ("disabled=true", {"Udo User"}),
        ("q=uma", {"Uma User"}),
        ("q=&role=&disabled=", {"Ada Agent", "Uma User", "Udo User", "Gil Guest"}),
    ],
)
def test_filters(agent: Browser, make_user: MakeUser, query: str, found: set[str]) -> None:
    make_user(name="Uma User")
    udo = make_user(name="Udo User")
    users.update_user(agent.session, udo["_id"], {"disabled": True})
    make_user(name="Gil Guest", role="guest")
    text = agent.fragment(f"/admin/users?{query}").text
    everybody = {"Ada Agent", "Uma User", "Udo User", "Gil Guest"}
    assert {name for name in everybody if f">{name}" in text} == found


def test_every_unproved_address_is_marked(agent: Browser, make_user: MakeUser) -> None:
    for role in ("user", "guest"):
        make_user(role=role)
    text = agent.fragment("/admin/users").text
    assert text.count('<span class="unverified">Unverified</span>') == 3


def test_pages(agent: Browser, make_user: MakeUser) -> None:
    for _ in range(3):
        make_user()
    assert ">More<" in agent.fragment("/admin/users?limit=3").text
    assert ">More<" not in agent.fragment("/admin/users?limit=4").text


@pytest.mark.parametrize(
    ("name", "value", "stored"),
    [
        ("role", "admin", "admin"),
        ("disabled", "true", True),
        ("name", "New Name", "New Name"),
        ("image", "https://pictures.example/a.png", "https://pictures.example/a.png"),
    ],
)
def test_somebody_is_changed(
    agent: Browser, make_user: MakeUser, name: str, value: Any, stored: object
) -> None:
    user = make_user()
    response = agent.post(f"/admin/users/{user['_id']}", **{name: value})
    assert response.status_code == 200
    assert response.headers["HX-Retarget"] == f"#user-{user['_id']}"
    assert "console:dismiss" in response.headers["HX-Trigger"]
    assert account(user["email"]).get(name) == stored
    plain = agent.post(f"/admin/users/{user['_id']}", htmx=False, **{name: value})
    assert (plain.status_code, plain.location) == (303, "/admin/users")


def test_an_empty_image_is_none(agent: Browser, make_user: MakeUser) -> None:
    user = make_user()
    path = f"/admin/users/{user['_id']}"
    agent.post(path, name="A", image="https://pictures.example/a.png")
    agent.post(path, name="A", image="")
    assert account(user["email"])["image"] is None


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"name": "", "image": ""}, "name"),
        ({"name": "A", "image": "javascript:alert(1)"}, "image"),
        ({"name": "A", "image": "https://elsewhere.example/a.png"}, "image"),
        ({"name": "A" * 101}, "name"),
    ],
)
def test_what_is_wrong_stands_beside_its_field(
    agent: Browser, make_user: MakeUser, fields: dict[str, Any], wrong: str
) -> None:
    user = make_user()
    for htmx in (True, False):
        response = agent.post(f"/admin/users/{user['_id']}", htmx=htmx, **fields)
        assert response.status_code == 422
        assert f'id="{wrong}-error"' in response.text
        assert ("<html" in response.text) is not htmx
    assert account(user["email"])["name"] == user["name"]


@pytest.mark.parametrize("fields", [{"role": "user"}, {"disabled": "true"}])
def test_the_last_agent_stays_one(agent: Browser, fields: dict[str, Any]) -> None:
    path = f"/admin/users/{agent.session.user_id}"
    response = agent.post(path, **fields)
    assert response.status_code == 409
    assert "Give another user the agent role first." in response.text
    assert "This is the last active agent" in agent.post(path, htmx=False, **fields).text
    assert agent.get("/admin").status_code == 200


def test_a_guest_stays_a_guest(agent: Browser, make_session: MakeSession) -> None:
    guest = make_session("guest")
    path = f"/admin/users/{guest.user_id}"
    assert "Make agent" not in agent.fragment("/admin/users?role=guest").text
    response = agent.post(path, role="admin")
    assert response.status_code == 422
    assert "stays a guest" in response.text


def test_changes_of_rights_are_confirmed(agent: Browser, make_user: MakeUser) -> None:
    user = make_user(name="Uma User")
    path = f"/admin/users/{user['_id']}/confirm"
    dialog = agent.fragment(f"{path}?role=admin")
    assert "<dialog" in dialog.text
    assert "Make an agent?" in dialog.text
    assert 'name="role" value="admin"' in dialog.text
    assert 'name="disabled" value="true"' in agent.get(f"{path}?disabled=true").text
    assert agent.get(f"{path}?role=odd").status_code == 422


@pytest.mark.parametrize(("name", "value"), [("role", "user"), ("disabled", "true")])
def test_an_agent_is_not_offered_to_take_their_own_access(
    agent: Browser, make_user: MakeUser, name: str, value: str
) -> None:
    bea = make_user(name="Bea Agent", role="admin")
    rows = agent.fragment("/admin/users").text
    assert f"/admin/users/{bea['_id']}/confirm?{name}={value}" in rows
    own = f"/admin/users/{agent.session.user_id}"
    assert f"{own}/confirm" not in rows
    for htmx in (True, False):
        response = agent.post(own, htmx=htmx, **{name: value})
        assert response.status_code == 422
        assert "Ask another agent to do it." in response.text
    assert agent.get("/admin").status_code == 200


def test_nobody_is_a_404(agent: Browser) -> None:
    for path in ("/admin/users/" + "a" * 24, "/admin/users/x", "/admin/users/x/confirm?role=user"):
        assert agent.get(path).status_code == 404


@pytest.mark.parametrize("htmx", [True, False])
def test_an_agent_makes_a_link_that_sets_a_new_password_once(
    agent: Browser, browser: Browser, make_user: MakeUser, htmx: bool
) -> None:
    user = make_user(name="Uma User")
    here = f"/admin/users/{user['_id']}/password-link"
    assert "Create link" in agent.get(here).text
    made = agent.post(here, htmx=htmx)
    assert made.status_code == 200
    found = re.search(r'value="http://localhost(/admin/set-password\?token=[^"]+)"', made.text)
    assert found is not None
    assert '<time datetime="' in made.text
    link = found.group(1)
    assert user["email"] in browser.get(link).text
    token = link.partition("token=")[2]
    short = browser.post("/admin/set-password", htmx=False, token=token, password="short")
    assert short.status_code == 422
    assert "at least 8" in short.text
    saved = browser.post("/admin/set-password", htmx=False, token=token, password="a new pass word")
    assert "Your password is set" in saved.text
    accounts.login(user["email"], "a new pass word", CLIENT)
    again = browser.post("/admin/set-password", htmx=False, token=token, password="another pass")
    assert again.status_code == 404
    assert "was used" in again.text
    assert browser.get(link).status_code == 404


def test_each_page_of_one_sheet_has_a_main_heading(
    agent: Browser, make_user: MakeUser, make_chat: MakeChat
) -> None:
    user, chat = make_user(), make_chat()
    for path in (
        f"/admin/users/{user['_id']}",
        f"/admin/users/{user['_id']}/confirm?disabled=true",
        f"/admin/users/{user['_id']}/password-link",
        f"/admin/chats/{chat['_id']}/delete",
        f"/admin/chats/{chat['_id']}/messages/1/delete",
        f"/admin/chats/{chat['_id']}/messages?before=1",
    ):
        assert agent.get(path).text.count("<h1") == 1, path
