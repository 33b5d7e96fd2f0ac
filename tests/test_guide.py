"""docs/add-a-feature.md: its diffs fit today's code, and what they make passes its tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import guide

ROOT = Path(__file__).parent.parent
# The tests of the feature, and those that look at all routes, fields and documents.
FAST = (
    *("tests/services/test_escalation.py", "tests/admin_api/test_escalation.py"),
    *("tests/admin_ui/test_escalation.py", "tests/domain", "tests/test_docs.py"),
    *("tests/test_words.py", "tests/test_imports.py", "tests/http/test_openapi.py"),
    *("tests/user_api/test_access.py", "tests/user_api/test_input.py"),
    "tests/user_api/test_chats.py",
)


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Path]:
    """A copy of this checkout, with the feature of the guide."""
    copy = tmp_path / "checkout"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
    done = guide.apply(copy)
    assert done.returncode == 0, done.stderr
    subprocess.run([sys.executable, "-m", "tests.data_model"], cwd=copy, check=True)
    yield copy
    shutil.rmtree(copy)


def pytest_in(checkout: Path, *arguments: str) -> None:
    """Run tests of the checkout as its developer does. Fails with their output."""
    environment = {name: text for name, text in os.environ.items() if "PYTEST" not in name}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(
        command, cwd=checkout, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]


def test_the_diffs_of_the_guide_fit_the_code_of_today() -> None:
    done = guide.apply(ROOT, "--check")
    assert done.returncode == 0, f"{done.stderr}docs/add-a-feature.md says how to mend it."


def test_the_guide_goes_through_every_layer_in_order() -> None:
    named = [name for block in guide.blocks(guide.GUIDE.read_text()) for name in guide.files(block)]
    layers = (
        *("chatapi/domain/", "chatapi/services/", "chatapi/schemas/", "chatapi/admin_api/"),
        *("admin_ui/", "chat_ui/", "tests/admin_api/", "tests/admin_ui/", "tests/browser/"),
    )
    places = [next(i for i, name in enumerate(named) if name.startswith(layer)) for layer in layers]
    assert places == sorted(places)
    assert len(set(named)) == len(named)


def test_a_diff_is_written_again_from_a_checkout(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
        subprocess.run(["git", *who, *arguments], cwd=tmp_path, check=True, capture_output=True)

    git("init")
    (tmp_path / "old.py").write_text("one\ntwo\nthree\nfour\n")
    git("add", ".")
    git("commit", "-m", "docs: Begin.")
    (tmp_path / "old.py").write_text("one\ntwo\nthree\nfive\nfour\n")
    (tmp_path / "new.py").write_text("new\n")
    text = (
        "Before.\n\n```diff\ndiff --git a/old.py b/old.py\n```\n\nBetween.\n\n"
        "```diff\ndiff --git a/new.py b/new.py\n```\n\n```sh\nkept\n```\n"
    )
    found = guide.refreshed(text, tmp_path)
    assert found.startswith("Before.\n\n```diff\ndiff --git a/old.py b/old.py\n--- a/old.py\n")
    assert "@@ -3,2 +3,3 @@ two\n three\n+five\n four\n```\n\nBetween.\n" in found
    assert "new file mode 100644\n--- /dev/null\n+++ b/new.py\n@@ -0,0 +1 @@\n+new\n```" in found
    assert found.endswith("```sh\nkept\n```\n")
    assert guide.refreshed(found, tmp_path) == found


@pytest.mark.long
def test_the_feature_of_the_guide_passes_its_tests_and_those_of_all_routes(checkout: Path) -> None:
    for command in (["ruff", "check", "."], ["ruff", "format", "--check", "."]):
        subprocess.run([sys.executable, "-m", *command], cwd=checkout, check=True)
    pytest_in(checkout, "-n", "0", "--tier=all", *FAST)


@pytest.mark.long
@pytest.mark.browser
def test_the_user_sees_the_feature_of_the_guide(checkout: Path) -> None:
    pytest_in(checkout, "-n", "0", "--tier=all", "tests/browser/test_escalation.py")


@pytest.mark.long
@pytest.mark.live
def test_the_feature_of_the_guide_scans_no_collection(checkout: Path) -> None:
    pytest_in(checkout, "-n", "0", "--tier=all", "tests/live/test_plans.py")
