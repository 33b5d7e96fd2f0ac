"""What is sent to the database, and how the server would answer it.

The embedded database answers a filter of several fields by the index of one of them, but its
`explain` says so only for each field alone (and never under `$or`), so that is how it is asked.
"""

from __future__ import annotations

from pymongo.database import Database

from chatapi.store.database import Document

FILTERS = {"find": "filter", "count": "query", "distinct": "query"}
NO_FILTER = {"insert", "ping", "hello", "endSessions", "getMore", "killCursors", "isMaster"}


def asked(command: Document) -> list[tuple[str, Document]]:
    """Return the collections and filters that a command asks for."""
    name = command["name"]
    # `explain` shows an index for its query, and the embedded server reads the whole collection.
    assert name != "findAndModify", command
    if name in NO_FILTER:
        return []
    if name in FILTERS:
        return [(command[name], command.get(FILTERS[name], {}))]
    if name in {"update", "delete"}:
        return [(command[name], each["q"]) for each in command[f"{name}s"]]
    assert name == "aggregate", f"unknown command {name}"
    first = command["pipeline"][0]
    assert "$match" in first, command["pipeline"]
    joined = [
        (stage["$lookup"]["from"], {stage["$lookup"]["foreignField"]: None})
        for stage in command["pipeline"]
        if "$lookup" in stage
    ]
    return [(command[name], first["$match"]), *joined]


def stages(plan: Document) -> list[str]:
    """Return the names of a plan's stages, from the top."""
    names = [str(plan["stage"])]
    for below in [*plan.get("inputStages", []), *filter(None, [plan.get("inputStage")])]:
        names += stages(below)
    return names


def scans(database: Database[Document], collection: str, wanted: Document, sort: Document) -> bool:
    """Tell whether the server would read the whole collection for a filter."""

    def explained(one: Document) -> bool:
        find: Document = {"find": collection, "filter": one} | ({"sort": sort} if sort else {})
        plan = database.command("explain", find, verbosity="queryPlanner")["queryPlanner"]
        return "COLLSCAN" in stages(plan["winningPlan"])

    if not explained(wanted):
        return False
    for name, clause in wanted.items():
        if not name.startswith("$"):
            # A document with all of these has the first of them.
            alone = clause["$all"][0] if isinstance(clause, dict) and "$all" in clause else clause
            if not explained({name: alone}):
                return False
    return True


def examined(database: Database[Document], command: Document) -> int:
    """Return how many documents the server looks at for a `find`.

    The embedded server reads what the first field with an index allows, and then compares the
    rest; it explains so for that field alone.
    """
    for name, clause in command["filter"].items():
        find: Document = {"find": command["find"], "filter": {name: clause}}
        explained = database.command("explain", find, verbosity="executionStats")
        if "COLLSCAN" not in stages(explained["queryPlanner"]["winningPlan"]):
            return int(explained["executionStats"]["totalDocsExamined"])
    return database[command["find"]].count_documents({})
