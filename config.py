"""The settings of the product, read once from the environment.

No other module of the application reads an environment variable; what starts it, in `deploy/`,
reads a few of the same. `docs/deployment.md` has the table of names.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Mapping
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from limits import parse
from pymongo.errors import ConfigurationError, InvalidURI
from pymongo.uri_parser import parse_uri

# The release. Everything that shows a version reads it here (tests/test_version.py).
__version__ = "0.1.0"

# What the environment may set; the rest of a configuration is not for a deployment to change.
SETTINGS = frozenset(
    {
        "SECRET_KEY",
        "MONGO_URI",
        "DATABASE_TIMEOUT_MS",
        "DATABASE_POOL_SIZE",
        "DATA_DIR",
        "DATABASE_DIRECTORY",
        "DISK_RESERVE_MB",
        "PORT",
        "WEB_CONCURRENCY",
        "PUBLIC_URL",
        "TRUSTED_PROXIES",
        "CORS_ORIGINS",
        "IMAGE_HOSTS",
        "CHAT_CATEGORIES",
        "SESSION_IDLE_SECONDS",
        "SESSION_ABSOLUTE_SECONDS",
        "MAX_SESSIONS_PER_USER",
        "PASSWORD_LINK_SECONDS",
        "MIN_AGENT_PASSWORD_LENGTH",
        "PASSWORD_TIME_COST",
        "PASSWORD_MEMORY_KIB",
        "RATELIMIT_ENABLED",
        "RATELIMIT_STORAGE_URI",
        "LIMIT_REGISTER",
        "LIMIT_GUEST",
        "LIMIT_CREATE_CHAT",
        "LIMIT_SEND",
        "LIMIT_DEFAULT",
        "LIMIT_UNKNOWN_TOKENS",
        "LIMIT_LOGIN_ADDRESS",
        "LIMIT_LOGIN_ACCOUNT",
        "LIMIT_GUESTS_TOTAL",
        "LIMIT_UNANSWERED_MESSAGES",
        "LIMIT_UNANSWERED_BYTES",
        "LIMIT_UNANSWERED_BYTES_TOTAL",
        "GUEST_MESSAGES_UNANSWERED",
        "GUEST_WITHOUT_CHAT_SECONDS",
        "STREAMS_PER_ACCOUNT",
        "STREAMS_PER_ADDRESS",
        "REQUEST_BODY_SECONDS",
        "ANSWER_SECONDS",
        "UNFINISHED_PER_ADDRESS",
        "LOG_LEVEL",
        "SEED_DEMO",
        "DEBUG",
    }
)
# What no command prints.
SECRET_SETTINGS = frozenset({"SECRET_KEY", "MONGO_URI", "RATELIMIT_STORAGE_URI"})
# The lowest and highest value of each number.
RANGES = {
    "GUEST_MESSAGES_UNANSWERED": (1, 1_000_000),
    "GUEST_WITHOUT_CHAT_SECONDS": (60, 366 * 24 * 3600),
    "DATABASE_TIMEOUT_MS": (100, 60_000),
    "DATABASE_POOL_SIZE": (1, 10_000),
    "DISK_RESERVE_MB": (1, 1_000_000),
    "PORT": (1, 65_535),
    "WEB_CONCURRENCY": (1, 256),
    "TRUSTED_PROXIES": (0, 10),
    "SESSION_IDLE_SECONDS": (1, 366 * 24 * 3600),
    "SESSION_ABSOLUTE_SECONDS": (1, 366 * 24 * 3600),
    "MAX_SESSIONS_PER_USER": (1, 10_000),
    "PASSWORD_LINK_SECONDS": (60, 30 * 24 * 3600),
    "MIN_AGENT_PASSWORD_LENGTH": (8, 200),
    "PASSWORD_TIME_COST": (1, 20),
    "PASSWORD_MEMORY_KIB": (8, 4 * 1024 * 1024),
    "STREAMS_PER_ACCOUNT": (1, 100_000),
    "STREAMS_PER_ADDRESS": (1, 100_000),
    "REQUEST_BODY_SECONDS": (1, 3600),
    "ANSWER_SECONDS": (1, 3600),
    "UNFINISHED_PER_ADDRESS": (1, 100_000),
}
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
KNOWN_SECRETS = frozenset({"dev", "development", "secret", "changeme", "change-me", "password"})
MIN_SECRET_LENGTH = 32


class ConfigError(Exception):
    """An invalid or unsafe setting; the text names the variable."""


def _flag(name: str, value: str) -> bool:
    text = value.strip().lower()
    if text not in {"1", "true", "yes", "on", "0", "false", "no", "off", ""}:
        raise ConfigError(f"{name} must be true or false, not {value!r}.")
    return text in {"1", "true", "yes", "on"}


def _list(value: str) -> list[str]:
    return [item.strip() for item in value.split(",") if item.strip()]


class Config:
    """The base of all configurations. Limits are flask-limiter strings, per account or address."""

    APP_ENV = "base"
    DEBUG = False
    TESTING = False
    VERSION = __version__

    SECRET_KEY = ""
    MONGO_URI = "mongodb://127.0.0.1:27017/livechat?retryWrites=false&w=1&journal=true"
    DATABASE_TIMEOUT_MS = 3000  # server selection and connect; a request answers 503 after it
    DATABASE_POOL_SIZE = 50
    DATA_DIR = "./var"
    # Where a database on this machine keeps its files: with less than the reserve free there,
    # writes are refused. `make run` sets it. Empty: the disk is not watched.
    DATABASE_DIRECTORY = ""
    DISK_RESERVE_MB = 128
    PORT = 8000
    WEB_CONCURRENCY = 1
    PUBLIC_URL = ""
    SEED_DEMO = False
    LOG_LEVEL = "INFO"

    CHAT_CATEGORIES: tuple[str, ...] = ("general", "support", "billing", "technical", "other")
    MAX_CONTENT_LENGTH = 64 * 1024
    MAX_FORM_MEMORY_SIZE = 64 * 1024

    SESSION_IDLE_SECONDS = 7 * 24 * 3600
    SESSION_ABSOLUTE_SECONDS = 30 * 24 * 3600
    MAX_SESSIONS_PER_USER = 50
    PASSWORD_LINK_SECONDS = 24 * 3600
    MIN_AGENT_PASSWORD_LENGTH = 12
    # Flask's own signed cookie carries nothing but the CSRF token.
    SESSION_COOKIE_NAME = "chat_csrf"
    SESSION_COOKIE_HTTPONLY = True
    SESSION_COOKIE_SAMESITE = "Lax"
    SESSION_COOKIE_SECURE = False
    # A late answer must not bring back the token of before a sign-in.
    SESSION_REFRESH_EACH_REQUEST = False
    PERMANENT_SESSION_LIFETIME = timedelta(days=30)
    AUTH_COOKIE_NAME = "chat_session"
    DEVICE_COOKIE_NAME = "chat_device"
    WTF_CSRF_TIME_LIMIT = None  # as long as the cookie session, so that no open page goes stale
    WTF_CSRF_CHECK_DEFAULT = False  # identity.py decides: cookies need it, Bearer does not
    WTF_CSRF_HEADERS = ("X-CSRF-Token",)
    WTF_CSRF_SSL_STRICT = False  # the Origin and Sec-Fetch-Site check stands in for the Referer

    PASSWORD_TIME_COST = 3  # argon2id, RFC 9106's second recommendation: 64 MiB, 3 passes
    PASSWORD_MEMORY_KIB = 64 * 1024

    TRUSTED_PROXIES = 0
    CORS_ORIGINS: tuple[str, ...] = ()
    # Besides our own: hosts, some with a port, whose pictures the pages load over https.
    IMAGE_HOSTS: tuple[str, ...] = ()

    RATELIMIT_ENABLED = True
    RATELIMIT_STORAGE_URI = "worker://"  # each worker counts for itself; else mongodb:// redis://
    LIMIT_REGISTER = "20 per hour"
    LIMIT_GUEST = "60 per hour"
    LIMIT_CREATE_CHAT = "20 per hour"
    LIMIT_SEND = "120 per minute"
    LIMIT_DEFAULT = "1200 per minute"
    LIMIT_UNKNOWN_TOKENS = "120 per minute"  # of one network, in one worker process
    # Before an agent has answered: of one network, and of all networks together.
    LIMIT_UNANSWERED_MESSAGES = "500 per hour"
    LIMIT_UNANSWERED_BYTES = "10000000 per hour"
    LIMIT_UNANSWERED_BYTES_TOTAL = "450000000 per hour"
    LIMIT_GUESTS_TOTAL = "20000 per hour"
    GUEST_MESSAGES_UNANSWERED = 50  # in one chat
    GUEST_WITHOUT_CHAT_SECONDS = 24 * 3600
    # Exact across workers: counted in the database, with any storage above.
    LIMIT_LOGIN_ADDRESS = "100 per 5 minutes"
    LIMIT_LOGIN_ACCOUNT = "10 per 5 minutes"

    # Open streams (SSE, long-poll, WebSocket) in one worker process.
    STREAMS_PER_ACCOUNT = 30
    STREAMS_PER_ADDRESS = 300

    # How long one request waits for its client, and how many of one network do in a process.
    REQUEST_BODY_SECONDS = 10
    ANSWER_SECONDS = 60
    UNFINISHED_PER_ADDRESS = 200

    COMPRESS_MIMETYPES = (
        "text/html",
        "text/css",
        "text/javascript",
        "application/json",
        "application/problem+json",
        "image/svg+xml",
    )
    COMPRESS_MIN_SIZE = 1024
    # zstd takes a quarter of the time of gzip, and its answers are smaller.
    COMPRESS_ALGORITHM = ("zstd", "br", "gzip")
    COMPRESS_LEVEL = 4
    SEND_FILE_MAX_AGE_DEFAULT = 3600

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> dict[str, object]:
        """Return this class's values with the environment's laid over them, checked.

        A value of the wrong form raises ConfigError naming its variable.
        """
        values: dict[str, object] = {
            name: getattr(cls, name) for name in dir(cls) if name.isupper()
        }
        for name, default in list(values.items()):
            if name not in SETTINGS or name not in environ:
                continue
            values[name] = _convert(name, environ[name], default)
        cls.check(values)
        return values

    @classmethod
    def check(cls, values: dict[str, object]) -> None:
        """Refuse what cannot work in any environment."""
        for name, (low, high) in RANGES.items():
            if not low <= int(str(values[name])) <= high:
                raise ConfigError(f"{name} must be a number from {low} to {high}.")
        if str(values["LOG_LEVEL"]).upper() not in LOG_LEVELS:
            raise ConfigError(f"LOG_LEVEL must be one of {', '.join(LOG_LEVELS)}.")
        _check_database(str(values["MONGO_URI"]))
        _check_storage(str(values["RATELIMIT_STORAGE_URI"]))
        watched = str(values["DATABASE_DIRECTORY"])
        if watched and not Path(watched).is_dir():
            raise ConfigError("DATABASE_DIRECTORY must be a directory that can be looked at.")
        if "general" not in _as_tuple(values["CHAT_CATEGORIES"]):
            raise ConfigError("CHAT_CATEGORIES must list 'general', the default of a new chat.")
        origins = values["CORS_ORIGINS"]
        for origin in origins if isinstance(origins, (list, tuple)) else ():
            _check_origin(str(origin))
        for host in _as_tuple(values["IMAGE_HOSTS"]):
            _check_image_host(str(host))
        for name, value in values.items():
            if name.startswith("LIMIT_"):
                _check_limit(name, str(value))


def _check_database(uri: str) -> None:
    try:
        options = parse_uri(uri, validate=True)["options"]
    except (InvalidURI, ConfigurationError, ValueError):
        # The text of the error may hold the password.
        raise ConfigError("MONGO_URI must be a MongoDB address: mongodb://host/name") from None
    if options.get("w") == 0 or options.get("journal") is False:
        raise ConfigError("MONGO_URI must not turn acknowledged, journaled writes off.")


def _check_storage(uri: str) -> None:
    schemes = ("worker", "memory", "mongodb", "mongodb+srv", "redis", "rediss", "redis+sentinel")
    scheme = uri.partition("://")[0]
    if scheme not in schemes:
        raise ConfigError("RATELIMIT_STORAGE_URI must be worker://, mongodb://… or redis://…")
    if scheme.startswith("redis") and find_spec("redis") is None:
        raise ConfigError(
            "RATELIMIT_STORAGE_URI names Redis, whose client is not installed: "
            "pip install redis, or count in mongodb://…"
        )


def _check_limit(name: str, value: str) -> None:
    try:
        allowed = parse(value).amount
    except ValueError:
        allowed = 0
    if allowed < 1:
        raise ConfigError(f"{name} must be a limit such as '20 per hour', not {value!r}.")


def _check_origin(origin: str) -> None:
    parts = urlsplit(origin)
    if (
        parts.scheme not in {"http", "https"}
        or not parts.hostname
        or "*" in origin
        or origin != f"{parts.scheme}://{parts.netloc}"
    ):
        raise ConfigError(
            f"CORS_ORIGINS must list exact origins such as https://shop.example, not {origin!r}."
        )


def _check_image_host(host: str) -> None:
    """Refuse what is no host: the pages' Content-Security-Policy repeats it."""
    match = re.fullmatch(r"([a-z0-9.-]+|\[[0-9a-f:.]+\])(:[1-9][0-9]{0,4})?", host)
    if match is None or int((match[2] or ":443")[1:]) > 65_535 or not match[1].strip(".-"):
        raise ConfigError(
            "IMAGE_HOSTS must list exact hosts in small letters, such as pictures.example or "
            f"pictures.example:8443, not {host!r}."
        )


