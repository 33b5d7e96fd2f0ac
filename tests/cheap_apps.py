"""Lets each test have an application of its own: what is the same in all of them is made once.

Werkzeug compiles a function for each route, and Jinja each template, which together take four
times as long as the rest of `create_app`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from flask import Flask
from jinja2.bccache import Bucket, BytecodeCache
from werkzeug.routing import Rule

Builder = Callable[..., tuple[str, str]]


class CachedRule(Rule):
    """A route whose two functions that build its address are compiled once in a process."""

    _builders: ClassVar[dict[tuple[Any, ...], Builder]] = {}

    def _compile_builder(self, append_unknown: bool = True) -> Builder:
        key = (self.rule, self.subdomain, self.host, repr(self.defaults), append_unknown)
        if key not in self._builders:
            self._builders[key] = super()._compile_builder(append_unknown)
        return self._builders[key]


class TemplateCache(BytecodeCache):
    """Keeps compiled templates in memory."""

    def __init__(self) -> None:
        self._compiled: dict[str, Any] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        """Give a template its code; that of a file which has changed does not count."""
        checksum, code = self._compiled.get(bucket.key, (None, None))
        if checksum == bucket.checksum:
            bucket.code = code

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Keep the code of a template."""
        self._compiled[bucket.key] = bucket.checksum, bucket.code


def install() -> None:
    """Let all applications that are created from now on share both."""
    Flask.url_rule_class = CachedRule
    Flask.jinja_options = {"bytecode_cache": TemplateCache()}
