"""`verify`: which items there are, and what a verdict looks like."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from flask import Flask
from pymongo.database import Database

from acceptance import code, verify
from acceptance.checklist import CHECKLIST, Item, Section
from acceptance.product import CommandFailed, Product
from acceptance.results import Failed, NotApplicable
from acceptance.run import Run
from chatapi import create_app
from chatapi.store.database import Document
from config import TestConfig

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "checklist.md"
STRONG = "wJ8x-2kQ9vLr_7TzYb4NcM1sHd6FgPa0eUoRiW5t"
PRODUCTION: dict[str, Any] = {
    "APP_ENV": "production",
    "SECRET_KEY": STRONG,
    "MONGO_URI": "mongodb://chat:a-password-of-the-database@db.example/livechat",
    "PUBLIC_URL": "https://chat.example.org",
    "RATELIMIT_ENABLED": True,
    "SESSION_COOKIE_SECURE": True,
    "PASSWORD_MEMORY_KIB": 65536,
}


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "var"


class InProcess(Product):
    """The product in this process, on a database that is a stand-in."""

    def __init__(self, app: Flask) -> None:
        super().__init__({"SECRET_KEY": app.config["SECRET_KEY"]})
        self.app = app

    def flask(self, *arguments: str, allowed: tuple[int, ...] = (0,)) -> str:
        result = self.app.test_cli_runner().invoke(args=arguments)
        if result.exit_code not in allowed:
            raise CommandFailed(result.output)
        return result.output

    def _report(self, name: str) -> Any:
        """Run one check only: all of them together take longer than a fast test may."""
        return json.loads(self.flask("doctor", "--json", "--only", name, allowed=(0, 1)))


def run(app: Flask, *options: str) -> Result:
    return CliRunner().invoke(verify.verify, options, obj=InProcess(app))


def configured(database: Database[Document], data_dir: Path, **settings: Any) -> Flask:
    return create_app(TestConfig, database=database, DATA_DIR=str(data_dir), **settings)


def only(monkeypatch: pytest.MonkeyPatch, *items: Item) -> None:
    monkeypatch.setattr(verify, "CHECKLIST", (Section("Some", items),))


def rows() -> list[list[str]]:
    """Return the cells of the table rows in docs/checklist.md."""
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    tables = [line for line in lines if line.startswith("| ") and not line.startswith("| item")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in tables]


def test_every_item_stands_in_the_document_and_every_row_there_is_known() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    written = Counter(row[0] for row in rows())
    for section in CHECKLIST:
        if not section.title.startswith("Sign-Off"):
            for item in section.items:
                assert written[item.title], f"docs/checklist.md lacks {item.title!r}"
        assert section.title.split(": ", maxsplit=1)[-1].split(" (")[0] in text


def _section_rows() -> Iterator[tuple[str, list[str]]]:
    """Yield the heading that each table row of docs/checklist.md stands under, and its cells."""
    heading = ""
    for line in DOCUMENT.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ").split(" (")[0]
        elif line.startswith("| ") and not line.startswith(("| item", "| sign")):
            yield heading, [cell.strip() for cell in re.split(r" \|(?= |$)", line[1:])][:3]


def test_a_row_that_names_verify_is_an_item_that_verify_checks() -> None:
    checked = {
        (section.title.split(": ")[-1].split(" (")[0], item.title)
        for section in CHECKLIST
        for item in section.items
        if item.check is not None
    }
    claimed = {
        (heading, cells[0])
        for heading, cells in _section_rows()
        if len(cells) == 3 and cells[2].startswith("`verify")
    }
    assert len(claimed) > 80
    assert claimed - checked == set()
    # And the other way round: what is checked is said to be.
    assert checked - claimed == set()


def test_every_item_is_checked_or_left_to_a_person() -> None:
    for section in CHECKLIST:
        for item in section.items:
            assert (item.check is None) == bool(item.confirm), item.title


def test_a_verdict_says_what_why_and_what_to_do(
    database: Database[Document], data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bad(_: Run) -> str:
        raise Failed("the reason", "the remedy")

    def other(_: Run) -> str:
        raise NotApplicable("not here")

    only(
        monkeypatch,
        Item("Right", lambda _: "as it should be"),
        Item("Wrong", bad),
        Item("Elsewhere", other),
        Item("A person's", confirm="that it is fine"),
    )
    app = configured(database, data_dir)
    result = run(app)
    assert result.exit_code == 1
    for line in (
        r"✓ Right +as it should be",
        r"✗ Wrong\n +the reason\n +→ the remedy",
        r"– Elsewhere +not here",
        r"– A person's +for you to confirm: that it is fine",
        "1 passed, 1 failed, 1 not applicable, 1 for you to confirm",
        "✗ Some / Wrong",
    ):
        assert re.search(line, result.output), line


def test_nothing_failed_is_exit_status_0(
    database: Database[Document], data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(monkeypatch, Item("Right", lambda _: "fine"), Item("A person's", confirm="all"))
    result = run(configured(database, data_dir))
    assert result.exit_code == 0
    assert "Nothing failed." in result.output


def test_a_check_that_breaks_fails_and_the_others_go_on(
    database: Database[Document], data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Run) -> str:
        raise KeyError("surprise")

    only(monkeypatch, Item("Broken", broken), Item("Right", lambda _: "fine"))
    result = run(configured(database, data_dir))
    assert result.exit_code == 1
    assert "The check broke (KeyError: 'surprise')" in result.output
    assert "✓ Right" in result.output


def test_json_is_for_programs(
    database: Database[Document], data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(monkeypatch, Item("Right", lambda _: "fine"), Item("A person's", confirm="all"))
    result = run(configured(database, data_dir), "--json")
    found = json.loads(result.stdout)
    assert found["ok"] is True
    assert found["counts"]["passed"] == 1
    assert [item["status"] for item in found["items"]] == ["passed", "for you to confirm"]


def test_where_nothing_answers_the_http_checks_are_not_run_and_that_fails(
    database: Database[Document], data_dir: Path
) -> None:
    app = configured(database, data_dir)
    result = run(app, "--url", "http://127.0.0.1:1", "--only", "Smoke Tests")
    assert result.exit_code == 1
    assert result.output.count("not run: Nothing answers at http://127.0.0.1:1") == 3
    assert "--offline" in result.output


def test_offline_leaves_them_out(database: Database[Document], data_dir: Path) -> None:
    app = configured(database, data_dir)
    result = run(app, "--url", "http://127.0.0.1:1", "--only", "Smoke Tests", "--offline")
    assert result.exit_code == 0
    assert "3 left out" in result.output


def test_a_text_that_no_item_has_is_refused(database: Database[Document], data_dir: Path) -> None:
    result = run(configured(database, data_dir), "--only", "kettle")
    assert result.exit_code == 1
    assert "No item of the checklist" in result.output


def test_an_address_that_is_none_is_refused(database: Database[Document], data_dir: Path) -> None:
    result = run(configured(database, data_dir), "--url", "chat.example.org")
    assert result.exit_code == 2
    assert "http" in result.output


@pytest.mark.parametrize(
    ("item", "setting", "value"),
    [
        ("NEXTAUTH_SECRET", "SECRET_KEY", "changeme"),
        ("NEXTAUTH_SECRET", "SECRET_KEY", TestConfig.SECRET_KEY),
        ("NEXTAUTH_URL", "PUBLIC_URL", "http://chat.example.org"),
        ("CORS", "CORS_ORIGINS", ("http://shop.example.org",)),
        ("Rate limiting", "RATELIMIT_ENABLED", False),
        ("Environment variables", "PASSWORD_MEMORY_KIB", 8),
        ("Environment variables", "SESSION_COOKIE_SECURE", False),
    ],
)
def test_an_unsafe_setting_fails_in_production_by_name(
    database: Database[Document], data_dir: Path, item: str, setting: str, value: Any
) -> None:
    app = configured(database, data_dir, **PRODUCTION | {setting: value})
    result = run(app, "--only", item, "--offline")
    assert result.exit_code == 1
    assert setting in result.output
    if setting == "SECRET_KEY":
        assert value not in result.output


@pytest.mark.parametrize("item", ["NEXTAUTH_SECRET", "Environment variables"])
def test_safe_settings_pass_in_production(
    database: Database[Document], data_dir: Path, item: str
) -> None:
    result = run(configured(database, data_dir, **PRODUCTION), "--only", item, "--offline")
    assert result.exit_code == 0, result.output
    assert "1 passed" in result.output
    assert STRONG not in result.output
    assert "a-password-of-the-database" not in result.output


@pytest.mark.parametrize("item", ["NEXTAUTH_URL", "Environment variables"])
def test_what_only_production_needs_does_not_fail_in_development(
    database: Database[Document], data_dir: Path, item: str
) -> None:
    app = configured(database, data_dir, APP_ENV="development")
    result = run(app, "--only", item, "--offline")
    assert result.exit_code == 0, result.output
    assert "not in production: APP_ENV is development" in result.output


def test_a_secret_that_stands_in_the_code_is_found(
    database: Database[Document], data_dir: Path
) -> None:
    known = TestConfig.SECRET_KEY
    result = run(configured(database, data_dir), "--only", "No sensitive data", "--offline")
    assert result.exit_code == 1
    assert "holds SECRET_KEY" in result.output
    assert known not in result.output
    app = configured(database, data_dir, **PRODUCTION)
    result = run(app, "--only", "No sensitive data", "--offline")
    # This very file holds it.
    assert "tests/acceptance/test_verify.py holds SECRET_KEY" in result.output


def test_a_private_file_that_others_can_read_is_found(
    database: Database[Document], data_dir: Path
) -> None:
    secret = "".join(reversed(STRONG))
    data_dir.mkdir()
    file = data_dir / "secret_key"
    file.write_text(secret)
    app = configured(database, data_dir, SECRET_KEY=secret)
    for mode, status in ((0o644, 1), (0o600, 0)):
        file.chmod(mode)
        result = run(app, "--only", "No sensitive data", "--offline")
        assert result.exit_code == status, result.output
        assert ("can be read by others" in result.output) == bool(status)


def test_a_document_that_is_missing_or_leads_nowhere_is_named(
    database: Database[Document],
    data_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(code, "ROOT", tmp_path)
    app = configured(database, data_dir)
    readme = tmp_path / "README.md"
    for text, said in (
        (None, "README.md is missing"),
        ("A kettle.", "says nothing of chat"),
        ("A chat, see [this](docs/gone.md).", "links to docs/gone.md"),
        ("A chat, see [that](README.md#top) and [there](https://example.org).", "Nothing failed"),
    ):
        if text:
            readme.write_text(text)
        result = run(app, "--only", "README", "--offline")
        assert said in result.output


def test_a_module_that_does_not_compile_is_named(
    database: Database[Document],
    data_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("config.py", "wsgi.py", "chatapi/fine.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x = 1\n")
    monkeypatch.setattr(code, "ROOT", tmp_path)
    app = configured(database, data_dir)
    assert run(app, "--only", "compile", "--offline").exit_code == 0
    (tmp_path / "chatapi" / "cut.py").write_text("def f(:\n")
    result = run(app, "--only", "compile", "--offline")
    assert result.exit_code == 1
    assert "chatapi/cut.py" in result.output