def _convert(name: str, text: str, default: object) -> object:
    """Turn an environment string into the type that the default has."""
    if isinstance(default, bool):
        return _flag(name, text)
    if isinstance(default, int):
        try:
            return int(text)
        except ValueError:
            raise ConfigError(f"{name} must be a whole number, not {text!r}.") from None
    if isinstance(default, tuple):
        return tuple(_list(text))
    return text


class DevelopmentConfig(Config):
    """Development: works without any setting, over plain HTTP."""

    APP_ENV = "development"

    @classmethod
    def check(cls, values: dict[str, object]) -> None:
        """Make or read a secret of this data directory when none was given."""
        super().check(values)
        if not values["SECRET_KEY"]:
            values["SECRET_KEY"] = _development_secret(Path(str(values["DATA_DIR"])))


class TestConfig(Config):
    """Tests: fast hashes, and no rate limits unless a test enables them."""

    __test__ = False  # pytest would take the name for a test case.

    APP_ENV = "test"
    TESTING = True
    SECRET_KEY = "only-for-the-tests-0123456789-0123456789"  # noqa: S105 - not a real secret
    PASSWORD_TIME_COST = 1
    PASSWORD_MEMORY_KIB = 8
    RATELIMIT_ENABLED = False
    LOG_LEVEL = "WARNING"
    IMAGE_HOSTS = ("pictures.example",)


