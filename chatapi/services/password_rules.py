"""The rules for new passwords. Passwords set before these rules remain valid.

data/common_passwords.txt -- the entries of 8 characters and more of Django 5.2.8's
common-passwords.txt.gz (BSD-3-Clause, gist.github.com/roycewilliams), one a line, lower case.
"""

from __future__ import annotations

import functools
import unicodedata
from pathlib import Path

from chatapi.domain.errors import InvalidInput
from chatapi.domain.runtime import PerApp

_LIST = Path(__file__).parent / "data" / "common_passwords.txt"
_agent_length = PerApp(lambda: 12)


def configure(agent_length: int) -> None:
    """Set the length of agents' passwords in the app. The application factory calls it once."""
    _agent_length.set(agent_length)


def check(password: str, role: str, name: str, email: str, field: str = "password") -> None:
    """Raise InvalidInput on `field` for a password that is easy to guess."""
    folded = unicodedata.normalize("NFC", password).casefold().strip()
    local = email.partition("@")[0]
    if role == "admin" and len(password) < _agent_length.current:
        reason = f"An agent's password must have at least {_agent_length.current} characters."
    elif not folded:
        reason = "Must not be blanks only."
    elif folded in {text.casefold().strip() for text in (name, email, local)}:
        reason = "Must not be your name or e-mail address."
    elif folded in _common():
        reason = "This is one of the most common passwords. Choose another one."
    else:
        return
    raise InvalidInput.for_field(field, reason)


@functools.cache  # a file that comes with the product
def _common() -> frozenset[str]:
    return frozenset(_LIST.read_text(encoding="utf-8").split("\n"))
