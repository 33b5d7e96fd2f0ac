"""Checks of the release itself: its files, its settings, its documentation."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from acceptance.results import Failed, NotApplicable, NotRun, expect
from acceptance.run import Run

ROOT = Path(__file__).resolve().parents[1]
_PACKAGES = ("chatapi", "admin_ui", "chat_ui", "acceptance", "deploy")
_TEXT = {".py", ".html", ".js", ".css", ".md", ".json", ".toml", ".cfg", ".conf", ".txt", ".svg"}
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_MIN_SECRET_LENGTH = 8


def _sources() -> Iterator[Path]:
    for package in _PACKAGES:
        yield from sorted((ROOT / package).rglob("*.py"))
    yield from (ROOT / "config.py", ROOT / "wsgi.py")


def files_compile(run: Run) -> str:
    """Compile every module and every template of this release."""
    modules = list(_sources())
    for path in modules:
        try:
            compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
        except (SyntaxError, ValueError) as error:
            raise Failed(
                f"{path.relative_to(ROOT)}: {error}", "Deploy the release again."
            ) from None
    return f"{len(modules)} modules and {run.product.doctor('templates')}"


def _secrets(run: Run) -> dict[str, str]:
    """Return the secrets of this configuration by the setting's name. Raises NotRun."""
    given = run.product.environment
    if not given.get("SECRET_KEY"):
        raise NotRun("SECRET_KEY is not set.", "Run this as a command: flask verify.")
    found = {"SECRET_KEY": given["SECRET_KEY"]}
    for name in ("MONGO_URI", "RATELIMIT_STORAGE_URI"):
        password = urlsplit(given.get(name, "")).password
        if password:
            found[f"the password in {name}"] = unquote(password)
    return {name: value for name, value in found.items() if len(value) >= _MIN_SECRET_LENGTH}


def no_secret_in_code(run: Run) -> str:
    """Look for this configuration's own secrets in the release and in what it serves."""
    secrets = _secrets(run)
    data_dir = Path(run.config["DATA_DIR"]).resolve()
    files = 0
    for path in ROOT.rglob("*"):
        parts = path.relative_to(ROOT).parts
        if parts[0].startswith(".") or path.suffix not in _TEXT or not path.is_file():
            continue
        if path.resolve().is_relative_to(data_dir):
            continue
        files += 1
        _without(secrets, path.read_text(errors="replace"), str(path.relative_to(ROOT)))
    for name in ("secret_key", "demo.json"):
        path = data_dir / name
        if path.exists():
            mode = stat.S_IMODE(path.stat().st_mode)
            expect(not mode & 0o077, f"{path} can be read by others ({mode:o}).", "chmod 600 it.")
    if run.offline:
        return f"{files} files hold none of {', '.join(secrets)}"
    pages = ("/chat", "/admin/login", "/widget.js", "/api/docs", "/api/openapi.json", "/api/config")
    for page in pages:
        _without(secrets, run.call("GET", page).text, page)
    return f"{files} files and {len(pages)} public answers hold none of {', '.join(secrets)}"


def _without(secrets: dict[str, str], text: str, where: str) -> None:
    for name, value in secrets.items():
        expect(
            value not in text,
            f"{where} holds {name}.",
            "Take it out, and make a new one: this one is known.",
        )


def settings_from_environment(run: Run) -> str:
    """Fail if what a deployment has to set itself is still what the code says."""
    names = ("SECRET_KEY", "MONGO_URI", "PUBLIC_URL")
    defaults = run.product.configuration["defaults"]
    unset = [name for name in names if name in defaults]
    if unset and run.production:
        raise Failed(f"{', '.join(unset)} is what the code says.", "Set it in the environment.")
    if not run.production:
        raise NotApplicable(
            f"not in production: APP_ENV is {run.config['APP_ENV']}, which has defaults for all"
        )
    run.setting("DEBUG", "SESSION_COOKIE_SECURE", "PASSWORD_MEMORY_KIB")
    return ", ".join(names) + " come from the environment; debug is off, cookies are Secure"


def written(*names: str, about: str) -> Callable[[Run], str]:
    """Return a check that documents are there, say something, and lead nowhere wrong."""

    def check(_: Run) -> str:
        links = 0
        for name in names:
            path = ROOT / name
            expect(path.is_file(), f"{name} is missing.", "Deploy the whole release.")
            text = path.read_text()
            expect(about.casefold() in text.casefold(), f"{name} says nothing of {about}.")
            for target in _LINK.findall(text):
                if "://" not in target and not target.startswith(("#", "mailto:")):
                    links += 1
                    there = path.parent / unquote(target.partition("#")[0])
                    expect(there.exists(), f"{name} links to {target}, which is not there.")
        return f"{', '.join(names)}; {links} links lead somewhere"

    return check


def api_documented(run: Run) -> str:
    """Compare the routes that there are with those that the instance describes."""
    page = run.asked(200, "GET", "/api/docs")
    expect("text/html" in page.headers.get("content-type", ""), "/api/docs is no page.")
    described = {
        (method.upper(), re.sub(r"\{\w+\}", "{}", path))
        for path, operations in run.document()["paths"].items()
        for method in operations
        if method in {"get", "post", "patch", "put", "delete"}
    }
    there = {
        (route.method, re.sub(r"<[^>]+>", "{}", route.path))
        for route in run.product.routes
        if route.path.startswith("/api/") and not route.is_static
    } - {("GET", "/api/docs"), ("GET", "/api/ws")}
    missing = sorted(f"{method} {path}" for method, path in there - described)
    expect(
        not missing,
        f"/api/openapi.json does not describe {', '.join(missing)}.",
        "Declare the route with chatapi.http.endpoint.endpoint.",
    )
    return f"/api/docs and /api/openapi.json are served; {len(described)} operations"
