"""What the tests have asked for: every endpoint has to succeed once, every refusal to come.

Each process of a run takes notes; at the end of a whole run that has passed they are judged.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import mongomock
import pytest
from flask import Flask, Response, g, request, request_finished

from chatapi import create_app
from chatapi.domain.errors import ChatError
from config import TestConfig

# A test client cannot upgrade a connection: tests/live/test_sockets.py does.
NOT_HERE = {"user_api.websocket"}


class Exercised:
    """A plugin of pytest that fails a run of a whole tier which leaves something out."""

    def __init__(self) -> None:
        self.endpoints: set[str] = set()
        self.codes: set[str] = set()
        request_finished.connect(self._note)

    def _note(self, _: Flask, response: Response, **__: Any) -> None:
        if response.status_code < 400 and request.endpoint is not None:
            self.endpoints.add(request.endpoint)
        if "error_code" in g:
            self.codes.add(g.error_code)

    def missing(self) -> list[str]:
        """Return the endpoints that never succeeded and the codes that never came."""
        app = create_app(TestConfig, database=mongomock.MongoClient(tz_aware=True)["test"])
        endpoints = {rule.endpoint for rule in app.url_map.iter_rules()}
        codes = {error.code for error in error_classes(ChatError)}
        return [
            *sorted(endpoints - NOT_HERE - self.endpoints),
            *sorted(codes - self.codes),
        ]

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take over the notes of a process that has ended."""
        noted = getattr(node, "workeroutput", {}).get("exercised", ([], []))
        self.endpoints.update(noted[0])
        self.codes.update(noted[1])

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Hand the notes over, or judge them."""
        config: Any = session.config
        if hasattr(config, "workerinput"):
            config.workeroutput["exercised"] = (sorted(self.endpoints), sorted(self.codes))
        elif exitstatus == pytest.ExitCode.OK and is_whole(session.config):
            missing = self.missing()
            if missing:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED
                print("\n\nNo test sees these succeed or be refused:", *missing)


def is_whole(config: pytest.Config) -> bool:
    """Tell whether a run has all tests of a tier."""
    option = config.option
    only_failed = getattr(option, "lf", False)
    narrowed = option.keyword or option.markexpr or only_failed or option.collectonly
    return config.args_source is pytest.Config.ArgsSource.TESTPATHS and not narrowed


def error_classes(kind: type[ChatError]) -> Iterator[type[ChatError]]:
    """Yield a class of refusals and all below it."""
    yield kind
    for each in kind.__subclasses__():
        yield from error_classes(each)
