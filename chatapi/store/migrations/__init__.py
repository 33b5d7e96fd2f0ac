"""Changes of stored data from one release to the next.

A migration is a module `NNNN_name.py` of this package with a function `up(database, step)` and, if
it renames fields, a table RENAMED of them by collection. It may be killed at any moment and is then
run again from its beginning, so each of its steps is harmless when it was done already. `run` runs
those that the `migrations` collection does not name, in order, in one process at a time.

Release 0.1.0 and those before had no migrations. `0001` is offline: neither release may serve while
it runs. Every later one is online: the release before must work on its result, so a field is first
added beside the old one, and the old one is removed a release later.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable
from typing import Any

from pymongo.database import Database

from chatapi.domain import clock
from chatapi.store import leases

LEASE = "migrations"

# Called before each step with its name, and between the parts of a long one.
Step = Callable[[str], None]
# What a migration does not change.
_OWN = frozenset({"migrations", "leases", "maintenance", "probes"})


class MigrationRefused(Exception):
    """A migration cannot run now; the text says why. Nothing was changed."""


def names() -> list[str]:
    """Return the names of all migrations of this release, in order."""
    found = (module.name for module in pkgutil.iter_modules(__path__))
    return sorted(name for name in found if re.fullmatch(r"\d{4}_\w+", name))


def missing(database: Database[Any]) -> list[str]:
    """Return the migrations that this database has not had, in order."""
    wanted = names()
    ran = {row["_id"] for row in database["migrations"].find({"_id": {"$in": wanted}})}
    return [name for name in wanted if name not in ran]


def renamed(collection: str, document: dict[str, Any]) -> dict[str, Any]:
    """Return a document of any release with the field names that the migrations give it."""
    for name in names():
        fields = getattr(_module(name), "RENAMED", {}).get(collection, {})
        document = {fields.get(field, field): value for field, value in document.items()}
    return document


def run(
    database: Database[Any],
    step: Step = lambda _: None,
    waiting: Callable[[str], None] = lambda _: None,
) -> list[str]:
    """Run the missing migrations in order and return their names.

    step -- called before each step, with its name. waiting -- called with the process that runs
    the migrations now, if there is one; this one waits for it.
    Raises MigrationRefused, LeaseLost, PyMongoError.
    """
    if not missing(database):
        return []
    with leases.hold(database, LEASE, waiting) as lease:

        def checked(name: str) -> None:
            lease.require()
            step(name)

        wanted = missing(database)
        is_new = set(database.list_collection_names()) <= _OWN
        for name in wanted:
            if not is_new:
                _module(name).up(database, checked)
            lease.require()
            row = {"_id": name, "ranAt": clock.real()}
            database["migrations"].replace_one({"_id": name}, row, upsert=True)
        return wanted


def _module(name: str) -> Any:
    return importlib.import_module(f"{__name__}.{name}")
