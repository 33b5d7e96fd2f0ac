"""What the server's refusals of a change stream are called here."""

from __future__ import annotations

import pytest
from pymongo.errors import OperationFailure

from chatapi.store import changes


@pytest.mark.parametrize(
    ("code", "named"),
    [
        (280, changes.ResumeTokenLost),
        (286, changes.ResumeTokenLost),
        (40573, changes.ChangeStreamsUnsupported),
        (1, OperationFailure),
        (None, OperationFailure),
    ],
)
def test_a_refusal_is_named_and_is_never_its_own_cause(
    code: int | None, named: type[Exception]
) -> None:
    refusal = OperationFailure("The server refuses.", code)

    def refused() -> None:
        try:
            raise refusal
        except OperationFailure as error:
            changes._raise_named(error)

    with pytest.raises(named) as raised:
        refused()
    assert raised.value.__cause__ is (None if named is OperationFailure else refusal)
