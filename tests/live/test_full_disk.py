"""A full disk: reads go on, writes are refused by name, and room alone brings all back."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from chatapi.store.database import Document
from chatapi.store.disk import CHECK_SECONDS
from tests.live.supervisor import Supervisor
from tests.servers import request
from tests.waiting import eventually

pytestmark = pytest.mark.long

MEGABYTE = 1024 * 1024
PASSWORD = "a long password 77"


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file system of 44 MB, in memory. To mount it takes root."""
    directory = tmp_path_factory.mktemp("small") / "disk"
    directory.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=44m", "livechat-test", str(directory)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"This test mounts a small file system, as root: {done.stderr}"
    yield directory
    subprocess.run(["umount", "--lazy", str(directory)], check=True)


@pytest.fixture(scope="module")
def small(disk: Path) -> Iterator[Supervisor]:
    """`make run` with its data on the small disk."""
    supervisor = Supervisor(disk / "var", SEED_DEMO="0", LOG_LEVEL="ERROR")
    try:
        supervisor.output = disk.parent / "supervisor.log"
        supervisor.flask("create-admin", "agent@example.org", "--password", PASSWORD)
        yield supervisor.start()
    finally:
        supervisor.close()


@contextlib.contextmanager
def only_free(disk: Path, left: int) -> Iterator[None]:
    """Fill the disk from outside until so many bytes are free, for as long as the block runs."""
    ballast = disk / "ballast"
    try:
        with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while (more := shutil.disk_usage(disk).free - left) > 0:
                file.write(b"x" * min(more, MEGABYTE))
        yield
    finally:
        ballast.unlink()


def overfill(uri: str) -> None:
    """Write past the product's reserve, as another program could, until the engine panics."""
    with MongoClient[Document](uri, serverSelectionTimeoutMS=1000) as client:
        for _ in range(60):
            try:
                client.other.ballast.insert_one({"data": b"x" * MEGABYTE})
            except PyMongoError:
                return
    raise AssertionError("60 MB fitted on a disk that was full.")


class Chat:
    """A user with a chat, and the agent."""

    def __init__(self, server: Supervisor) -> None:
        self.server = server
        who = {"name": "Ada", "email": f"ada{time.time()}@example.org", "password": PASSWORD}
        self.user = server.request("POST", "/api/auth/register", body=who)["token"]
        self.agent = server.login({"email": "agent@example.org", "password": PASSWORD})
        made = {"subject": "Disks", "message": "first"}
        self.path = "/api/chat/" + server.request("POST", "/api/chat", self.user, made)["_id"]

    def ask(
        self, method: str, path: str, token: str = "", body: Any = None
    ) -> tuple[int, dict[str, str], Any]:
        return request(self.server.url + path, method, token or self.user, body)

    def send(self, text: str) -> tuple[int, dict[str, str], Any]:
        return self.ask("POST", f"{self.path}/messages", body={"content": text})

    def texts(self) -> list[str]:
        return [row["content"] for row in self.ask("GET", f"{self.path}/messages")[2]]


def test_below_the_reserve_writes_are_refused_and_reads_go_on(
    small: Supervisor, disk: Path
) -> None:
    chat = Chat(small)
    with only_free(disk, 9 * MEGABYTE):
        time.sleep(0.3)
        credentials = {"email": "agent@example.org", "password": PASSWORD}
        for method, path, body in (
            ("POST", f"{chat.path}/messages", {"content": "too late"}),
            ("POST", "/api/auth/login", credentials),
            ("POST", "/api/auth/guest", {"name": "G", "email": "guest@example.org"}),
            ("PATCH", chat.path, {"priority": "high"}),
            ("DELETE", chat.path, None),
        ):
            status, headers, problem = chat.ask(method, path, chat.agent, body)
            assert (status, problem["code"]) == (503, "storage_full"), path
            assert int(headers["retry-after"]) > 0
        for path in ("/api/chat", chat.path, f"{chat.path}/messages", "/api/auth/me"):
            assert chat.ask("GET", path)[0] == 200, path
        for path in ("/api/admin/stats", "/api/admin/users", "/api/chat"):
            assert chat.ask("GET", path, chat.agent)[0] == 200, path
        status, _, ready = request(small.url + "/readyz")
        assert (status, ready["writable"]) == (200, False)
        for path in (
            "/admin/chats",
            "/admin" + chat.path.removeprefix("/api").replace("chat", "chats", 1),
        ):
            status, headers, page = chat.ask("GET", path, chat.agent)
            assert status == 200
            assert "The disk is almost full" in page
            assert headers["x-storage-full"] == "true"
        # A deletion that writes little still goes: nobody has to stay signed in.
        assert chat.ask("POST", "/api/auth/logout", chat.agent, {})[0] == 204
        assert chat.ask("GET", "/api/auth/me", chat.agent)[0] == 401
    eventually(lambda: request(small.url + "/readyz")[2]["writable"], 20)
    assert Chat(small).send("room again")[0] == 201
    assert "too late" not in chat.texts()


def test_after_the_engine_died_of_a_full_disk_room_alone_brings_it_back(
    small: Supervisor, disk: Path
) -> None:
    chat = Chat(small)
    assert chat.send("kept")[0] == 201
    uri = json.loads((small.data_dir / "run.json").read_text())["mongoUri"]
    seen = set()
    with only_free(disk, 0):
        overfill(uri)
        time.sleep(2 * CHECK_SECONDS)  # What the process saw of the free space is so old at most.
        for _ in range(20):
            for status, headers, body in (
                request(small.url + "/readyz"),
                chat.send("no room"),
                chat.ask("GET", f"{chat.path}/messages"),
            ):
                seen.add(status)
                assert status in {200, 503}, body
                assert status == 200 or int(headers["retry-after"]) > 0
            time.sleep(0.2)
    assert 503 in seen
    eventually(lambda: chat.send("room again")[0] == 201, 60)
    assert request(small.url + "/readyz")[0] == 200
    texts = chat.texts()
    assert "kept" in texts
    assert "room again" in texts
    assert "no room" not in texts
