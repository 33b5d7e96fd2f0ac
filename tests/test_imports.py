"""Imports point down only: web layers -> services -> realtime, store.

Each area of the product is listed with all that it may import of the product, and with what
it may not import of others. An area that is not listed fails too: somebody has to decide.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PRODUCT = ("chatapi", "admin_ui", "chat_ui", "config", "wsgi")
# Everybody may import these.
COMMON = ("chatapi.domain",)
WEB_FRAMEWORK = (
    *("flask", "werkzeug", "jinja2", "marshmallow", "apispec", "wtforms", "limits"),
    *("flask_login", "flask_wtf", "flask_limiter", "flask_cors", "flask_compress"),
    "flask_pymongo",
)
# Names alone: neither opens a connection.
HARMLESS = ("pymongo.errors", "pymongo.uri_parser")
DATABASE = ("pymongo", "flask_pymongo", "mongomock")
HTTP_CLIENTS = ("requests", "httpx", "urllib.request", "urllib3", "http.client", "aiohttp")
# What the views of every web layer stand on.
WEB = ("chatapi.services", "chatapi.schemas", "chatapi.http")


@dataclass(frozen=True)
class Area:
    """What modules below a name may import of the product, and may not of others."""

    allowed: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()


AREAS = {
    "config": Area(forbidden=("flask", "werkzeug", "marshmallow", *DATABASE)),
    "chatapi.domain": Area(forbidden=(*WEB_FRAMEWORK, *DATABASE)),
    "chatapi.schemas": Area(
        ("chatapi.schemas",), forbidden=("flask", "flask_login", "werkzeug", *DATABASE)
    ),
    "chatapi.store": Area(("chatapi.store",), WEB_FRAMEWORK),
    "chatapi.realtime": Area(("chatapi.realtime", "chatapi.store"), WEB_FRAMEWORK),
    "chatapi.realtime.followers": Area(forbidden=(*WEB_FRAMEWORK, *DATABASE)),
    "chatapi.services": Area(
        ("chatapi.services", "chatapi.realtime", "chatapi.store"),
        (*WEB_FRAMEWORK, *DATABASE, "pymongo.errors", "socket", "gevent"),
    ),
    "chatapi.http": Area((*WEB, "chatapi.store"), DATABASE),
    "chatapi.http.javascript": Area(forbidden=(*WEB_FRAMEWORK, *DATABASE)),
    "chatapi.http.static_files": Area(("chatapi.http.javascript",), forbidden=DATABASE),
    "chatapi.transport": Area(
        (*WEB, "chatapi.transport", "chatapi.realtime", "chatapi.store"), DATABASE
    ),
    "chatapi.user_api": Area((*WEB, "chatapi.transport", "chatapi.user_api"), DATABASE),
    # Both APIs share what a body's fields are called in the services.
    "chatapi.admin_api": Area(
        (*WEB, "chatapi.transport", "chatapi.admin_api", "chatapi.user_api.chats"), DATABASE
    ),
    "admin_ui": Area((*WEB, "admin_ui"), (*DATABASE, *HTTP_CLIENTS)),
    "chat_ui": Area(("chat_ui", "chatapi.http.static_files"), (*DATABASE, *HTTP_CLIENTS)),
    # The outermost: these wire the rest together.
    "wsgi": Area(("chatapi", "config")),
    "chatapi.cli": Area((*WEB, "chatapi.cli", "chatapi.store", "config")),
    "chatapi": Area(("chatapi", "config", "admin_ui", "chat_ui")),
}


# Programs beside the product, which the product never imports.
PROGRAMS = ("acceptance", "bench", "deploy", "tests")


def modules(root: Path = ROOT) -> dict[str, str]:
    """Return the source of every module of the product by its name."""
    found = {}
    for top in PRODUCT:
        paths = (
            [root / f"{top}.py"] if (root / f"{top}.py").exists() else (root / top).rglob("*.py")
        )
        for path in paths:
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(parts).removesuffix(".__init__")] = path.read_text()
    return found


def imports(source: str, known: set[str]) -> Iterator[str]:
    """Yield every module that a source imports, wherever in it and however."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            for alias in node.names:
                name = f"{base}.{alias.name}"
                yield name if name in known else base
        elif isinstance(node, ast.Call) and node.args:
            function = ast.unparse(node.func)
            argument = node.args[0]
            if function.endswith(("import_module", "__import__")) and isinstance(
                argument, ast.Constant
            ):
                yield str(argument.value)


