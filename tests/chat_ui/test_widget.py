"""The widget's loader as the server sends it."""

from __future__ import annotations

import json
import re

from flask import Flask
from flask.testing import FlaskClient


def constant(script: str, name: str) -> object:
    """Return the value of a constant in the loader."""
    found = re.search(rf"const {name} = (.*);", script)
    assert found, script
    return json.loads(found[1])


def test_loader_names_the_module_of_this_release(client: FlaskClient) -> None:
    path = constant(client.get("/widget.js").text, "PATH")
    assert isinstance(path, str)
    with client.get(path) as answer:
        assert answer.status_code == 200


def test_loader_names_the_public_address_and_never_the_one_asked_for(
    app: Flask, client: FlaskClient
) -> None:
    forged = {"Host": "evil.example"}
    assert constant(client.get("/widget.js", headers=forged).text, "PUBLIC_URL") == ""
    app.config["PUBLIC_URL"] = "https://chat.example.org"
    script = client.get("/widget.js", headers=forged).text
    assert constant(script, "PUBLIC_URL") == "https://chat.example.org"
    assert "evil.example" not in script
