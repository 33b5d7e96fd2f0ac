"""What the documents name exists: files, make's targets, commands with their options, code."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.cli import FlaskGroup

from acceptance.verify import verify

ROOT = Path(__file__).parent.parent
OURS = ("acceptance", "admin_ui", "bench", "chat_ui", "chatapi", "deploy", "docs", "tests", ".ci")
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *(path for name in OURS for path in (ROOT / name).rglob("*.md"))]
)
# How a command of ours begins.
FLASK = r"(?:\bflask(?: --app \w+)?|\bdeploy/livechat)"


@pytest.fixture(params=DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def document(request: pytest.FixtureRequest) -> Path:
    """One of the documents."""
    path: Path = request.param
    return path


def code(path: Path) -> list[str]:
    """Return what stands as code in a document: spans, and blocks line by line."""
    text = path.read_text(encoding="utf-8")
    found: list[str] = []
    prose: list[str] = []
    fenced, before = False, ""
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        if line.startswith("```"):
            fenced = not fenced
        elif fenced or (line.startswith("    ") and (not before or before.startswith("    "))):
            found.append(line.strip())
        else:
            prose.append(line)
        before = line
    return found + re.findall(r"`([^`]+)`", "\n".join(prose))


def paths(path: Path) -> Iterator[tuple[Path, str]]:
    """Yield the files and folders that a document names, each with the folder it starts at."""
    files = {each.name for each in ROOT.iterdir() if each.is_file()}
    for snippet in code(path):
        for word in re.findall(r"[\w.*/-]+", snippet):
            first, slash, _ = word.partition("/")
            if first in (OURS if slash else files):
                yield ROOT, word.rstrip(".")
    for target in re.findall(r"\]\(([^)#\s]+)", path.read_text(encoding="utf-8")):
        if "://" not in target:
            yield path.parent, target


def test_every_file_that_is_named_exists(document: Path) -> None:
    for start, name in paths(document):
        assert list(start.glob(name.rstrip("/"))), f"{document.name} names {name}"


def test_every_test_that_is_named_exists(document: Path) -> None:
    named = re.findall(r"(tests/[\w/]+\.py)::(test_\w+)", document.read_text(encoding="utf-8"))
    assert len(named) > 60 or document.name != "checklist.md"
    for file, name in named:
        source = (ROOT / file).read_text(encoding="utf-8")
        assert f"def {name}(" in source, f"{document.name} names {name} of {file}"


def test_every_target_of_make_that_is_named_exists(document: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    assert {"run", "test", "lint"} <= targets
    for snippet in code(document):
        for target in re.findall(r"(?:^|[\s;&|])make ([a-z-]+)", snippet):
            assert target in targets, f"{document.name} names make {target}"


def test_every_command_that_is_named_exists_and_takes_its_options(
    app: Flask, document: Path
) -> None:
    for snippet in code(document):
        for name, rest in re.findall(FLASK + r" ([a-z][a-z-]+)([^`#|;&]*)", snippet):
            # Those of Flask itself: `flask routes`.
            command = app.cli.commands.get(name) or FlaskGroup().commands.get(name)
            assert command, f"{document.name} names flask {name}"
            # The command hands its options over.
            command = verify if name == "verify" else command
            known = {each for param in command.params for each in param.opts}
            for option in re.findall(r"(?<!\S)--[a-z-]+", rest):
                assert option in {*known, "--help"}, f"{document.name}: flask {name} {option}"


def test_all_code_that_is_named_exists(document: Path) -> None:
    """A name such as `services.chats.create` is one of a module, as the code itself says it."""
    packages = "services|store|realtime|transport|http|schemas|domain|user_api|admin_api|cli"
    for snippet in code(document):
        for package, names in re.findall(
            rf"(?<![\w/.])(?:chatapi\.)?({packages})((?:\.\w+)+)", snippet
        ):
            parts = names.strip(".").split(".")
            found = importlib.import_module(f"chatapi.{package}.{parts[0]}")
            for part in parts[1:]:
                assert hasattr(found, part), f"{document.name} names {package}{names}"
                found = getattr(found, part)


def test_the_documents_are_found_and_their_code_is_seen() -> None:
    names = {str(path.relative_to(ROOT)) for path in DOCUMENTS}
    assert {"README.md", "CHANGELOG.md", "docs/architecture.md", "bench/requests.md"} <= names
    deployment = code(ROOT / "docs" / "deployment.md")
    assert "make run" in deployment
    assert any("deploy/livechat restore --replace" in snippet for snippet in deployment)
    assert sum(1 for path in DOCUMENTS for _ in paths(path)) > 100


def test_the_changelog_says_each_thing_once() -> None:
    """A merge that keeps both sides of a conflict leaves two wordings of one entry."""
    text = (ROOT / "CHANGELOG.md").read_text()
    for release in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        leads = re.findall(r"^- \*\*(.+?)\*\*", release, re.MULTILINE | re.DOTALL)
        entries = re.split(r"^- ", release, flags=re.MULTILINE)[1:]
        renames = re.findall(r"^- .*?`(\w+)` to\s+`\w+`", release, re.MULTILINE | re.DOTALL)
        assert len(leads) == len(set(leads))
        assert len(entries) == len(set(entries))
        assert len(renames) == len(set(renames))
        for page in re.findall(r'see "([^"]+)" in', release):
            assert release.count(f'"{page}"') == 1, page
