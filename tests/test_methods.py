"""HEAD and OPTIONS are answered at every address of the application."""

from __future__ import annotations

from flask import Flask

# Streams never end, and a WebSocket has no body to leave out.
WITHOUT_HEAD = {"user_api.chat_events", "user_api.inbox_events", "user_api.websocket"}


def test_head_answers_like_get_without_a_body_and_options_names_the_methods(app: Flask) -> None:
    client = app.test_client()
    asked = 0
    for rule in app.url_map.iter_rules():
        methods = rule.methods or set()
        values = {name: 1 if name == "seq" else "0" * 24 for name in rule.arguments}
        path = app.url_map.bind("localhost").build(rule.endpoint, values)
        options = client.options(path)
        assert options.status_code < 400, (path, options.status_code)
        assert options.data == b"", path
        if "GET" not in methods or rule.endpoint in WITHOUT_HEAD:
            continue
        whole, head = client.get(path), client.head(path)
        assert head.data == b"", path
        assert head.status_code == whole.status_code < 500, (path, head.status_code)
        asked += 1
    assert asked > 20
