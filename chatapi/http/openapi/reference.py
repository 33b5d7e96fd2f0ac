"""The OpenAPI document as a page: plain HTML that can be read without its script."""

from __future__ import annotations

import functools
import json
import shlex
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from flask import current_app, render_template
from markupsafe import Markup, escape

Json = dict[str, Any]


def render(document: Json, codes: Mapping[str, Json], stylesheet: str, script: str) -> str:
    """Return the page of a document.

    codes -- of each error code: status, title, detail, extras, advice and example.
    stylesheet, script -- their addresses.
    """
    reader = _Reader(document)
    return render_template(
        "openapi/page.html",
        document=document,
        base=reader.base,
        groups=reader.groups(),
        shapes=reader.shapes(),
        codes=codes,
        prose=functools.partial(_prose, frozenset(codes)),
        pretty=_pretty,
        stylesheet=stylesheet,
        script=script,
    )


class _Reader:
    """Answers what the page asks of a document."""

    def __init__(self, document: Json) -> None:
        self.document = document
        url = document["servers"][0]["url"]
        self.base = url if url != "/" else f"http://127.0.0.1:{current_app.config['PORT']}"

    def groups(self) -> list[Json]:
        """Return the tags, each with its operations in the document's order."""
        groups: dict[str, Json] = {
            tag["name"]: {**tag, "id": f"tag-{_slug(tag['name'])}", "operations": []}
            for tag in self.document["tags"]
        }
        for path, methods in self.document["paths"].items():
            for method, operation in methods.items():
                groups[operation["tags"][0]]["operations"].append(
                    self._operation(path, method, operation)
                )
        return [group for group in groups.values() if group["operations"]]

    def shapes(self) -> list[Json]:
        """Return the schemas, by name."""
        return [
            {"name": name, "description": schema.get("description"), "rows": self.rows(schema)}
            for name, schema in sorted(self.document["components"]["schemas"].items())
        ]

    def rows(self, schema: Json) -> list[Json]:
        """Return the members of an object for a table."""
        required = set(schema.get("required", ()))
        return [
            {
                "name": name,
                "required": name in required,
                "type": self.type_of(member),
                "notes": _notes(member),
                "description": member.get("description"),
            }
            for name, member in schema.get("properties", {}).items()
        ]

    def type_of(self, schema: Json) -> Markup:
        """Return a schema's type in words; those with a name are links."""
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            return Markup('<a href="#schema-{0}">{0}</a>').format(name)
        if "anyOf" in schema:
            return Markup(" or ").join(self.type_of(option) for option in schema["anyOf"])
        kinds = schema.get("type", "string")
        names = kinds if isinstance(kinds, list) else [kinds]
        if "array" in names:
            return Markup("array of {}").format(self.type_of(schema.get("items", {})))
        return escape(" or ".join(names))

    def _operation(self, path: str, method: str, operation: Json) -> Json:
        body = operation.get("requestBody", {}).get("content", {}).get("application/json")
        examples = {name: each["value"] for name, each in (body or {}).get("examples", {}).items()}
        return {
            "id": operation["operationId"],
            "method": method.upper(),
            "path": path,
            "summary": operation["summary"],
            "description": operation["description"],
            "parameters": [
                {
                    **parameter,
                    "type": self.type_of(parameter["schema"]),
                    "notes": _notes(parameter["schema"]),
                }
                for parameter in operation.get("parameters", ())
            ],
            "rows": self.rows(self._resolved(body["schema"])) if body else [],
            "examples": examples,
            "responses": [
                self._response(status, response)
                for status, response in operation["responses"].items()
            ],
            "curl": self._curl(path, method, operation, examples),
        }

    def _response(self, status: str, response: Json) -> Json:
        media: Json = next(iter(response.get("content", {}).values()), {})
        return {
            "status": status,
            "description": response["description"],
            "type": self.type_of(media["schema"]) if media else None,
            "example": media.get("example"),
            "headers": list(response.get("headers", {})),
            "problem": int(status) >= 400,
        }

    def _resolved(self, schema: Json) -> Json:
        name = schema["$ref"].rpartition("/")[2]
        found: Json = self.document["components"]["schemas"][name]
        return found

    def _curl(self, path: str, method: str, operation: Json, examples: Json) -> str:
        query = {}
        for parameter in operation.get("parameters", ()):
            if parameter["in"] == "path":
                example = str(parameter["example"])
                path = path.replace(f"{{{parameter['name']}}}", example)
            elif parameter["name"] == "limit":
                query["limit"] = parameter["schema"]["default"]
        url = self.base + path + (f"?{urlencode(query)}" if query else "")
        parts = ["curl", *(["-X", method.upper()] if method not in {"get", "post"} else [])]
        lines = [" ".join([*parts, shlex.quote(url)])]
        if operation["security"]:
            lines.append('-H "Authorization: Bearer $TOKEN"')
        if examples:
            lines.append("-H 'Content-Type: application/json'")
            body = json.dumps(next(iter(examples.values())), ensure_ascii=False)
            lines.append(f"-d {shlex.quote(body)}")
        elif method == "post":
            lines[0] = lines[0].replace("curl ", "curl -X POST ", 1)
        return " \\\n  ".join(lines)


def _notes(schema: Json) -> str:
    """Return what limits a value, in a few words."""
    inner = schema.get("items", schema)
    notes = []
    if "enum" in inner:
        notes.append(" · ".join("null" if each is None else str(each) for each in inner["enum"]))
    notes += [str(schema["format"])] if "format" in schema else []
    for low, high, unit in (
        ("minLength", "maxLength", " characters"),
        ("minItems", "maxItems", " items"),
        ("minimum", "maximum", ""),
    ):
        if low in schema and high in schema:
            notes.append(f"{schema[low]:,} to {schema[high]:,}{unit}")
        elif high in schema:
            notes.append(f"up to {schema[high]:,}{unit}")
        elif low in schema:
            notes.append(f"from {schema[low]:,}{unit}")
    if "default" in schema:
        notes.append(f"default {json.dumps(schema['default'])}")
    return ", ".join(notes)


def _pretty(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)


def _prose(codes: frozenset[str], text: str | None) -> Markup:
    """Return text with `code` marked, in paragraphs where there are empty lines.

    codes -- words that have a section of their own, to be linked to.
    """
    paragraphs = [_with_code(codes, part) for part in (text or "").split("\n\n")]
    if len(paragraphs) == 1:
        return paragraphs[0]
    return Markup("").join(Markup("<p>{}</p>").format(part) for part in paragraphs)


def _with_code(codes: frozenset[str], text: str) -> Markup:
    parts = []
    for number, part in enumerate(text.split("`")):
        if number % 2 == 0:
            parts.append(escape(part))
        elif part in codes:
            parts.append(Markup('<a href="#{0}"><code>{0}</code></a>').format(part))
        else:
            parts.append(Markup("<code>{}</code>").format(part))
    return Markup("").join(parts)


def _slug(name: str) -> str:
    return name.lower().replace(" ", "-")
