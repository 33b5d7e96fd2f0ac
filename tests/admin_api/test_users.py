"""Users, for agents."""

from __future__ import annotations

from typing import Any

import pytest
from bson import ObjectId
from pymongo.database import Database

from chatapi.domain.paging import Position
from chatapi.store import users
from chatapi.store.database import Document
from tests.conftest import PASSWORD, MakeUser
from tests.user_api.callers import Caller, MakeCaller, object_id, refused, stored

USER = {"_id", "name", "email", "role", "image", "disabled", "createdAt", "emailVerified"}


def ids(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [user["_id"] for user in answer.json]


def test_users_are_listed_newest_first_without_their_passwords(
    admin: Caller, user: Caller, guest: Caller
) -> None:
    answer = admin.get("/api/admin/users")
    assert ids(answer) == [guest.id, user.id, admin.id]
    assert all(set(row) == USER for row in answer.json)
    assert "argon2" not in answer.text


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("role=admin", {"admin"}),
        ("role=guest", {"guest"}),
        ("disabled=true", {"former"}),
        ("disabled=false", {"admin", "guest", "zoe"}),
        ("q=ZOE", {"zoe"}),
        ("q=nordic", {"zoe"}),
        ("role=user&disabled=false", {"zoe"}),
        ("role=user&disabled=true&q=form", {"former"}),
        ("q=.*", set()),
    ],
)
def test_filters_narrow_the_list(
    query: str,
    expected: set[str],
    admin: Caller,
    guest: Caller,
    make_caller: MakeCaller,
    make_user: MakeUser,
) -> None:
    zoe = make_caller(user=make_user("Zoë", email="zo@nordic.example"))
    former = make_caller(user=make_user("Former"))
    admin.patch(f"/api/admin/users/{former.id}", {"disabled": True})
    names = {admin.id: "admin", guest.id: "guest", zoe.id: "zoe", former.id: "former"}
    assert {names[found] for found in ids(admin.get(f"/api/admin/users?{query}"))} == expected


@pytest.mark.parametrize("limit", [1, 2, 100])
def test_pages_hold_every_user_exactly_once(
    limit: int, admin: Caller, make_caller: MakeCaller
) -> None:
    everybody = [admin.id, *(make_caller("guest").id for _ in range(4))]
    found: list[str] = []
    path = f"/api/admin/users?limit={limit}"
    while path:
        answer = admin.get(path)
        found += ids(answer)
        cursor = answer.headers.get("X-Next-Cursor")
        path = f"/api/admin/users?limit={limit}&cursor={cursor}" if cursor else ""
        # Whoever comes meanwhile stands before all pages.
        make_caller("guest")
    assert found == list(reversed(everybody))


@pytest.mark.parametrize(
    "query", ["role=root", "disabled=x", "limit=0", "limit=101", "cursor=x", "sort=name", "q=%00"]
)
def test_a_query_that_makes_no_sense_is_refused(query: str, admin: Caller) -> None:
    field = query.split("=", maxsplit=1)[0]
    refused(admin.get(f"/api/admin/users?{query}"), 422, "validation_failed", field)


def test_an_agent_changes_a_user(admin: Caller, user: Caller, database: Database[Document]) -> None:
    body = {"name": " New Name ", "image": "https://pictures.example/a.png", "role": "admin"}
    answer = admin.patch(f"/api/admin/users/{user.id}", body)
    assert answer.status_code == 200
    assert set(answer.json) == USER
    assert (answer.json["name"], answer.json["role"]) == ("New Name", "admin")
    row = database["users"].find_one({"_id": object_id(str(user.id))})
    assert row is not None
    assert (row["name"], row["image"]) == ("New Name", "https://pictures.example/a.png")
    assert ids(admin.get("/api/admin/users?q=new")) == [user.id]
    assert user.get("/api/auth/me").json["role"] == "admin"
    assert user.get("/api/admin/stats").status_code == 200
    assert admin.patch(f"/api/admin/users/{user.id}", {"image": None}).json["image"] is None


def test_a_demoted_agent_has_lost_the_rights_at_once(
    admin: Caller, make_caller: MakeCaller
) -> None:
    colleague = make_caller("admin")
    assert admin.patch(f"/api/admin/users/{colleague.id}", {"role": "user"}).status_code == 200
    refused(colleague.get("/api/admin/users"), 403, "admin_only")


@pytest.mark.parametrize("change", [{"role": "user"}, {"disabled": True}])
def test_the_last_agent_stays(
    change: dict[str, Any],
    admin: Caller,
    make_caller: MakeCaller,
    database: Database[Document],
) -> None:
    def account() -> Any:
        row = database["users"].find_one({"_id": object_id(str(admin.id))})
        assert row is not None
        return {name: row[name] for name in ("role", "disabled", "name")}

    before = account()
    body = change | {"name": "Renamed"}
    refused(admin.patch(f"/api/admin/users/{admin.id}", body), 409, "last_admin")
    assert account() == before
    assert admin.get("/api/admin/users").status_code == 200
    assert ids(admin.get("/api/admin/users?q=renamed")) == []
    colleague = make_caller("admin")
    answer = admin.patch(f"/api/admin/users/{admin.id}", change)
    refused(answer, 422, "validation_failed", next(iter(change)))
    assert colleague.patch(f"/api/admin/users/{admin.id}", change).status_code == 200


