"""The format of a backup file: gzipped BSON after a header that describes it.

The file is two gzip members. The first, of a fixed size, is one line of JSON (`zcat FILE |
head -n 1` shows it): format, version, date, the number of documents of each collection, and
the SHA-256 and length of the second. The second is a row of entries: one byte for the kind
("N" new, "A" again: replaces what stands earlier), one for the collection's place in the
header's list, and the document in BSON, with its types exactly as the database keeps them.

It is written under a temporary name, with mode 0600, and renamed when all of it is on the
disk: a file of that name is complete, or is the previous one.
"""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import json
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from bson.errors import BSONError
from bson.raw_bson import RawBSONDocument

FORMAT = "live chat backup"
VERSION = 1
NEW, AGAIN = b"N", b"A"
LEVEL = 5
_HEADER_TEXT = 4096
_CHUNK = 1 << 20
# The sizes in bytes that a BSON document in a collection can have.
_MIN_SIZE, _MAX_SIZE = 5, 16 * 1024 * 1024

Header = dict[str, Any]


class BadArchive(Exception):
    """A file that is no complete backup; the text says why."""


def _member(header: Header) -> bytes:
    """Return the first member, which has a fixed length."""
    text = json.dumps(header, ensure_ascii=True).ljust(_HEADER_TEXT - 1) + "\n"
    if len(text) > _HEADER_TEXT:
        raise ValueError("There are too many collections for a backup's header.")
    return gzip.compress(text.encode(), compresslevel=0, mtime=0)


_HEADER_SIZE = len(_member({}))


class Writer:
    """Writes the entries of a new file."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self._length = 0
        # One stream of compressed bytes, digested on its way to the disk.
        self._squeeze = zlib.compressobj(LEVEL, zlib.DEFLATED, 31)
        self.names: list[str] = []
        self.counts: dict[str, int] = {}
        file.write(bytes(_HEADER_SIZE))

    def add(self, name: str, document: RawBSONDocument, *, again: bool = False) -> None:
        """Add a document. `again`: it replaces one that may be in the file already."""
        if name not in self.counts:
            self.names.append(name)
            self.counts[name] = 0
        self.counts[name] += not again
        place = bytes([self.names.index(name)])
        self._write(self._squeeze.compress((AGAIN if again else NEW) + place + document.raw))

    def _write(self, squeezed: bytes) -> None:
        self._digest.update(squeezed)
        self._length += len(squeezed)
        self._file.write(squeezed)

    def close(self, facts: Header) -> Header:
        """Write the header and return it."""
        self._write(self._squeeze.flush())
        header = {
            "format": FORMAT,
            "version": VERSION,
            **facts,
            "collections": [{"name": name, "count": self.counts[name]} for name in self.names],
            "sha256": self._digest.hexdigest(),
            "length": self._length,
        }
        self._file.seek(0)
        self._file.write(_member(header))
        return header


@contextmanager
def new(path: Path) -> Iterator[Writer]:
    """Yield a Writer; the file appears only if the block succeeds.

    Raises BlockingIOError while another process writes the same file.
    """
    part = path.with_name(path.name + ".part")
    descriptor = os.open(part, os.O_CREAT | os.O_RDWR, 0o600)
    with os.fdopen(descriptor, "w+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # A killed run has left this file.
        os.fchmod(descriptor, 0o600)
        file.truncate(0)
        try:
            yield Writer(file)
            file.flush()
            os.fsync(descriptor)
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    _sync(path.parent)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        # Some file systems cannot sync a directory.
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check(path: Path, seen: Callable[[int], None] = lambda _: None) -> Header:
    """Check the bytes of the whole file and return its header. Raises BadArchive.

    seen -- called with the number of bytes read since the last call.
    """
    try:
        with path.open("rb") as file:
            header = _read_header(file)
            digest, length = hashlib.sha256(), 0
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
                length += len(chunk)
                seen(len(chunk))
    except OSError as error:
        raise BadArchive(f"it cannot be read ({error.strerror})") from None
    if length != header["length"]:
        raise BadArchive(
            f"it is {'cut off' if length < header['length'] else 'too long'}: "
            f"{length:,} of {header['length']:,} bytes"
        )
    if digest.hexdigest() != header["sha256"]:
        raise BadArchive("its checksum is wrong, so something in it has changed")
    return header


def _read_header(file: IO[bytes]) -> Header:
    try:
        header = json.loads(gzip.decompress(file.read(_HEADER_SIZE)))
    except (OSError, EOFError, zlib.error, ValueError):
        raise BadArchive("it is not a backup of this product, or its beginning is lost") from None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise BadArchive("it is not a backup of this product")
    if header.get("version") != VERSION:
        raise BadArchive(
            f"it has version {header.get('version')!r}, and this release reads version {VERSION}"
        )
    try:
        for row in header["collections"]:
            str(row["name"]), int(row["count"])
        int(header["length"]), str(header["sha256"])
    except (KeyError, TypeError, ValueError):
        raise BadArchive("its header lacks something") from None
    return header


def entries(
    path: Path, header: Header, seen: Callable[[int], None] = lambda _: None
) -> Iterator[tuple[bool, str, RawBSONDocument]]:
    """Yield (again, collection, document) of a file whose bytes were checked.

    seen -- called with the number of bytes read since the last call. Raises BadArchive at an
    entry that is no entry.
    """
    names = [str(row["name"]) for row in header["collections"]]
    try:
        with path.open("rb") as file:
            file.seek(_HEADER_SIZE)
            position = file.tell()
            with gzip.GzipFile(fileobj=file) as stream:
                while head := stream.read(6):
                    yield _entry(head, stream, names)
                    seen(file.tell() - position)
                    position = file.tell()
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise BadArchive("what stands behind its header is not compressed data") from None


def _entry(
    head: bytes, stream: gzip.GzipFile, names: list[str]
) -> tuple[bool, str, RawBSONDocument]:
    size = int.from_bytes(head[2:6], "little") if len(head) == 6 else 0
    if head[:1] not in {NEW, AGAIN} or not _MIN_SIZE <= size <= _MAX_SIZE or head[1] >= len(names):
        raise BadArchive("it holds something that is no document of a collection")
    rest = stream.read(size - 4)
    if len(rest) != size - 4:
        raise BadArchive("its last document is cut off")
    try:
        document = RawBSONDocument(head[2:6] + rest)
    except BSONError:
        raise BadArchive("it holds something that is no BSON document") from None
    return head[:1] == AGAIN, names[head[1]], document


def count(header: Header, name: str) -> int:
    """Return the number of documents of a collection in a backup."""
    return sum(int(row["count"]) for row in header["collections"] if row["name"] == name)


def total(header: Header) -> int:
    """Return the number of documents in a backup."""
    return sum(int(row["count"]) for row in header["collections"])


def summary(header: Header) -> str:
    """Return a description of a backup's contents."""
    named = (("chats", "chatrooms"), ("messages", "messages"), ("people", "users"))
    parts = [f"{count(header, name):,} {words}" for words, name in named]
    return f"{parts[0]}, {parts[1]} and {parts[2]}"
