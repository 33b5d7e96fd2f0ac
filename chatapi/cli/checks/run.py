"""What a check can use, and how it says what it found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from flask import Flask
from flask.testing import FlaskClient

from chatapi.cli.checks.instance import Answer, Instance, Unreachable
from chatapi.cli.checks.people import People, Person
from chatapi.store.database import Document
from config import ConfigError, ProductionConfig

Check = Callable[["Run"], str]


class Failed(Exception):
    """Something is not as it should be: what, and what to do about it."""

    def __init__(self, reason: str, remedy: str = "") -> None:
        self.reason = reason
        self.remedy = remedy
        super().__init__(reason)


class NotRun(Failed):
    """The check could not be made: nothing answers."""


class NotApplicable(Exception):
    """There is nothing to check here, for the reason given."""


def expect(condition: object, reason: str, remedy: str = "") -> None:
    """Fail for a reason unless a condition holds."""
    if not condition:
        raise Failed(reason, remedy)


@dataclass
class Run:
    """One run of the checklist."""

    app: Flask
    url: str
    offline: bool = False
    slow_ms: float = 500.0
    # What one check found out and another uses.
    found: dict[str, Any] = field(default_factory=dict)
    made: People | None = None

    @property
    def config(self) -> Mapping[str, Any]:
        """This configuration."""
        return self.app.config

    @property
    def production(self) -> bool:
        """Whether this is the real thing."""
        return bool(self.config["APP_ENV"] == "production")

    @property
    def people(self) -> People:
        """The accounts made for this run; they are made when they are first asked for."""
        if self.made is None:
            self.made = People()
            self.made.arrive()
        return self.made

    @property
    def instance(self) -> Instance:
        """The running instance. Raises NotRun when nothing answers or it is another one."""
        if "instance" not in self.found:
            try:
                self.found["instance"] = self._connect()
            except NotRun as reason:
                self.found["instance"] = reason
        answer = self.found["instance"]
        if isinstance(answer, NotRun):
            raise NotRun(answer.reason, answer.remedy)
        connected: Instance = answer
        return connected

    def close(self) -> None:
        """Close the connection to the instance, if there is one."""
        answer = self.found.get("instance")
        if isinstance(answer, Instance):
            answer.close()

    def _connect(self) -> Instance:
        if self.offline:
            raise NotRun("--offline")
        instance = Instance(self.url)
        try:
            health = instance.call("GET", "/healthz")
        except Unreachable as error:
            raise NotRun(
                f"Nothing answers at {self.url} ({error}).",
                "Start the product (make run), name its address (--url), or leave this "
                "out (--offline).",
            ) from None
        if health.status != 200 or health.data != {"status": "ok"}:
            raise NotRun(
                f"What answers at {self.url}/healthz is not this product ({health.status}).",
                "Name the product's address: --url.",
            )
        me = instance.call("GET", "/api/auth/me", self.people.user)
        if me.status != 200:
            raise NotRun(
                f"The instance at {self.url} does not know an account that stands in the "
                f"database of this configuration (it answered {me.status}).",
                "Give this command the same settings, or name the right instance: --url.",
            )
        return instance

    @cached_property
    def here(self) -> FlaskClient:
        """The same code and configuration in this process, for what is not done to others."""
        return self.app.test_client(use_cookies=False)

    def call(
        self, method: str, path: str, who: Person | None = None, json: object = None, **more: Any
    ) -> Answer:
        """Send a request to the running instance."""
        return self.instance.call(method, path, who, json, **more)

    def asked(
        self,
        status: int,
        method: str,
        path: str,
        who: Person | None = None,
        json: object = None,
        **more: Any,
    ) -> Answer:
        """Send a request and fail unless the answer has this status."""
        answer = self.call(method, path, who, json, **more)
        expect(
            answer.status == status or answer.status != 429,
            f"{method} {path} was refused by a rate limit (429).",
            "The limits are lower than this run needs, or it ran too often: wait "
            f"{answer.headers.get('retry-after', 'some')} s and run it again.",
        )
        expect(
            answer.status == status,
            f"{method} {path} answered {answer.told}, not {status}.",
            "The instance's log says more about this request: look for "
            f"{answer.headers.get('x-request-id', 'it')}.",
        )
        return answer

    def document(self) -> Document:
        """Return the instance's own OpenAPI document."""
        if "document" not in self.found:
            found = self.asked(200, "GET", "/api/openapi.json").data
            expect(isinstance(found, dict) and "paths" in found, "/api/openapi.json is none.")
            self.found["document"] = found
        document: Document = self.found["document"]
        return document

    def refused_in_production(self) -> dict[str, str]:
        """Return what production would refuse of this configuration, by the setting's name."""
        try:
            ProductionConfig.check(dict(self.config))
        except ConfigError as error:
            return {line.split()[0]: line for line in str(error).splitlines()}
        return {}

    def setting(self, *names: str) -> None:
        """Fail if production refuses one of these settings.

        In other environments the check does not apply then: there they may be so.
        """
        refused = self.refused_in_production()
        problems = [refused[name] for name in names if name in refused]
        if problems and self.production:
            raise Failed(
                " ".join(problems), "Change it in the environment; docs/deployment.md has all."
            )
        if problems:
            raise NotApplicable(
                f"not in production: APP_ENV is {self.config['APP_ENV']}. Production would say: "
                + " ".join(problems)
            )
