"""Write docs/data-model.md from chatapi/domain/documents.py: `python -m tests.data_model`."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import NamedTuple, get_args

from chatapi.domain import enums

ROOT = Path(__file__).parent.parent
SOURCE, PAGE = ROOT / "chatapi/domain/documents.py", ROOT / "docs/data-model.md"
VALUES = ("Status", "Priority", "Role", "SenderRole", "Side")
HEAD = """\
# Data model

This page describes each kind of stored document. `.venv/bin/python -m tests.data_model` writes it
from `chatapi/domain/documents.py`, and `tests/domain/test_data_model.py` checks that both agree.
`tests/domain/test_documents.py` compares the documents that the services store with that module.
The indexes and validators are in `chatapi/store/indexes.py`.

Times are in UTC, in milliseconds. A field with `?` is missing in documents to which it does not
apply, and in documents that an older release wrote.
"""


class Field(NamedTuple):
    """A field of a document: its name, its type, whether it may be missing, and its line."""

    name: str
    kind: str
    may_be_missing: bool
    line: str


class Kind(NamedTuple):
    """A kind of document, or of a part of one."""

    name: str
    text: str
    fields: list[Field]


def stored_kinds(source: str) -> list[Kind]:
    """Return what a module says of each kind that is stored as a whole."""
    lines = source.splitlines()
    kinds = []
    for node in ast.parse(source).body:
        if not isinstance(node, ast.ClassDef) or node.keywords:
            continue  # With `total=False`: what one write sets.
        text = ast.get_docstring(node) or ""
        if "not stored" in text or text.startswith("Fields "):
            continue
        fields = [_field(each, lines) for each in node.body if isinstance(each, ast.AnnAssign)]
        kinds.append(Kind(node.name, text, fields))
    return kinds


def _field(node: ast.AnnAssign, lines: list[str]) -> Field:
    kind, missing = node.annotation, False
    if isinstance(kind, ast.Subscript) and ast.unparse(kind.value) == "NotRequired":
        kind, missing = kind.slice, True
    line = lines[(node.end_lineno or node.lineno) - 1]
    comment = line[node.end_col_offset :].strip().removeprefix("#").strip()
    return Field(ast.unparse(node.target), ast.unparse(kind), missing, comment)


def page(source: str) -> str:
    """Return docs/data-model.md."""
    parts = [HEAD]
    for kind in stored_kinds(source):
        rows = [
            f"| `{each.name}`{'?' * each.may_be_missing} | `{_in_table(each.kind)}` "
            f"| {_in_table(each.line)} |"
            for each in kind.fields
        ]
        text = " ".join(kind.text.split())
        parts.append(
            f"## {kind.name}\n\n{text}\n\n| field | type | |\n|---|---|---|\n" + "\n".join(rows)
        )
    values = [
        f"| `{name}` | {', '.join(f'`{value}`' for value in get_args(vars(enums)[name]))} |"
        for name in VALUES
    ]
    parts.append("## Values\n\n| type | values |\n|---|---|\n" + "\n".join(values))
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _in_table(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(SOURCE.read_text(encoding="utf-8")), encoding="utf-8")