def below(name: str, areas: tuple[str, ...]) -> bool:
    """Tell whether a module is one of these or inside one."""
    return any(name == area or name.startswith(f"{area}.") for area in areas)


def area_of(module: str) -> str | None:
    """Return the narrowest area that a module belongs to."""
    holding = [name for name in AREAS if below(module, (name,))]
    # What is directly in a package of areas wires them; a new package has to be listed.
    if holding == ["chatapi"] and module.count(".") > 1:
        return None
    return max(holding, key=len, default=None)


def violations(sources: dict[str, str]) -> list[str]:
    """Return a sentence for each import that the areas forbid."""
    known = set(modules()) | set(sources)
    found = []
    for module, source in sorted(sources.items()):
        name = area_of(module)
        if name is None:
            found.append(f"{module} belongs to no area; list it.")
            continue
        area = AREAS[name]
        for imported in imports(source, known):
            ours = imported.startswith(".") or below(imported, PRODUCT)
            if ours and not below(imported, (*area.allowed, *COMMON)):
                found.append(f"{module} imports {imported}.")
            # The store lets failures of the database through, and some have to be caught.
            if (
                not ours
                and below(imported, area.forbidden)
                and (imported not in HARMLESS or imported in area.forbidden)
            ):
                found.append(f"{module} imports {imported}.")
    return found


def test_imports_point_down_only() -> None:
    assert violations(modules()) == []


def test_only_the_launcher_imports_the_gpl_server_and_it_imports_nothing_of_ours() -> None:
    launcher = ROOT / "deploy" / "secantus_server.py"
    scripts = {f"deploy.{path.stem}": path.read_text() for path in (ROOT / "deploy").glob("*.py")}
    known = set(modules()) | set(scripts)
    for module, source in {**modules(), **scripts}.items():
        imported = set(imports(source, known))
        if module == "deploy.secantus_server":
            assert not any(below(name, (*PRODUCT, "deploy", "bench", "tests")) for name in imported)
            assert any(below(name, ("secantus",)) for name in imported)
        else:
            assert not any(below(name, ("secantus", module_of(launcher))) for name in imported)
    assert launcher.read_text().startswith("# SPDX-License-Identifier: GPL-2.0-only\n")
    assert launcher.name in (ROOT / "LICENSES" / "README.md").read_text()


def test_the_acceptance_checks_import_nothing_of_ours_and_the_product_none_of_them() -> None:
    files = sorted((ROOT / "acceptance").rglob("*.py"))
    checks = {f"acceptance.{path.stem}": path.read_text() for path in files}
    assert len(checks) > 10
    known = set(modules()) | set(checks)
    for module, source in checks.items():
        for imported in imports(source, known):
            ours = below(imported, (*PRODUCT, *PROGRAMS)) or imported.startswith(".")
            assert not ours or below(imported, ("acceptance",)), f"{module} imports {imported}"
    for module, source in modules().items():
        for imported in imports(source, known):
            assert not below(imported, PROGRAMS), f"{module} imports {imported}"


def module_of(path: Path) -> str:
    return f"deploy.{path.stem}"


