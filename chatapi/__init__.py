"""The application factory. It only wires the parts and has no rules, queries or migrations."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
from flask import Flask
from flask.json.provider import DefaultJSONProvider
from pymongo import MongoClient
from pymongo.database import Database
from pymongo.driver_info import DriverInfo
from pymongo.uri_parser import parse_uri
from werkzeug.middleware.proxy_fix import ProxyFix

import config as configuration
from chatapi import cli
from chatapi.http import (
    data_guard,
    headers,
    health,
    identity,
    limits,
    log,
    openapi,
    problems,
    quotas,
    slow_clients,
    static_files,
)
from chatapi.http.extensions import compress, csrf, login_manager, mongo
from chatapi.http.login_limits import login_attempts
from chatapi.http.unknown_tokens import UnknownTokens
from chatapi.schemas import categories
from chatapi.services import accounts, credentials, password_rules, passwords
from chatapi.services.feeds import stream_limits
from chatapi.services.quota import quota
from chatapi.store import database as store_database
from chatapi.store import disk, server
from chatapi.transport import streams

DEFAULT_DATABASE = "livechat"


class Chat(Flask):
    """Flask for views that are all plain functions."""

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function: Flask would check for each request whether it is async."""
        return func


def create_app(
    config: str | type[configuration.Config] | None = None,
    database: Database[Any] | None = None,
    **overrides: Any,
) -> Flask:
    """Return the product as a WSGI application.

    config -- a name of config.BY_NAME, a class, or None for APP_ENV's.
    database -- used instead of MONGO_URI's: a stand-in, for tests.
    overrides -- single configuration values. Raises config.ConfigError.
    """
    app = Chat(__name__, static_folder=None)
    # Werkzeug would redirect a doubled slash to the host in the Host header.
    app.url_map.merge_slashes = False
    app.config.update(_settings(config) | overrides)
    if app.debug and app.config["APP_ENV"] == "production":
        raise configuration.ConfigError("FLASK_DEBUG must be off.")
    _configure_services(app)
    _connect(app, database)
    login_manager.init_app(app)
    csrf.init_app(app)
    app.session_interface = identity.CsrfCookie()
    log.init_app(app)
    slow_clients.init_app(app)
    if app.config["TRUSTED_PROXIES"]:
        count = app.config["TRUSTED_PROXIES"]
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app, x_for=count, x_proto=count, x_host=count
        )
    data_guard.init_app(app)
    limits.init_app(app)
    login_attempts.init_app(app, shared=database is None)
    app.extensions["unknown_tokens"] = UnknownTokens()
    compress.init_app(app)
    headers.init_app(app)
    _register(app)
    return app


def _settings(config: str | type[configuration.Config] | None) -> dict[str, Any]:
    if isinstance(config, type):
        return config.from_environment()
    return configuration.load(config)


def _configure_services(app: Flask) -> None:
    quota.account = quotas.count_account
    quota.chat = quotas.count_chat
    quota.message = quotas.count_message
    guests = timedelta(seconds=app.config["GUEST_WITHOUT_CHAT_SECONDS"])
    accounts.lifetimes.guest_without_chat = guests
    categories.configure(app.config["CHAT_CATEGORIES"])
    passwords.configure(app.config["PASSWORD_TIME_COST"], app.config["PASSWORD_MEMORY_KIB"])
    accounts.lifetimes.idle = timedelta(seconds=app.config["SESSION_IDLE_SECONDS"])
    streams.start()
    stream_limits.account = app.config["STREAMS_PER_ACCOUNT"]
    stream_limits.address = app.config["STREAMS_PER_ADDRESS"]
    accounts.lifetimes.per_user = app.config["MAX_SESSIONS_PER_USER"]
    password_rules.configure(app.config["MIN_AGENT_PASSWORD_LENGTH"])
    credentials.configure(timedelta(seconds=app.config["PASSWORD_LINK_SECONDS"]))
    accounts.lifetimes.absolute = timedelta(seconds=app.config["SESSION_ABSOLUTE_SECONDS"])


def _in_command() -> bool:
    return click.get_current_context(silent=True) is not None


def _connect(app: Flask, database: Database[Any] | None) -> None:
    uri = app.config["MONGO_URI"]
    app.config["DATABASE_NAME"] = parse_uri(uri)["database"] or DEFAULT_DATABASE
    if database is None:
        options: dict[str, Any] = store_database.client_timeouts(app.config["DATABASE_TIMEOUT_MS"])
        if _in_command():
            # Requests have a database timeout; commands have none.
            options |= {"socketTimeoutMS": None, "retryReads": True}
        mongo.init_app(
            app,
            maxPoolSize=app.config["DATABASE_POOL_SIZE"],
            driver=DriverInfo(server.DRIVER, app.config["VERSION"]),
            **options,
        )
        client: MongoClient[Any] = mongo.cx  # type: ignore[assignment]
        database = disk.guarded(client[app.config["DATABASE_NAME"]])
        # Flask-PyMongo's provider would let an ObjectId out as {"$oid": ...}. With Flask's
        # own, one that did not pass through a schema is an error in the first test.
        app.json = DefaultJSONProvider(app)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.json.ensure_ascii = False  # type: ignore[attr-defined]
    app.json.compact = True  # type: ignore[attr-defined]
    store_database.bind(database)
    directory = app.config["DATABASE_DIRECTORY"]
    if directory:
        reserve = configuration.disk_reserve(Path(directory), app.config["DISK_RESERVE_MB"])
        disk.free_space.watch(Path(directory), reserve)
    else:
        disk.free_space.watch(None, 0)


def _register(app: Flask) -> None:
    import admin_ui
    import chat_ui
    from chatapi import admin_api, user_api

    for blueprint in (
        user_api.blueprint,
        admin_api.blueprint,
        health.blueprint,
        openapi.blueprint,
        admin_ui.blueprint,
        chat_ui.blueprint,
        static_files.blueprint,
    ):
        app.register_blueprint(blueprint)
    static_files.init_app(
        app, (admin_ui.assets.files, chat_ui.files, openapi.files, static_files.shared)
    )
    problems.init_app(app, admin_ui.problem_page)
    cli.init_app(app)
