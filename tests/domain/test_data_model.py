"""docs/data-model.md says what domain/documents.py says, with a line on each field."""

from __future__ import annotations

from tests.data_model import PAGE, SOURCE, page, stored_kinds

EXAMPLE = '''
class Chat(TypedDict):
    """A document."""

    _id: ObjectId  # the id
    adminId: NotRequired[ObjectId | None]  # an agent
    seq: int


class Changes(TypedDict, total=False):
    """Fields that one write sets."""

    seq: int
'''


def test_the_page_is_made_of_the_module() -> None:
    """If this fails, run `.venv/bin/python -m tests.data_model`."""
    assert PAGE.read_text(encoding="utf-8") == page(SOURCE.read_text(encoding="utf-8"))


def test_each_stored_field_has_its_line() -> None:
    kinds = stored_kinds(SOURCE.read_text(encoding="utf-8"))
    assert {"Chat", "Message", "User", "StoredSession"} <= {kind.name for kind in kinds}
    without = [
        f"{kind.name}.{each.name}" for kind in kinds for each in kind.fields if not each.line
    ]
    assert without == []


def test_a_field_has_its_type_and_its_line_on_the_page() -> None:
    (kind,) = stored_kinds(EXAMPLE)
    assert [tuple(each) for each in kind.fields] == [
        ("_id", "ObjectId", False, "the id"),
        ("adminId", "ObjectId | None", True, "an agent"),
        ("seq", "int", False, ""),
    ]
    assert "| `adminId`? | `ObjectId \\| None` | an agent |" in page(EXAMPLE)
