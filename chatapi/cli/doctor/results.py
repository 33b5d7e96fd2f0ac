"""The results of the checks of `flask doctor`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pymongo.errors import PyMongoError

Check = Callable[[], str]

PASSED, FAILED, NOT_RUN = "passed", "failed", "not run"
NOT_APPLICABLE = "not applicable"
SIGNS = {PASSED: "✓", FAILED: "✗", NOT_RUN: "✗"}


class Failed(Exception):
    """A failed check: the reason, and what to do about it."""

    def __init__(self, reason: str, remedy: str = "") -> None:
        self.reason = reason
        self.remedy = remedy
        super().__init__(reason)


class NotApplicable(Exception):
    """There is nothing to check here, for the reason given."""


@dataclass(frozen=True)
class Result:
    """What one check found."""

    name: str
    status: str
    detail: str
    remedy: str = ""

    @property
    def is_bad(self) -> bool:
        """Whether it fails the command, also if it could not be checked."""
        return self.status in {FAILED, NOT_RUN}


def expect(condition: object, reason: str, remedy: str = "") -> None:
    """Fail for a reason unless a condition holds."""
    if not condition:
        raise Failed(reason, remedy)


def result_of(name: str, check: Check) -> Result:
    """Run a check and return its result, also if it raises."""
    try:
        return Result(name, PASSED, check())
    except NotApplicable as reason:
        return Result(name, NOT_APPLICABLE, str(reason))
    except Failed as failure:
        return Result(name, FAILED, failure.reason, failure.remedy)
    except PyMongoError as error:
        return Result(
            name,
            NOT_RUN,
            f"The database does not answer ({type(error).__name__}).",
            "Look at the database; docs/troubleshooting.md.",
        )
    except Exception as error:  # noqa: BLE001 - a check that breaks must not hide the others
        return Result(name, FAILED, f"The check broke ({type(error).__name__}: {error}).")
