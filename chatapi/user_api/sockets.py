"""The route of the WebSocket, /api/ws."""

from __future__ import annotations

from flask import Response, request

from chatapi.domain import errors
from chatapi.http import endpoint, identity, limits
from chatapi.transport.connections import DetachedResponse, open_feed, socket_of
from chatapi.transport.web_socket import WebSocketConnection, accept_handshake, is_upgrade_request
from chatapi.user_api import blueprint


def websocket() -> Response:
    """Open a WebSocket. Authenticate as everywhere; a browser's page of another origin
    offers the subprotocols "chat.v1" and "bearer.TOKEN"."""
    session = identity.required()
    identity.check_origin()
    sock = socket_of(request)
    if sock is None or not is_upgrade_request():
        raise errors.UpgradeRequired
    head, protocol = accept_handshake()
    feed = open_feed(session)
    connection = WebSocketConnection(sock, feed, protocol)
    return DetachedResponse(lambda _: connection.start(head, ()), status=101)


limited_websocket = limits.rate_limit(websocket)
limited_websocket.contract = endpoint.EndpointSpec(  # type: ignore[attr-defined]
    "session",
    None,
    None,
    {101: None},
    [errors.Forbidden, errors.UpgradeRequired, errors.TooManyRequests],
    {},
    "default",
    tag="events",
)
blueprint.add_url_rule("/ws", "websocket", limited_websocket, methods=["GET"], websocket=True)
# Werkzeug needs a separate rule for requests without an upgrade, which get 426.
blueprint.add_url_rule("/ws", "websocket", limited_websocket, methods=["GET"])
