"""The version stands in config.py alone; all others read it, or a test here compares them."""

from __future__ import annotations

import configparser
import json
import re
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from pymongo.database import Database

import config
from chatapi import create_app
from config import TestConfig, __version__

ROOT = Path(__file__).parent.parent
PACKAGES = ("acceptance", "admin_ui", "chat_ui", "chatapi", "deploy")
HEADING = re.compile(r"^## (.+)$", re.MULTILINE)
RELEASE = re.compile(r"(\d+\.\d+\.\d+) \(\d{4}-\d\d-\d\d\)")


@pytest.fixture
def released(database: Database[dict[str, Any]]) -> Flask:
    """The product as another release."""
    return create_app(TestConfig, database=database, VERSION="9.8.7")


def test_the_version_is_a_release_number() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", __version__)
    assert __version__ == config.Config.VERSION


def test_the_newest_release_of_the_changelog_is_this_one() -> None:
    unreleased, *releases = HEADING.findall((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    assert unreleased == "Unreleased" or not releases
    numbers = []
    for heading in releases:
        match = RELEASE.fullmatch(heading)
        assert match, f"CHANGELOG.md: {heading!r} is no release with its date"
        numbers.append(match[1])
    assert numbers[0] == __version__
    assert numbers == sorted(numbers, key=lambda n: [*map(int, n.split("."))], reverse=True)


def test_the_api_says_the_version(released: Flask) -> None:
    client = released.test_client()
    assert client.get("/api/config").get_json()["version"] == "9.8.7"
    assert client.get("/api/openapi.json").get_json()["info"]["version"] == "9.8.7"
    assert "9.8.7" in client.get("/api/docs").get_data(as_text=True)


def test_the_doctor_says_the_version(released: Flask) -> None:
    found = released.test_cli_runner().invoke(args=["doctor", "--json", "--only", "errors"])
    assert json.loads(found.output)["settings"]["VERSION"] == "9.8.7"


def test_the_package_takes_its_version_from_config() -> None:
    metadata = configparser.ConfigParser()
    metadata.read(ROOT / "setup.cfg")
    assert metadata["metadata"]["version"] == "attr: config.__version__"
    # A second place.
    assert "version" not in json.loads((ROOT / "package.json").read_text())


def test_no_other_file_of_the_product_has_the_version() -> None:
    found = [
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.suffix in {".py", ".js", ".html", ".css", ".cfg", ".service", ".conf"}
        and re.search(rf"[\"'@v]{re.escape(__version__)}\b", path.read_text(encoding="utf-8"))
    ]
    assert found == ["chatapi/schemas/meta.py"]


def test_the_example_of_the_api_is_this_version(app: Flask) -> None:
    schemas = app.test_client().get("/api/openapi.json").get_json()["components"]["schemas"]
    assert schemas["Config"]["properties"]["version"]["examples"] == [__version__]


def test_the_guide_to_deployment_installs_this_version() -> None:
    text = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
    install = text[text.index("### 2. The application") : text.index("### 3. Settings")]
    assert set(re.findall(r"v(\d+\.\d+\.\d+)", install)) == {__version__}
