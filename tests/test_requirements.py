"""What is installed: the pinned versions, each with hashes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LISTS = {
    "requirements.lock": ("requirements.txt",),
    "requirements-embedded.lock": ("requirements.txt", "requirements-embedded.txt"),
    "requirements-dev.lock": (
        *("requirements.txt", "requirements-embedded.txt", "requirements-dev.txt"),
    ),
}
# What only other platforms need; on them the pinned packages ask for it.
ELSEWHERE = {"colorama", "brotlicffi"}
PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\\n]+)(.*)$", re.MULTILINE)


def pins(name: str) -> dict[str, str]:
    """Return the version of each package in a list, by its normal name."""
    text = (ROOT / name).read_text()
    return {re.sub(r"[-_.]+", "-", pin[1]).lower(): pin[2] for pin in PIN.finditer(text)}


@pytest.mark.parametrize("lock", LISTS)
def test_a_lock_holds_exactly_what_is_pinned(lock: str) -> None:
    """If this fails, run `make lock`."""
    wanted: dict[str, str] = {}
    for name in LISTS[lock]:
        wanted |= pins(name)
    locked = pins(lock)

    assert {name: locked.get(name) for name in wanted} == wanted
    assert set(locked) - set(wanted) <= ELSEWHERE


@pytest.mark.parametrize("lock", LISTS)
def test_every_package_is_locked_by_the_hashes_of_its_files(lock: str) -> None:
    text = (ROOT / lock).read_text()
    entries = re.split(r"\n(?=[A-Za-z0-9])", text)[1:]
    assert len(entries) == len(pins(lock))
    for entry in entries:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", entry), entry.splitlines()[0]


@pytest.mark.parametrize(
    "name", ["requirements.txt", "requirements-embedded.txt", "requirements-dev.txt"]
)
def test_each_package_that_is_asked_for_says_why(name: str) -> None:
    asked = re.split("# What (these|it) need", (ROOT / name).read_text())[0]
    for pin in PIN.finditer(asked):
        assert "#" in pin[3], f"{pin[1]} has no reason"


def test_make_installs_only_what_has_the_locked_hash() -> None:
    makefile = (ROOT / "Makefile").read_text()
    installs = re.findall(r"\$\(PIP\) install (.*)", makefile)
    assert len(installs) == 2
    assert all("--require-hashes --requirement requirements" in each for each in installs)
