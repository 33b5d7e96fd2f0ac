"""Checks of the configuration and of the code that runs with it."""

from __future__ import annotations

import contextvars
import json
from typing import Any

from flask import Flask, current_app, g
from jinja2 import TemplateError

from chatapi.cli.doctor.results import Failed, NotApplicable, expect
from chatapi.domain.enums import Role
from chatapi.http import identity, problems
from chatapi.services import sessions, users
from config import ConfigError, ProductionConfig


def is_production() -> bool:
    return bool(current_app.config["APP_ENV"] == "production")


def refused_in_production() -> dict[str, str]:
    """Return the settings that production would reject, by name."""
    try:
        ProductionConfig.check(dict(current_app.config))
    except ConfigError as error:
        return {line.split()[0]: line for line in str(error).splitlines()}
    return {}


def require_settings(*names: str) -> None:
    """Fail if production refuses one of these settings, all by default.

    In other environments the check does not apply then: there they may be so.
    """
    refused = refused_in_production()
    problems_found = [refused[name] for name in names or refused if name in refused]
    if problems_found and is_production():
        raise Failed(
            " ".join(problems_found), "Change it in the environment; docs/deployment.md has all."
        )
    if problems_found:
        raise NotApplicable(
            f"not in production: APP_ENV is {current_app.config['APP_ENV']}. Production would say: "
            + " ".join(problems_found)
        )


def settings() -> str:
    """Judge all settings as production does."""
    require_settings()
    return "production would refuse none of them"


def templates() -> str:
    """Compile every template of this release."""
    environment = current_app.jinja_env
    names = environment.list_templates(["html", "js"])
    for name in names:
        try:
            environment.get_template(name)
        except TemplateError as error:
            raise Failed(f"template {name}: {error}", "Deploy the release again.") from None
    return f"{len(names)} templates"


def errors_are_hidden() -> str:
    """Make requests of an agent, a user and a stranger fail with an unexpected exception."""
    seen = _failed_request("admin")
    expect(
        seen.get("debug") == {"exception": "RuntimeError", "message": "doctor: the inside"},
        "An agent is not shown the exception.",
    )
    roles: tuple[Role | None, ...] = ("user", "guest", None)
    for role in roles:
        seen = _failed_request(role)
        text = json.dumps(seen)
        expect("debug" not in seen and "inside" not in text, "A user is shown the exception.")
        expect("RuntimeError" not in text, "A user is shown the exception's class.")
        expect(seen["requestId"], "The answer has no requestId to ask about.")
    return "an agent's 500 names the exception under debug; users and strangers get a requestId"


def _failed_request(role: Role | None) -> Any:
    """Return the API's answer to a request of this role, None for a stranger, that failed."""
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001

    def answer() -> Any:
        with app.test_request_context("/api/chat"):
            if role is not None:
                user = users.new_user("Doctor", "doctor@doctor.invalid", role, None)
                session = sessions.session_for(user)
                g._login_user = identity.CurrentUser(session)  # noqa: SLF001
            error = problems.from_exception(RuntimeError("doctor: the inside"))
            return problems.as_json(error).get_json()

    # Outside this command's application context, as a server does.
    return contextvars.Context().run(answer)