def test_every_module_is_looked_at() -> None:
    found = modules()
    for name in ("chatapi.services.messages", "chatapi.store.chats", "chatapi", "admin_ui", "wsgi"):
        assert name in found
    assert len(found) > 40


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("chatapi.services.chats", "import flask"),
        ("chatapi.services.chats", "from flask import g"),
        ("chatapi.services.chats", "from flask.globals import g"),
        ("chatapi.services.chats", "import flask_login as x"),
        ("chatapi.services.chats", "from pymongo import MongoClient"),
        ("chatapi.services.chats", "import pymongo"),
        ("chatapi.services.chats", "from pymongo.errors import PyMongoError"),
        ("chatapi.services.chats", "import socket"),
        ("chatapi.services.chats", "from gevent.event import AsyncResult"),
        ("chatapi.services.chats", "from chatapi import schemas"),
        ("chatapi.services.chats", "from chatapi.schemas import ChatOut"),
        ("chatapi.services.chats", "from chatapi.user_api import chats"),
        ("chatapi.services.chats", "import chatapi.http.problems"),
        ("chatapi.services.chats", "from . import messages"),
        ("chatapi.services.chats", "def f():\n    from flask import g"),
        ("chatapi.services.chats", "if TYPE_CHECKING:\n    from flask import Flask"),
        ("chatapi.services.chats", "importlib.import_module('flask')"),
        ("chatapi.services.deep.new", "from chatapi.http.identity import required"),
        ("chatapi.store.chats", "from werkzeug.exceptions import NotFound"),
        ("chatapi.store.chats", "from chatapi.services import chats"),
        ("chatapi.store.chats", "from chatapi import realtime, services\nimport chatapi.services"),
        ("chatapi.schemas", "from flask import request"),
        ("chatapi.schemas", "from chatapi.store import users"),
        ("chatapi.domain.errors", "from chatapi.http import problems"),
        ("chatapi.user_api.chats", "from chatapi.store import chats"),
        ("chatapi.user_api.chats", "from pymongo import MongoClient"),
        ("chatapi.admin_api.users", "import chatapi.store.users"),
        ("admin_ui.views", "from chatapi import store"),
        ("admin_ui.views", "import chatapi.store.chats as chats"),
        ("admin_ui.views", "from chatapi.user_api import chats"),
        ("admin_ui.views", "import requests"),
        ("admin_ui.views", "from urllib.request import urlopen"),
        ("chat_ui.views", "from chatapi.services import chats"),
        ("chat_ui.views", "from chatapi import schemas"),
        ("chat_ui.views", "import admin_ui"),
        ("config", "from chatapi import schemas"),
        ("chatapi.new_room.thing", "x = 1"),
    ],
)
def test_a_forbidden_import_is_found(module: str, source: str) -> None:
    assert violations({module: source})


@pytest.mark.parametrize(
    ("module", "source"),
    [
        (
            "chatapi.services.chats",
            "from chatapi.domain import clock, errors, paging\nimport structlog",
        ),
        ("chatapi.services.chats", "from chatapi.store.database import Document"),
        ("chatapi.store.chats", "from pymongo import DESCENDING"),
        ("chatapi.user_api.chats", "from flask import request\nfrom chatapi.services import chats"),
        ("admin_ui.views", "from flask import request\nfrom chatapi.services import chats"),
        (
            "chat_ui.views",
            "from flask import Blueprint\nfrom chatapi.domain.errors import NotFound",
        ),
        ("chatapi.http.health", "from chatapi.http.extensions import Login"),
    ],
)
def test_an_import_that_points_down_is_fine(module: str, source: str) -> None:
    assert violations({module: source}) == []


# The scripts: a front end imports its own modules and what both share, never the other's.
SCRIPTS = {
    "web/static": ("web/static",),
    "admin_ui/static": ("admin_ui/static", "web/static"),
    "chat_ui/static": ("chat_ui/static", "web/static"),
}
IMPORT = re.compile(r"""^(?:import|export)\b[^;]*?["'](\.{1,2}/[^"']+)["'];""", re.MULTILINE)


def script_violations(path: Path, source: str) -> list[str]:
    """Return the imports of a script that leave the folders it may import."""
    folder = next(name for name in SCRIPTS if path.is_relative_to(ROOT / name))
    allowed = [ROOT / name for name in SCRIPTS[folder]]
    return [
        f"{path.relative_to(ROOT)} imports {name}"
        for name in IMPORT.findall(source)
        if not any((path.parent / name).resolve().is_relative_to(each) for each in allowed)
    ]


def test_scripts_import_their_own_modules_and_the_shared_ones() -> None:
    paths = [path for folder in SCRIPTS for path in (ROOT / folder).rglob("*.js")]
    own = [path for path in paths if "vendor" not in path.parts]
    assert len(own) > 60
    assert sum(len(IMPORT.findall(path.read_text(encoding="utf-8"))) for path in own) > 200
    found = [each for path in own for each in script_violations(path, path.read_text("utf-8"))]
    assert found == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("web/static/a.js", 'import { h } from "../../chat_ui/static/dom.js";'),
        ("admin_ui/static/a.js", 'import { h } from "../../chat_ui/static/dom.js";'),
        ("chat_ui/static/views/a.js", 'export { byId } from "../../../admin_ui/static/page.js";'),
        ("chat_ui/static/a.js", 'import {\n  a,\n} from "../secret.js";'),
    ],
)
def test_a_script_that_leaves_its_folders_is_found(path: str, source: str) -> None:
    assert script_violations(ROOT / path, source)
