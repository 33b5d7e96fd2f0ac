"""The commands that are sent to the database, as the driver reports them."""

from __future__ import annotations

from typing import Any

from pymongo.monitoring import CommandListener, CommandStartedEvent

from chatapi.store.database import Document


class Wire(CommandListener):
    """Keeps every command sent, in `commands`; `sent` has their names and collections."""

    def __init__(self) -> None:
        self.commands: list[Document] = []

    def started(self, event: CommandStartedEvent) -> None:
        self.commands.append({"name": event.command_name, **event.command})

    def succeeded(self, event: Any) -> None:
        """Not needed."""

    def failed(self, event: Any) -> None:
        """Not needed."""

    @property
    def sent(self) -> list[tuple[str, Any]]:
        """The name and the collection of each command."""
        return [(each["name"], each[each["name"]]) for each in self.commands]

    def clear(self) -> None:
        """Forget what was sent so far."""
        self.commands.clear()
