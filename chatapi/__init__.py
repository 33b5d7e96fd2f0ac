"""The application factory. It only wires the parts and has no rules, queries or migrations."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import click
from flask import Flask
from flask.json.provider import DefaultJSONProvider
from flask_pymongo import PyMongo
from pymongo import MongoClient
from pymongo.database import Database
from pymongo.driver_info import DriverInfo
from pymongo.uri_parser import parse_uri
from werkzeug.middleware.proxy_fix import ProxyFix

import config as configuration
from chatapi import cli
from chatapi.domain.runtime import Runtime
from chatapi.http import (
    data_guard,
    headers,
    health,
    identity,
    limits,
    log,
    login_limits,
    openapi,
    problems,
    quotas,
    slow_clients,
    static_files,
)
from chatapi.http.application import Chat
from chatapi.http.extensions import Compressor
from chatapi.schemas import categories
from chatapi.services import credentials, password_rules, passwords, sessions
from chatapi.services.feeds import StreamLimits, stream_limits
from chatapi.services.quota import Quota, quota
from chatapi.store import database as store_database
from chatapi.store import disk, server
from chatapi.transport import streams

DEFAULT_DATABASE = "livechat"


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
    app = Chat(__name__)
    runtime: Runtime = app.extensions["chat"]
    with runtime.active():
        _wire(app, config, database, overrides)
    return app


def _wire(
    app: Flask,
    config: str | type[configuration.Config] | None,
    database: Database[Any] | None,
    overrides: dict[str, Any],
) -> None:
    # Werkzeug would redirect a doubled slash to the host in the Host header.
    app.url_map.merge_slashes = False
    app.config.update(_settings(config) | overrides)
    if app.debug and app.config["APP_ENV"] == "production":
        raise configuration.ConfigError("FLASK_DEBUG must be off.")
    _configure_services(app)
    _connect(app, database)
    identity.init_app(app)
    log.init_app(app)
    slow_clients.init_app(app)
    if app.config["TRUSTED_PROXIES"]:
        count = app.config["TRUSTED_PROXIES"]
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app, x_for=count, x_proto=count, x_host=count
        )
    data_guard.init_app(app)
    limits.init_app(app)
    login_limits.init_app(app, shared=database is None)
    Compressor().init_app(app)
    headers.init_app(app)
    _register(app)


def _settings(config: str | type[configuration.Config] | None) -> dict[str, Any]:
    if isinstance(config, type):
        return config.from_environment()
    return configuration.load(config)


def _configure_services(app: Flask) -> None:
    config = app.config
    categories.configure(config["CHAT_CATEGORIES"])
    sessions.lifetimes.set(
        sessions.Lifetimes(
            idle=timedelta(seconds=config["SESSION_IDLE_SECONDS"]),
            absolute=timedelta(seconds=config["SESSION_ABSOLUTE_SECONDS"]),
            guest_without_chat=timedelta(seconds=config["GUEST_WITHOUT_CHAT_SECONDS"]),
            per_user=config["MAX_SESSIONS_PER_USER"],
        )
    )
    passwords.configure(config["PASSWORD_TIME_COST"], config["PASSWORD_MEMORY_KIB"])
    password_rules.configure(config["MIN_AGENT_PASSWORD_LENGTH"])
    credentials.configure(timedelta(seconds=config["PASSWORD_LINK_SECONDS"]))
    quota.set(Quota(quotas.count_account, quotas.count_chat, quotas.count_message))
    stream_limits.set(
        StreamLimits(account=config["STREAMS_PER_ACCOUNT"], address=config["STREAMS_PER_ADDRESS"])
    )
    streams.init_app(app)


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
        mongo = PyMongo()
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
        disk.free_space.current.watch(Path(directory), reserve)
    else:
        disk.free_space.current.watch(None, 0)


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
