"""The encoding of events: the same objects on every transport."""

from __future__ import annotations

import json
from typing import Any

from chatapi.schemas.chats import ChatOut
from chatapi.schemas.events import DeletedOut, PresenceOut, ReadOut, TypingOut
from chatapi.schemas.messages import MessageOut
from chatapi.services import chats, messages
from chatapi.services.feeds import Event
from chatapi.services.sessions import Session

_SHAPES = {
    "read": ReadOut(),
    "typing": TypingOut(),
    "presence": PresenceOut(),
    "deleted": DeletedOut(),
}
_chat, _message = ChatOut(), MessageOut()


def data_of(event: Event, session: Session) -> dict[str, Any]:
    """Return the data of an event for a session."""
    if event.name == "chat":
        shown = _chat.dump(chats.present_chat(session, event.data))
    elif event.name == "message":
        shown = _message.dump(messages.present_message(event.data["chat"], event.data["message"]))
    elif event.name in _SHAPES:
        shown = _SHAPES[event.name].dump(event.data)
    else:
        shown = event.data
    return dict(shown)


def sse(event: Event, session: Session) -> bytes:
    """Return an event as a server-sent event, encoded once for each side."""
    key = ("sse", session.side)
    if key not in event.frames:
        lines = [f"event: {event.name}"]
        if event.name == "message":
            lines.append(f"id: {event.seq}")
        lines.append(f"data: {_json(data_of(event, session))}")
        event.frames[key] = ("\n".join(lines) + "\n\n").encode()
    found: bytes = event.frames[key]
    return found


def websocket(event: Event, session: Session) -> str:
    """Return an event as a WebSocket text frame, encoded once for each side."""
    key = ("ws", session.side)
    if key not in event.frames:
        event.frames[key] = _json({"event": event.name, "data": data_of(event, session)})
    found: str = event.frames[key]
    return found


_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
