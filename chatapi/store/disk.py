"""Reject writes while the database's disk has too little free space.

An engine that cannot write its journal panics, and then does not respond until a restart. So writes
are rejected while a reserve is still free, and accepted again when there is enough space.
"""

from __future__ import annotations

import functools
import shutil
import time
from pathlib import Path
from typing import Any

from bson.codec_options import CodecOptions
from pymongo.database import Database
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import _ServerMode
from pymongo.write_concern import WriteConcern

from chatapi.domain.runtime import PerApp
from chatapi.store.times import UtcCollection

CHECK_SECONDS = 0.2
WRITES = (
    *("insert_one", "insert_many", "update_one", "update_many", "replace_one", "bulk_write"),
    *("find_one_and_update", "find_one_and_replace"),
)
DELETES = ("delete_one", "delete_many", "find_one_and_delete")


class StorageFull(PyMongoError):
    """There is too little free space for this write. Reads still work."""


class FreeSpace:
    """The free space of a directory's file system, checked a few times a second."""

    def __init__(self) -> None:
        self.watch(None, 0)

    def watch(self, directory: Path | None, reserve: int) -> None:
        """Watch this directory from now on; with None there is always enough space.

        reserve -- bytes that have to stay free.
        """
        self.directory, self.reserve = directory, reserve
        self._free, self._next_check = 0, 0.0

    @property
    def is_low(self) -> bool:
        """Tell whether less than the reserve is free."""
        return self._is_below(self.reserve)

    def require(self) -> None:
        """Raise StorageFull when less than the reserve is free."""
        if self.is_low:
            raise StorageFull("The disk of the database is almost full.")

    def require_for_deletion(self) -> None:
        """Raise StorageFull when less than half of the reserve is free.

        A deletion writes little, may end sessions, and frees space later.
        """
        if self._is_below(self.reserve // 2):
            raise StorageFull("The disk of the database is full.")

    def _is_below(self, wanted: int) -> bool:
        if self.directory is None:
            return False
        now = time.monotonic()
        if now >= self._next_check:
            self._next_check = now + CHECK_SECONDS
            try:
                self._free = shutil.disk_usage(self.directory).free
            except OSError:  # The directory does not exist: the database reports that itself.
                self._free = self.reserve
        return self._free < wanted


free_space = PerApp(FreeSpace)


class GuardedCollection(UtcCollection):
    """A collection that rejects writes while there is too little free space."""

    def with_options(
        self,
        codec_options: CodecOptions[Any] | None = None,
        read_preference: _ServerMode | None = None,
        write_concern: WriteConcern | None = None,
        read_concern: ReadConcern | None = None,
    ) -> GuardedCollection:
        """Return the same collection with other options, guarded too."""
        return GuardedCollection(
            self.database,
            self.name,
            False,
            codec_options or self.codec_options,
            read_preference or self.read_preference,
            write_concern or self.write_concern,
            read_concern or self.read_concern,
        )


class GuardedDatabase(Database[Any]):
    """A database whose collections reject writes while there is too little free space."""

    def __getitem__(self, name: str) -> GuardedCollection:
        return GuardedCollection(self, name)

    def get_collection(self, name: str, *args: Any, **options: Any) -> GuardedCollection:
        """Return a collection with other options, guarded too."""
        return self[name].with_options(*args, **options)

    def with_options(self, *args: Any, **options: Any) -> GuardedDatabase:
        """Return the same database with other options, guarded too."""
        return guarded(super().with_options(*args, **options))


def guarded(database: Database[Any]) -> GuardedDatabase:
    """Return the database with its options, guarded."""
    return GuardedDatabase(
        database.client,
        database.name,
        database.codec_options,
        database.read_preference,
        database.write_concern,
        database.read_concern,
    )


def _guard(name: str, check: str) -> None:
    plain = getattr(UtcCollection, name)

    @functools.wraps(plain)
    def method(self: GuardedCollection, *args: Any, **options: Any) -> Any:
        getattr(free_space.current, check)()
        return plain(self, *args, **options)

    setattr(GuardedCollection, name, method)


for _name in WRITES:
    _guard(_name, "require")
for _name in DELETES:
    _guard(_name, "require_for_deletion")
