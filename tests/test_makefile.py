"""Which Python `make` takes to create .venv."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# What a made-up Python says of itself: its version, and whether it has venv.
FAKE = """#!/bin/sh
case "$*" in
    *version_info*) exit {old} ;;
    *ensurepip*) exit {bare} ;;
    --version) echo "Python {name}" ;;
    "-m venv .venv") mkdir .venv ;;
    *) exit 1 ;;
esac
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkout's Makefile, and an empty folder of programs."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "bin").mkdir()
    for name in ("sh", "mkdir", "touch", "rm"):
        (tmp_path / "bin" / name).symlink_to(str(shutil.which(name)))
    return tmp_path


def python(folder: Path, name: str, *, old: bool = False, bare: bool = False) -> None:
    program = folder / "bin" / name
    program.write_text(FAKE.format(name=name, old=int(old), bare=int(bare)))
    program.chmod(0o755)


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(shutil.which("make")), ".venv/.created", *arguments],
        cwd=folder,
        env={"PATH": str(folder / "bin"), "LC_ALL": "C"} | {"HOME": os.environ.get("HOME", "/")},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_python_without_venv_is_passed_over_for_a_whole_one(folder: Path) -> None:
    python(folder, "python3.11", bare=True)
    python(folder, "python3", old=True)
    python(folder, "python3.12")

    done = make(folder)

    assert done.returncode == 0, done.stderr
    assert "Creating .venv with Python python3.12" in done.stdout
    assert (folder / ".venv" / ".created").exists()


def test_the_variable_names_another_python(folder: Path) -> None:
    python(folder, "python3.11")
    python(folder, "mine")

    assert "Creating .venv with Python mine" in make(folder, "PYTHON=mine").stdout


def test_a_named_python_that_is_too_old_is_refused_by_name(folder: Path) -> None:
    python(folder, "python3.11")
    python(folder, "mine", old=True)

    done = make(folder, "PYTHON=mine")

    assert done.returncode != 0
    assert "mine is not Python 3.11 or newer" in done.stderr
    assert not (folder / ".venv").exists()


def test_without_venv_anywhere_the_package_is_named(folder: Path) -> None:
    python(folder, "python3.11", bare=True)

    done = make(folder)

    assert done.returncode != 0
    assert "python3.11 has no venv module" in done.stderr
    assert "python3-venv" in done.stderr


def test_without_any_python_it_is_said_what_to_install(folder: Path) -> None:
    done = make(folder)

    assert done.returncode != 0
    assert "Python 3.11 or newer is missing" in done.stderr