class ProductionConfig(Config):
    """Production, behind TLS: raises ConfigError for missing or unsafe settings."""

    APP_ENV = "production"
    SESSION_COOKIE_SECURE = True
    SESSION_COOKIE_NAME = "__Host-chat_csrf"
    AUTH_COOKIE_NAME = "__Host-chat_session"
    DEVICE_COOKIE_NAME = "__Host-chat_device"

    @classmethod
    def check(cls, values: dict[str, object]) -> None:
        """Raise one ConfigError that lists every problem, so that one restart can fix them all."""
        super().check(values)
        problems = []
        secret = str(values["SECRET_KEY"])
        lower = secret.lower()
        weak = lower in KNOWN_SECRETS or secret == TestConfig.SECRET_KEY
        weak = weak or lower.startswith(("changeme", "change-me", "change_me", "password"))
        if weak or len(secret) < MIN_SECRET_LENGTH or len(set(secret)) < 8:
            problems.append(
                "SECRET_KEY must be a random value of at least 32 characters: "
                'python3 -c "import secrets; print(secrets.token_urlsafe(48))"'
            )
        if values["DEBUG"]:
            problems.append("DEBUG must be off.")
        if not values["SESSION_COOKIE_SECURE"]:
            problems.append("SESSION_COOKIE_SECURE must stay on: cookies travel over TLS only.")
        if values["MONGO_URI"] == Config.MONGO_URI:
            problems.append("MONGO_URI must name the production database.")
        alone = str(values["RATELIMIT_STORAGE_URI"]).startswith(("worker", "memory"))
        if alone and int(str(values["WEB_CONCURRENCY"])) > 1:
            problems.append(
                "RATELIMIT_STORAGE_URI must name a storage that the workers share: mongodb://…"
            )
        if not values["RATELIMIT_ENABLED"]:
            problems.append("RATELIMIT_ENABLED must be on.")
        public = str(values["PUBLIC_URL"])
        parts = urlsplit(public)
        if not parts.hostname or public.rstrip("/") != f"https://{parts.netloc}":
            problems.append(
                "PUBLIC_URL must be the https:// address users open, such as "
                "https://chat.example.com, without a path."
            )
        if any(str(origin).startswith("http://") for origin in _as_tuple(values["CORS_ORIGINS"])):
            problems.append("CORS_ORIGINS must be https:// origins.")
        if int(str(values["PASSWORD_MEMORY_KIB"])) < 19 * 1024:
            problems.append("PASSWORD_MEMORY_KIB must be at least 19456.")
        if problems:
            raise ConfigError("\n".join(problems))


