"""What the API answers where no more passwords can be hashed at once."""

from __future__ import annotations

import pytest

from chatapi.domain import errors
from chatapi.services import passwords
from tests.user_api.callers import BODIES, WITH_BODY, Caller, Route, refused


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

    monkeypatch.setattr(passwords.pool, "run", full)
    # Who may call an endpoint differs; one of the three may call each that hashes.
    answers = [each.call(route.method, route.path(), body) for each in (guest, user, admin)]
    busy = [answer for answer in answers if answer.status_code == 503]
    for answer in busy:
        assert refused(answer, 503, "service_busy")["retryAfter"] == 2
    assert bool(busy) == (errors.ServiceBusy in route.contract.errors)
