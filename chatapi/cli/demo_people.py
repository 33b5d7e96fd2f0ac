"""The demo's users: the agents of a fictional shop for indoor gardens, and its customers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_DATA = Path(__file__).parent / "data"


@dataclass(frozen=True)
class Person:
    """A user of the demo. `languages` are those besides English that they write."""

    name: str
    email: str
    called: str
    languages: tuple[str, ...] = ()
    keeps: str | None = None


@dataclass(frozen=True)
class People:
    admin: Person
    agents: tuple[Person, ...]
    users: tuple[Person, ...]
    guests: tuple[Person, ...]


def people() -> People:
    """Return all users of the demo."""
    found = read_data("demo_people.json")
    return People(
        admin=_person(found["admin"]),
        agents=tuple(_person(row) for row in found["agents"]),
        users=tuple(_person(row) for row in found["users"]),
        guests=tuple(_person(row) for row in found["guests"]),
    )


def _person(row: dict[str, Any]) -> Person:
    languages = [row["language"]] if "language" in row else row.get("languages", [])
    return Person(
        name=row["name"],
        email=row["email"],
        called=row.get("called") or row["name"].split()[0],
        languages=tuple(languages),
        keeps=row.get("keeps"),
    )


def read_data(name: str) -> Any:
    """Return the content of one of the demo's files."""
    return json.loads((_DATA / name).read_text(encoding="utf-8"))