def disk_reserve(directory: Path, megabytes: int) -> int:
    """Return the number of bytes that have to stay free on the database's disk.

    At most a quarter of the file system: a small one has to be good for something too.
    """
    return min(megabytes * 1024 * 1024, shutil.disk_usage(directory).total // 4)


def _as_tuple(value: object) -> tuple[object, ...]:
    return tuple(value) if isinstance(value, (list, tuple)) else ()


def _development_secret(data_dir: Path) -> str:
    """Return the secret in DATA_DIR/secret_key, created on first use (mode 0600).

    A file that a power failure left empty, cut off or full of zeros is made again, by one
    process: all of them have to sign with the same secret.
    """
    path = data_dir / "secret_key"
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    secret = _kept_secret(path)
    if secret:
        return secret
    directory = os.open(data_dir, os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        secret = _kept_secret(path) or secrets.token_urlsafe(48)
        aside = path.with_name("secret_key.new")
        aside.unlink(missing_ok=True)
        with os.fdopen(os.open(aside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            file.write(secret)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
        os.fsync(directory)
    finally:
        os.close(directory)
    return secret


def _kept_secret(path: Path) -> str:
    """Return the secret in a file, or "" when there is none that can be used."""
    try:
        secret = path.read_text(encoding="ascii").strip()
    except (FileNotFoundError, UnicodeDecodeError):
        return ""
    return secret if len(secret) >= MIN_SECRET_LENGTH and secret.isprintable() else ""


BY_NAME: dict[str, type[Config]] = {
    "development": DevelopmentConfig,
    "test": TestConfig,
    "production": ProductionConfig,
}


def load(name: str | None = None, environ: Mapping[str, str] = os.environ) -> dict[str, object]:
    """Return the configuration of the named environment, by default APP_ENV's."""
    name = name or environ.get("APP_ENV", "development")
    if name not in BY_NAME:
        raise ConfigError(f"APP_ENV must be one of {', '.join(BY_NAME)}, not {name!r}.")
    return BY_NAME[name].from_environment(environ)
