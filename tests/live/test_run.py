"""`make run`: the supervisor and everything it starts, as real processes."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pymongo.uri_parser import parse_uri

from deploy import run
from tests.live.impostor import HANDSHAKE, Impostor
from tests.live.supervisor import SCRIPT, Supervisor, alive
from tests.servers import DatabaseServer, children, descendants, request
from tests.tiers import representatives
from tests.waiting import eventually


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supervisor]:
    """What a first `make run` gives: started once for the tests that leave it running."""
    supervisor = Supervisor(tmp_path_factory.mktemp("a folder with spaces") / "var")
    try:
        yield supervisor.start()
    finally:
        supervisor.close()


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Supervisor]:
    """One without demo data, not yet started, for a test to stop and kill."""
    supervisor = Supervisor(tmp_path / "var", SEED_DEMO="0")
    yield supervisor
    supervisor.close()


def test_the_demo_logins_work_and_nobody_else_can_read_them(demo: Supervisor) -> None:
    file = demo.data_dir / "demo.json"
    logins = json.loads(file.read_text())

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert logins["baseUrl"] == demo.url
    admin = demo.login(logins["admin"])
    assert demo.request("GET", "/api/admin/stats", admin)["total"] > 0
    for user in (*logins["agents"], *logins["users"]):
        assert demo.request("GET", "/api/auth/me", demo.login(user))["email"] == user["email"]


def test_the_addresses_and_the_file_of_the_logins_are_printed(demo: Supervisor) -> None:
    for path in ("/admin", "/chat", "/api/docs", "/readyz"):
        status, _, _ = request(demo.url + path)
        assert status == 200
        assert demo.url + path in demo.said() or path == "/readyz"
    assert str(demo.data_dir / "demo.json") in demo.said()
    # What is no terminal is often a journal, which others may read.
    logins = json.loads((demo.data_dir / "demo.json").read_text())
    assert not any(who["password"] in demo.said() for who in (logins["admin"], *logins["users"]))


def test_secrets_of_the_data_directory_are_private(demo: Supervisor) -> None:
    for name in ("secret_key", "run.json", "demo.json", "database_password"):
        assert stat.S_IMODE((demo.data_dir / name).stat().st_mode) == 0o600


def test_a_second_run_on_the_same_data_directory_is_refused(demo: Supervisor) -> None:
    error = Supervisor(demo.data_dir, run.free_port()).refused()

    assert str(demo.data_dir) in error
    assert str(demo.pid) in error
    assert demo.request("GET", "/readyz")


def test_a_taken_port_is_refused_by_name(demo: Supervisor, tmp_path: Path) -> None:
    error = Supervisor(tmp_path / "var", demo.port).refused()

    assert f"PORT {demo.port}" in error
    assert not (tmp_path / "var" / "db").exists()


@pytest.mark.parametrize("port", ["eighty", "0", "70000", ""])
def test_an_impossible_port_is_refused_by_name(tmp_path: Path, port: str) -> None:
    error = Supervisor(tmp_path / "var", PORT=port).refused()

    assert error.startswith("PORT must be a number")


@pytest.mark.long
def test_a_killed_database_comes_back_with_its_data(demo: Supervisor) -> None:
    user = json.loads((demo.data_dir / "demo.json").read_text())["users"][-1]
    token = demo.login(user)
    killed = demo.child("secantus")

    os.kill(killed, signal.SIGKILL)

    eventually(lambda: not alive(killed), 20)
    eventually(lambda: run.ready(demo.url), 20)
    assert demo.request("GET", "/api/auth/me", token)["email"] == user["email"]
    assert demo.child("secantus") != killed


@pytest.mark.long
def test_a_killed_web_server_comes_back(demo: Supervisor) -> None:
    killed = demo.child("gunicorn")
    workers = children(killed)

    os.kill(killed, signal.SIGKILL)

    eventually(lambda: not any(map(alive, [killed, *workers])), 20)
    eventually(lambda: run.ready(demo.url), 20)


def test_a_flask_command_finds_the_database_that_runs(demo: Supervisor) -> None:
    credentials = {"email": "made@example.org", "password": "made by a command"}

    demo.flask("create-admin", credentials["email"], "--password", credentials["password"])

    assert demo.request("GET", "/api/admin/stats", demo.login(credentials))


@pytest.mark.long
def test_a_flask_command_starts_the_database_when_none_runs(bare: Supervisor) -> None:
    bare.flask("init-db")
    bare.flask("create-admin", "made@example.org", "--password", "made by a command")
    assert not (bare.data_dir / "run.json").exists()

    bare.start()

    assert bare.login({"email": "made@example.org", "password": "made by a command"})
    assert bare.signal(signal.SIGINT) == 0


@pytest.mark.long
def test_stopping_ends_every_process_and_keeps_the_data(bare: Supervisor) -> None:
    bare.start()
    account = {"name": "Ada", "email": "ada@example.org", "password": "a long password"}
    token = bare.request("POST", "/api/auth/register", body=account)["token"]
    processes = descendants(bare.pid)
    assert len(processes) >= 3  # the database, gunicorn and its worker

    begun = time.monotonic()
    assert bare.signal(signal.SIGTERM) == 0

    assert time.monotonic() - begun < 15
    assert not any(map(alive, processes))
    assert "Stopped." in bare.said()
    bare.start()
    assert bare.request("GET", "/api/auth/me", token)["email"] == account["email"]
    assert not (bare.data_dir / "demo.json").exists()


@pytest.mark.long
def test_a_killed_supervisor_takes_its_children_along(bare: Supervisor) -> None:
    bare.start()
    account = {"name": "Ada", "email": "ada@example.org", "password": "a long password"}
    token = bare.request("POST", "/api/auth/register", body=account)["token"]
    processes = descendants(bare.pid)

    bare.signal(signal.SIGKILL)

    # Its lock, its port and its data are free at once for the next one.
    bare.start()
    assert bare.request("GET", "/api/auth/me", token)["email"] == account["email"]
    eventually(lambda: not any(map(alive, processes)), 20)


def test_with_mongo_uri_no_database_is_started_and_no_demo_written(
    own_database: DatabaseServer, tmp_path: Path
) -> None:
    supervisor = Supervisor(tmp_path / "var", MONGO_URI=own_database.uri)
    try:
        supervisor.start()

        assert len(children(supervisor.pid)) == 1
        assert not (supervisor.data_dir / "db").exists()
        assert not (supervisor.data_dir / "demo.json").exists()
        account = {"name": "Ada", "email": "ada@example.org", "password": "a long password"}
        assert supervisor.request("POST", "/api/auth/register", body=account)
        assert supervisor.signal(signal.SIGTERM) == 0
        assert alive(own_database.pid)
    finally:
        supervisor.close()


@pytest.mark.parametrize(
    ("address", "shown"),
    representatives([("::1", "[::1]"), ("[::1]", "[::1]"), ("::", "[::1]")], ("::1", "[::1]")),
)
def test_it_listens_on_ipv6(
    own_database: DatabaseServer, tmp_path: Path, address: str, shown: str
) -> None:
    supervisor = Supervisor(
        tmp_path / "var", MONGO_URI=own_database.uri, LISTEN_ADDRESS=address, LOG_LEVEL="ERROR"
    )
    supervisor.url = f"http://{shown}:{supervisor.port}"
    try:
        supervisor.start()

        assert supervisor.request("GET", "/readyz")["status"] == "ok"
        assert f"{supervisor.url}/admin" in supervisor.said()
        facts = json.loads((supervisor.data_dir / "run.json").read_text())
        assert facts["url"] == supervisor.url
    finally:
        supervisor.close()


@pytest.mark.parametrize("address", ["no host at all", "203.0.113.9", "::1::2"])
def test_an_impossible_address_is_refused_by_name(tmp_path: Path, address: str) -> None:
    error = Supervisor(tmp_path / "var", LISTEN_ADDRESS=address).refused()

    assert error.startswith("LISTEN_ADDRESS")
    assert "PORT" not in error


def test_a_file_is_where_the_user_stands(demo: Supervisor, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "flask", "backup", "here.backup"],
        env=demo.environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "here.backup").stat().st_size > 0
    assert not (run.ROOT / "here.backup").exists()


def test_the_command_of_the_service_also_takes_files_where_the_user_stands(
    own_database: DatabaseServer, tmp_path: Path
) -> None:
    settings = tmp_path / "livechat.env"
    settings.write_text(f"MONGO_URI='{own_database.uri}'\nDATA_DIR='{tmp_path}/var'\n")
    for command in (["init-db"], ["backup", "here.backup"]):
        done = subprocess.run(
            [str(run.ROOT / "deploy" / "livechat"), *command],
            env={"PATH": os.environ["PATH"], "LIVECHAT_ENV": str(settings)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr

    assert (tmp_path / "here.backup").exists()


def on_a_terminal(supervisor: Supervisor, arguments: list[str], answers: dict[str, str]) -> str:
    """Run the script on a terminal, type what it asks for, and return what was on the screen."""
    child, terminal = pty.fork()
    if child == 0:
        command = [sys.executable, str(SCRIPT), *arguments]
        os.execve(sys.executable, command, supervisor.environment)
    shown, left = "", dict(answers)
    end = time.monotonic() + 90
    while select.select([terminal], [], [], max(0, end - time.monotonic()))[0]:
        try:
            shown += os.read(terminal, 4096).decode()
        except OSError:
            break  # It has ended.
        for question in [each for each in left if each in shown]:
            os.write(terminal, left.pop(question).encode())
    os.close(terminal)
    os.waitpid(child, 0)
    return shown


def test_a_command_asks_for_a_password_on_the_terminal_and_does_not_show_it(
    demo: Supervisor,
) -> None:
    typed = "typed on a terminal 7"
    shown = on_a_terminal(
        demo,
        ["flask", "create-admin", "typed@example.org"],
        {"Password: ": f"{typed}\n", "Repeat for confirmation: ": f"{typed}\n"},
    )

    assert "Created the agent typed@example.org" in shown
    assert typed not in shown
    assert demo.login({"email": "typed@example.org", "password": typed})


@pytest.mark.long
def test_the_demo_logins_are_shown_on_a_terminal(tmp_path: Path, demo: Supervisor) -> None:
    """The terminal ends the run by Ctrl-C."""
    data_dir = tmp_path / "var"
    data_dir.mkdir()
    (data_dir / "demo.json").write_bytes((demo.data_dir / "demo.json").read_bytes())
    logins = json.loads((demo.data_dir / "demo.json").read_text())
    other = Supervisor(data_dir, MONGO_URI=demo.mongo_uri(), SEED_DEMO="0", LOG_LEVEL="ERROR")

    shown = on_a_terminal(other, [], {"Demo logins": "", logins["users"][0]["password"]: "\x03"})

    assert logins["admin"]["password"] in shown
    assert "Stopped." in shown


@pytest.mark.long
def test_a_program_that_takes_the_port_of_a_dead_database_is_not_believed(
    bare: Supervisor,
) -> None:
    bare.start()
    account = {"name": "Ada", "email": "ada@example.org", "password": "a long password"}
    token = bare.request("POST", "/api/auth/register", body=account)["token"]
    before = bare.mongo_uri()
    port = parse_uri(before)["nodelist"][0][1]
    killed = bare.child("secantus")
    os.kill(bare.pid, signal.SIGSTOP)  # It must not be the first at the port again.
    os.kill(killed, signal.SIGKILL)
    eventually(lambda: run.port_is_free(port), 20)
    impostor = Impostor(port)
    try:
        os.kill(bare.pid, signal.SIGCONT)

        eventually(lambda: bare.mongo_uri() != before, 30)
        eventually(lambda: run.ready(bare.url), 30)
        assert bare.request("GET", "/api/auth/me", token)["email"] == account["email"]
        assert set(impostor.commands) <= HANDSHAKE
    finally:
        impostor.close()
