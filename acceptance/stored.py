"""Checks of the database: some ask it directly, most are the product's own (`flask doctor`)."""

from __future__ import annotations

from acceptance.results import expect
from acceptance.run import Check, Run

INIT_DB = "Run init-db (docs/troubleshooting.md says how a command is called)."
CUSTOMERS_INDEXES = (
    [("userId", 1), ("createdAt", -1)],
    [("adminId", 1), ("createdAt", -1)],
    [("status", 1)],
)


def doctor(name: str) -> Check:
    """Return a check that the product makes of itself."""

    def check(run: Run) -> str:
        return run.product.doctor(name)

    return check


def collection(name: str) -> Check:
    """Return a check that a collection is there."""

    def check(run: Run) -> str:
        database = run.product.database
        there = database.list_collection_names()
        expect(name in there, f"There is no collection {name}.", INIT_DB)
        return f"{database[name].estimated_document_count():,} documents"

    return check


def all_indexes(run: Run) -> str:
    """Look for the indexes that the checklist names, then compare all with what is declared."""
    there = run.product.database["chatrooms"].index_information().values()
    keys = [[tuple(part) for part in facts["key"]] for facts in there]
    for wanted in CUSTOMERS_INDEXES:
        expect(
            wanted in keys,
            f"chatrooms has no index on {dict(wanted)}, which the checklist names.",
            INIT_DB,
        )
    return f"the three named ones, and {run.product.doctor('indexes')}"
