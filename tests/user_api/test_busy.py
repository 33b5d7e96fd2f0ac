"""What the API answers where too much is done at once: to a chat, or with passwords."""

from __future__ import annotations

import pytest

from chatapi.domain import errors
from chatapi.services import passwords
from chatapi.store import chats as stored_chats
from tests.user_api.callers import BODIES, WITH_BODY, Caller, Route, refused


def test_a_chat_that_too_many_write_to_is_busy_and_says_so(
    user: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"/api/chat/{user.open_chat()['_id']}"
    with monkeypatch.context() as patch:
        patch.setattr(stored_chats, "replace", lambda *_: False)
        answer = user.post(f"{path}/messages", {"content": "Hello"})
    assert refused(answer, 503, "busy")["retryAfter"] == 1
    assert answer.headers["Retry-After"] == "1"
    assert user.get(f"{path}/messages").json == []


@pytest.mark.parametrize("route", WITH_BODY, ids=str)
def test_an_endpoint_that_hashes_is_busy_with_a_full_queue_and_says_so(
    route: Route, user: Caller, guest: Caller, admin: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A password comes in a body, so these are all endpoints that can hash one."""
    assert route.contract is not None
    body = dict(BODIES[str(route)])
    if "token" in body:
        url = admin.post(f"/api/admin/users/{user.id}/password-link").json["url"]
        body["token"] = url.partition("token=")[2]

    def full(*_: object) -> None:
        raise errors.ServiceBusy(retryAfter=2)

    monkeypatch.setattr(passwords.pool.current, "run", full)
    # Who may call an endpoint differs; one of the three may call each that hashes.
    answers = [each.call(route.method, route.path(), body) for each in (guest, user, admin)]
    busy = [answer for answer in answers if answer.status_code == 503]
    for answer in busy:
        assert refused(answer, 503, "service_busy")["retryAfter"] == 2
    assert bool(busy) == (errors.ServiceBusy in route.contract.errors)
