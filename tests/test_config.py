"""What the product is told: production refuses what is missing or unsafe, by name."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import config
from chatapi import create_app
from config import ConfigError

SAFE = {
    "SECRET_KEY": "Zk9cXb2m4Qe7Rt1Yw5Uo8Ip3Ls0Ad6Fg9Hj2Kl4",
    "MONGO_URI": "mongodb://db.internal:27017/chat?w=majority",
    "PUBLIC_URL": "https://chat.example",
}


def refusal(environ: dict[str, str], name: str = "production") -> str:
    with pytest.raises(ConfigError) as error:
        config.load(name, environ)
    return str(error.value)


def test_production_starts_with_what_is_safe() -> None:
    values = config.load("production", SAFE)
    assert values["SESSION_COOKIE_SECURE"] is True
    assert values["SESSION_COOKIE_HTTPONLY"] is True
    assert values["RATELIMIT_ENABLED"] is True
    assert values["DEBUG"] is False
    assert str(values["AUTH_COOKIE_NAME"]).startswith("__Host-")
    assert str(values["SESSION_COOKIE_NAME"]).startswith("__Host-")


@pytest.mark.parametrize("name", SAFE)
def test_production_refuses_to_start_without(name: str) -> None:
    environ = {key: value for key, value in SAFE.items() if key != name}
    assert name in refusal(environ)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SECRET_KEY", ""),
        ("SECRET_KEY", "dev"),
        ("SECRET_KEY", "changeme"),
        ("SECRET_KEY", "PASSWORD"),
        ("SECRET_KEY", "x" * 31),
        ("SECRET_KEY", "x" * 64),
        ("SECRET_KEY", "abcabcabc" * 8),
        ("SECRET_KEY", config.TestConfig.SECRET_KEY),
        ("DEBUG", "1"),
        ("MONGO_URI", config.Config.MONGO_URI),
        ("RATELIMIT_ENABLED", "false"),
        ("RATELIMIT_ENABLED", ""),
        ("PUBLIC_URL", ""),
        ("PUBLIC_URL", "http://chat.example"),
        ("CORS_ORIGINS", "http://shop.example"),
        ("CORS_ORIGINS", "*"),
        ("CORS_ORIGINS", "https://*.shop.example"),
        ("CORS_ORIGINS", "https://shop.example/"),
        ("CORS_ORIGINS", "https://shop.example,shop2.example"),
        ("CORS_ORIGINS", "null"),
        ("IMAGE_HOSTS", "*"),
        ("IMAGE_HOSTS", "*.pictures.example"),
        ("IMAGE_HOSTS", "https://pictures.example"),
        ("IMAGE_HOSTS", "pictures.example/avatars"),
        ("IMAGE_HOSTS", "pictures.example; script-src *"),
        ("IMAGE_HOSTS", "me@pictures.example"),
        ("IMAGE_HOSTS", "Pictures.example"),
        ("IMAGE_HOSTS", "pictures.example:0"),
        ("IMAGE_HOSTS", "pictures.example:65536"),
        ("PASSWORD_MEMORY_KIB", "8"),
        ("TRUSTED_PROXIES", "-1"),
        ("TRUSTED_PROXIES", "11"),
        ("TRUSTED_PROXIES", "many"),
        ("PORT", "http"),
        ("CHAT_CATEGORIES", " , "),
        ("LIMIT_SEND", "often"),
        ("LIMIT_LOGIN_ACCOUNT", ""),
        ("MONGO_URI", "mongodb://db.example/livechat?w=0"),
        ("MONGO_URI", "mongodb://db.example/livechat?w=1&journal=false"),
        ("MONGO_URI", "garbage"),
        ("RATELIMIT_STORAGE_URI", "foo://x"),
        ("PASSWORD_TIME_COST", "0"),
        ("SESSION_IDLE_SECONDS", "0"),
        ("DATABASE_POOL_SIZE", "-1"),
        ("LIMIT_LOGIN_ACCOUNT", "0 per minute"),
        ("PUBLIC_URL", "https://"),
        ("PUBLIC_URL", "https://chat.example/path?x"),
        ("SECRET_KEY", "change-me-change-me-change-me-change-me"),
        ("RATELIMIT_ENABLED", "ture"),
    ],
)
def test_production_refuses_an_unsafe_value_by_name(name: str, value: str) -> None:
    text = refusal(SAFE | {name: value})
    assert name in text
    others = (set(SAFE) | {"DEBUG", "RATELIMIT_ENABLED"}) - {name}
    assert not [other for other in others if other in text]


def test_several_workers_need_a_storage_that_they_share() -> None:
    several = SAFE | {"WEB_CONCURRENCY": "4"}
    assert "RATELIMIT_STORAGE_URI" in refusal(several)
    shared = {"RATELIMIT_STORAGE_URI": "mongodb://db.internal/limits"}
    assert config.load("production", several | shared)["WEB_CONCURRENCY"] == 4


def test_redis_needs_its_client(monkeypatch: pytest.MonkeyPatch) -> None:
    redis = SAFE | {"RATELIMIT_STORAGE_URI": "redis://limits.internal:6379"}
    monkeypatch.setattr(config, "find_spec", lambda _: None)
    assert "pip install redis" in refusal(redis)
    monkeypatch.setattr(config, "find_spec", lambda _: object())
    assert config.load("production", redis)["RATELIMIT_ENABLED"] is True


def test_the_hosts_of_pictures_are_exact() -> None:
    hosts = "pictures.example, a.pictures.example:8443,127.0.0.1,[::1]:8000"
    assert config.load("production", SAFE | {"IMAGE_HOSTS": hosts})["IMAGE_HOSTS"] == (
        *("pictures.example", "a.pictures.example:8443"),
        *("127.0.0.1", "[::1]:8000"),
    )


def test_an_unknown_log_level_is_refused() -> None:
    assert "LOG_LEVEL" in refusal(SAFE | {"LOG_LEVEL": "VERBOSE"})


@pytest.mark.parametrize(
    "name", ["AUTH_COOKIE_NAME", "SESSION_COOKIE_SECURE", "MAX_CONTENT_LENGTH"]
)
def test_what_keeps_cookies_and_bodies_safe_is_not_for_the_environment(name: str) -> None:
    assert config.load("production", SAFE | {name: "0"}) == config.load("production", SAFE)


def test_the_deployment_guide_names_every_setting() -> None:
    guide = (Path(config.__file__).parent / "docs" / "deployment.md").read_text()
    missing = [name for name in config.SETTINGS - {"DEBUG"} if f"`{name}`" not in guide]
    assert missing == []


def test_production_lists_every_problem_at_once() -> None:
    text = refusal({"DEBUG": "1", "RATELIMIT_ENABLED": "0"})
    for name in ("SECRET_KEY", "DEBUG", "MONGO_URI", "RATELIMIT_ENABLED", "PUBLIC_URL"):
        assert name in text


def test_the_refusal_never_repeats_the_secret() -> None:
    assert "too-short-secret" not in refusal(SAFE | {"SECRET_KEY": "too-short-secret"})


def test_the_app_is_not_made_of_an_unsafe_configuration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SECRET_KEY", "dev")
    with pytest.raises(ConfigError, match="SECRET_KEY"):
        create_app("production")


def test_an_unknown_environment_is_refused_by_name() -> None:
    assert "APP_ENV" in refusal({}, "staging")
    with pytest.raises(ConfigError, match="APP_ENV"):
        config.load(environ={"APP_ENV": "prod"})


def test_development_needs_no_setting_and_keeps_its_secret(tmp_path: Path) -> None:
    environ = {"DATA_DIR": str(tmp_path)}
    first = config.load("development", environ)
    second = config.load("development", environ)
    assert first["SECRET_KEY"] == second["SECRET_KEY"]
    assert len(str(first["SECRET_KEY"])) >= 32
    assert (tmp_path / "secret_key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("PORT", "9000", 9000),
        ("RATELIMIT_ENABLED", "no", False),
        ("RATELIMIT_ENABLED", "TRUE", True),
        ("CHAT_CATEGORIES", "a, general ,,c", ("a", "general", "c")),
        ("CORS_ORIGINS", "https://a.example,https://b.example:8443",
         ("https://a.example", "https://b.example:8443")),
        ("LOG_LEVEL", "DEBUG", "DEBUG"),
        ("SESSION_IDLE_SECONDS", "60", 60),
    ],
)  # fmt: skip
def test_values_of_the_environment_get_their_type(name: str, text: str, value: Any) -> None:
    assert config.load("test", {name: text})[name] == value


@pytest.mark.parametrize("name", ["TESTING", "VERSION", "APP_ENV"])
def test_what_is_no_setting_is_not_taken_from_the_environment(name: str) -> None:
    assert config.load("production", SAFE | {name: "1"})[name] != "1"


@pytest.mark.parametrize("damage", [b"", b"\0" * 64, b"\n", b"cut-off", b"\xff" * 64])
def test_a_development_secret_that_a_power_failure_damaged_is_made_again(
    tmp_path: Path, damage: bytes
) -> None:
    (tmp_path / "secret_key").write_bytes(damage)

    first = config.load("development", {"DATA_DIR": str(tmp_path)})["SECRET_KEY"]

    assert len(str(first)) >= 32
    assert first == config.load("development", {"DATA_DIR": str(tmp_path)})["SECRET_KEY"]
    assert (tmp_path / "secret_key").read_text() == first
    assert (tmp_path / "secret_key").stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "secret_key.new").exists()


def test_processes_that_find_a_damaged_secret_together_agree_on_one(tmp_path: Path) -> None:
    (tmp_path / "secret_key").write_bytes(b"")
    environ = {"DATA_DIR": str(tmp_path)}
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: config.load("development", environ), range(16)))

    assert len({values["SECRET_KEY"] for values in found}) == 1
