"""One run of the checklist: what a check can use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from acceptance.instance import Answer, Instance, Unreachable
from acceptance.people import People, Person
from acceptance.product import NOWHERE, CommandFailed, OwnInstance, Product
from acceptance.results import Failed, NotApplicable, NotRun, expect

Check = Callable[["Run"], str]


@dataclass
class Run:
    """One run of the checklist."""

    product: Product
    url: str
    offline: bool = False
    slow_ms: float = 500.0
    # What one check found out and another uses.
    found: dict[str, Any] = field(default_factory=dict)
    made: People | None = None
    not_made: CommandFailed | None = None
    needs_removal: bool = False
    started: dict[bool, OwnInstance] = field(default_factory=dict)

    @property
    def config(self) -> Mapping[str, Any]:
        """The settings of this configuration, without its secrets."""
        settings: Mapping[str, Any] = self.product.configuration["settings"]
        return settings

    @property
    def production(self) -> bool:
        """Whether this is the real thing."""
        return bool(self.config["APP_ENV"] == "production")

    @property
    def people(self) -> People:
        """The accounts made for this run; they are made when they are first asked for."""
        if self.made is None:
            if self.not_made:
                raise self.not_made
            # First: what was begun and failed has to be removed, too.
            self.needs_removal = True
            try:
                self.made = People(self.product)
            except CommandFailed as error:
                self.not_made = error
                raise
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
        """Close the connection to the instance, and end the instances of this run."""
        answer = self.found.get("instance")
        if isinstance(answer, Instance):
            answer.close()
        for own in self.started.values():
            own.close()
        self.product.close()

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

    def own_instance(self, *, database: bool = True) -> OwnInstance:
        """Return an instance of this run alone, started when it is first asked for.

        The running instance has its database and its log to itself.

        database -- whether it reaches the database.
        """
        if database not in self.started:
            environment = {"LOG_LEVEL": "DEBUG"}
            if not database:
                environment |= {"MONGO_URI": NOWHERE, "DATABASE_TIMEOUT_MS": "200"}
            self.started[database] = self.product.start(**environment)
        return self.started[database]

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
            f"{method} {path} answered {answer.summary}, not {status}.",
            "The instance's log says more about this request: look for "
            f"{answer.headers.get('x-request-id', 'it')}.",
        )
        return answer

    def document(self) -> Any:
        """Return the instance's own OpenAPI document."""
        if "document" not in self.found:
            found = self.asked(200, "GET", "/api/openapi.json").data
            expect(isinstance(found, dict) and "paths" in found, "/api/openapi.json is none.")
            self.found["document"] = found
        return self.found["document"]

    def setting(self, *names: str) -> None:
        """Fail if production refuses one of these settings.

        In other environments the check does not apply then: there they may be so.
        """
        refused = self.product.configuration["refusedInProduction"]
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
