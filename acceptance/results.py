"""How a check says what it found."""

from __future__ import annotations


class Failed(Exception):
    """Something is not as it should be: the reason, and what to do about it."""

    def __init__(self, reason: str, remedy: str = "") -> None:
        self.reason = reason
        self.remedy = remedy
        super().__init__(reason)


class NotRun(Failed):
    """The check could not be made: nothing answers."""


class NotApplicable(Exception):
    """There is nothing to check here, for the reason given."""


def expect(condition: object, reason: str, remedy: str = "") -> None:
    """Fail for a reason unless a condition holds."""
    if not condition:
        raise Failed(reason, remedy)
