"""Declarations that would go wrong later are refused when they are made."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Blueprint
from marshmallow import fields, post_dump

from chatapi.http.endpoint import CONTRACT, TAGS, endpoint
from chatapi.schemas import field_types
from chatapi.schemas.base import Output
from chatapi.schemas.meta import HealthOut


def declare(blueprint: Blueprint, module: str, tag: str | None = None) -> str:
    def view() -> None:
        """Show nothing."""

    view.__module__ = module
    endpoint(blueprint, "GET", "/x", auth="anyone", returns={200: HealthOut()}, tag=tag)(view)
    made: list[Any] = []
    blueprint.deferred_functions[-1](
        type("State", (), {"add_url_rule": lambda _, *given, **__: made.append(given[2])})()
    )
    return str(getattr(made[0], CONTRACT).tag)


def test_an_endpoint_without_a_known_tag_is_refused_with_a_sentence() -> None:
    with pytest.raises(LookupError) as caught:
        declare(Blueprint("user_api", __name__), "chatapi.user_api.surveys")
    assert str(caught.value).startswith(
        "The endpoint chatapi.user_api.surveys.view has no tag for the API's document: "
        "TAGS in chatapi/http/endpoint.py has no 'surveys'."
    )
    with pytest.raises(LookupError, match="has no 'nonsense'"):
        declare(Blueprint("user_api", __name__), "chatapi.user_api.chats", tag="nonsense")


@pytest.mark.parametrize(
    ("blueprint", "module", "tag", "found"),
    [
        ("user_api", "chatapi.user_api.surveys", "chats", "chats"),
        ("user_api", "chatapi.user_api.messages", None, "messages"),
        ("admin_api", "chatapi.admin_api.surveys", None, "admin_api"),
    ],
)
def test_the_tag_is_the_declarations_or_the_blueprints_or_the_modules(
    blueprint: str, module: str, tag: str | None, found: str
) -> None:
    assert found in TAGS
    assert declare(Blueprint(blueprint, __name__), module, tag) == found


class _Loud(fields.String):
    def _serialize(self, value: Any, *_: Any, **__: Any) -> str:
        return str(value).upper()


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        (fields.DateTime(), "a DateTime"),
        (fields.Method("shown"), "a Method"),
        (fields.Function(lambda _: 1), "a Function"),
        (fields.Decimal(), "a Decimal"),
        (fields.UUID(), "a UUID"),
        (_Loud(), "a _Loud"),
        (fields.List(fields.DateTime()), "a DateTime"),
        (fields.Dict(values=fields.DateTime()), "a DateTime"),
        (fields.List(field_types.UtcDateTime()), "is not converted"),
        (fields.String(dump_default="x"), "a dump_default"),
        (fields.String(attribute="user.name"), "is not converted"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_an_output_refuses_what_its_dump_would_not_convert(
    field: fields.Field[Any], reason: str
) -> None:
    kind = type("SurveyOut", (Output,), {"rating": field, "shown": lambda _, __: 1})
    with pytest.raises(TypeError, match=rf"SurveyOut\.rating .*{reason}"):
        kind()


def test_an_output_refuses_hooks() -> None:
    class SurveyOut(Output):
        name = fields.String()

        @post_dump
        def add(self, data: Any, **_: Any) -> Any:
            return data

    with pytest.raises(TypeError, match="SurveyOut has a @post_dump"):
        SurveyOut()