def test_a_disabled_agent_does_not_count_as_one(admin: Caller, make_caller: MakeCaller) -> None:
    colleague = make_caller("admin")
    admin.patch(f"/api/admin/users/{colleague.id}", {"disabled": True})
    answer = admin.patch(f"/api/admin/users/{admin.id}", {"role": "user"})
    refused(answer, 409, "last_admin")


def test_a_guest_stays_a_guest_and_nobody_becomes_one(
    admin: Caller, guest: Caller, user: Caller, database: Database[Document]
) -> None:
    before = stored(database)
    for person, role in ((guest, "user"), (guest, "admin"), (user, "guest"), (admin, "guest")):
        answer = admin.patch(f"/api/admin/users/{person.id}", {"role": role})
        refused(answer, 422, "validation_failed", "role")
    assert stored(database) == before


@pytest.mark.parametrize(
    "image", ["javascript:alert(1)", "data:image/png;base64,AA", "//example.org/a.png", "a.png",
              "ftp://example.org/a.png", "https://", "https://example.org/a\nb", ""],
)  # fmt: skip
def test_a_picture_is_an_http_address(image: str, admin: Caller, user: Caller) -> None:
    answer = admin.patch(f"/api/admin/users/{user.id}", {"image": image})
    refused(answer, 422, "validation_failed", "image")
    assert user.get("/api/auth/me").json["image"] is None


@pytest.mark.parametrize(
    ("image", "status"),
    [
        ("https://pictures.example/b.png", 200),
        ("http://localhost/b.png", 200),
        ("http://pictures.example/b.png", 422),
        ("https://elsewhere.example/b.png", 422),
        ("https://pictures.example:8443/b.png", 422),
    ],
)
def test_a_new_picture_is_on_a_host_that_is_shown(
    image: str, status: int, admin: Caller, user: Caller
) -> None:
    answer = admin.patch(f"/api/admin/users/{user.id}", {"image": image})
    if status == 422:
        refused(answer, 422, "validation_failed", "image")
    assert answer.status_code == status
    assert user.get("/api/auth/me").json["image"] == (image if status == 200 else None)


def test_a_picture_stored_before_is_answered_and_may_stay(
    admin: Caller, user: Caller, database: Database[Document]
) -> None:
    image = "https://elsewhere.example/old.png"
    key = {"_id": object_id(str(user.id))}
    database["users"].update_one(key, {"$set": {"image": image}})
    path = f"/api/admin/users/{user.id}"
    assert admin.patch(path, {"name": "Renamed", "image": image}).json["image"] == image
    assert user.get("/api/auth/me").json["image"] == image
    assert admin.patch(path, {"image": None}).json["image"] is None
    refused(admin.patch(path, {"image": image}), 422, "validation_failed", "image")


def test_a_change_that_changes_nothing_stores_nothing(
    admin: Caller, user: Caller, database: Database[Document]
) -> None:
    before = stored(database)
    for body in ({}, {"role": "user"}, {"disabled": False}):
        assert admin.patch(f"/api/admin/users/{user.id}", body).status_code == 200
    assert stored(database) == before


def test_a_new_name_shows_on_the_agents_chats(admin: Caller, user: Caller) -> None:
    chat = user.open_chat()
    admin.patch(f"/api/chat/{chat['_id']}", {"adminId": admin.id})
    admin.patch(f"/api/admin/users/{admin.id}", {"name": "Kofi"})
    assert user.get(f"/api/chat/{chat['_id']}").json["adminName"] == "Kofi"


def test_a_user_cannot_be_given_a_password_or_an_email(admin: Caller, user: Caller) -> None:
    for field in ("password", "passwordHash", "email", "loginKey", "_id", "createdAt"):
        answer = admin.patch(f"/api/admin/users/{user.id}", {field: PASSWORD})
        refused(answer, 422, "validation_failed", field)


def test_pages_leave_out_none_of_many_users_of_the_same_time(
    admin: Caller, database: Database[Document], make_user: MakeUser
) -> None:
    first = make_user("Many")
    row = database["users"].find_one({"_id": first["_id"]})
    assert row is not None
    for number in range(30):
        row |= {"_id": ObjectId(), "loginKey": f"many{number}"}
        database["users"].insert_one(dict(row))
    found: list[str] = []
    after = None
    while True:
        page = users.newest(7, after)
        found += [str(user["_id"]) for user in page]
        if len(page) < 7:
            break
        after = Position(page[-1]["createdAt"], page[-1]["_id"])
    assert len(found) == len(set(found)) == 32
    assert admin.id in found
