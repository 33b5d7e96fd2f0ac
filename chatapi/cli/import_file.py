"""The file that `import-conversations` reads: one conversation a line, in JSON.

A line is `{"id", "subject", "messages": [{"role": "user" | "admin", "text"}]}`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from marshmallow import ValidationError

from chatapi.domain import spelling
from chatapi.domain.enums import SIDES
from chatapi.domain.lengths import MAX_MESSAGE_LENGTH, MAX_SUBJECT_LENGTH
from chatapi.domain.strict_json import DuplicateKey, decode, shortened
from chatapi.schemas import field_types

DOMAIN = "import.invalid"  # RFC 2606: no mail will ever be delivered there
_PLAIN_ID = re.compile(r"[a-z0-9]+(?:[_-][a-z0-9]+)*")

_ID = field_types.Text(1, 64)
_SUBJECT = field_types.Text(1, MAX_SUBJECT_LENGTH)
_TEXT = field_types.Text(1, MAX_MESSAGE_LENGTH, multiline=True)


@dataclass(frozen=True)
class Conversation:
    """One line of the file. `lines` are pairs of role and text."""

    id: str
    subject: str
    lines: tuple[tuple[str, str], ...]

    @property
    def email(self) -> str:
        """The address of the conversation's user: the same id, the same address.

        An id that could be mistaken for another one in an address (addresses know no case)
        is replaced by its SHA-256.
        """
        plain = len(self.id) <= 40 and _PLAIN_ID.fullmatch(self.id)
        digest = hashlib.sha256(self.id.encode()).hexdigest()
        return f"import+{self.id if plain else 'sha256.' + digest[:40]}@{DOMAIN}"

    @property
    def user_name(self) -> str:
        return spelling.clean_name(f"Customer {self.id}")


class BadLine(Exception):
    """A line that cannot be imported; `problems` has one text for each field."""

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        super().__init__("; ".join(problems))


def read(file: Path, *, trim: bool = False) -> Iterator[tuple[int, Conversation | BadLine]]:
    """Yield each line's number and its conversation, or what is wrong with it.

    Blank lines are passed over. An id that an earlier line had is bad, too.
    """
    first_seen: dict[str, int] = {}
    with file.open("rb") as lines:
        for number, raw in enumerate(lines, start=1):
            if not raw.strip():
                continue
            try:
                conversation = parse(raw, trim=trim)
                earlier = first_seen.setdefault(conversation.id, number)
                if earlier != number:
                    raise BadLine(f"id: {conversation.id!r} is on line {earlier} already")
            except BadLine as problem:
                yield number, problem
            else:
                yield number, conversation


def parse(raw: bytes, *, trim: bool = False) -> Conversation:
    """Return the conversation on a line. Raises BadLine naming every bad field.

    An accepted text is stored unchanged, character by character: a text that the chat
    would trim is refused unless `trim` allows it.
    """
    try:
        found = decode(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise BadLine(f"not UTF-8 (byte {error.start + 1})") from None
    except DuplicateKey as error:
        raise BadLine(str(error)) from None
    except (ValueError, RecursionError) as error:
        raise BadLine(f"not valid JSON ({error})") from None
    problems: list[str] = []
    row = _object(found, "", ("id", "subject", "messages"), problems)
    conversation_id = _text(row, "id", "id", _ID, False, problems)
    subject = _text(row, "subject", "subject", _SUBJECT, trim, problems)
    lines = []
    spoken = row.get("messages", [])
    if "messages" in row and not (isinstance(spoken, list) and spoken):
        problems.append("messages: must be a list of at least one message")
        spoken = []
    for index, item in enumerate(spoken):
        name = f"messages[{index}]"
        message = _object(item, name, ("role", "text"), problems)
        role = message.get("role")
        if "role" in message and role not in SIDES:
            problems.append(f"{name}.role: must be one of user, admin, not {shortened(role)}")
        text = _text(message, "text", f"{name}.text", _TEXT, trim, problems)
        lines.append((str(role), text))
    if problems:
        raise BadLine(*problems)
    return Conversation(conversation_id, subject, tuple(lines))


def _object(value: Any, name: str, keys: tuple[str, ...], problems: list[str]) -> dict[str, Any]:
    prefix = f"{name}." if name else ""
    if not isinstance(value, dict):
        problems.append(f"{name or 'line'}: must be an object, not {shortened(value)}")
        return {}
    problems += [f"{prefix}{key}: is missing" for key in keys if key not in value]
    problems += [f"{prefix}{shortened(key)}: unknown field" for key in value if key not in keys]
    return value


def _text(
    row: dict[str, Any],
    key: str,
    name: str,
    kind: field_types.Text,
    trim: bool,
    problems: list[str],
) -> str:
    """Return a text as the chat stores it, and record its problems."""
    if key not in row:
        return ""
    try:
        kept: str = kind.deserialize(row[key])
    except ValidationError as error:
        problems += [f"{name}: {reason}" for reason in error.messages]
        return ""
    if kept != row[key] and not trim:
        problems.append(
            f"{name}: begins or ends with white space, which the chat trims (--trim allows it)"
        )
    return kept
