"""The authorization check for a chat. No other module decides who may access one."""

from __future__ import annotations

from chatapi.domain.documents import Chat
from chatapi.domain.errors import ChatNotFound, NotYourChat
from chatapi.services.sessions import Session
from chatapi.store import chats
from chatapi.store.database import object_id


def access_chat(session: Session, chat_id: object) -> Chat:
    """Return the chat if the session's user may access it.

    Raises ChatNotFound for an invalid or unknown id, NotYourChat.
    """
    key = object_id(chat_id)
    return _admit(session, chats.by_id(key) if key else None)


def access_chat_to_write(session: Session, chat_id: object) -> Chat:
    """Return the same chat for a compare-and-set, possibly an outdated state from the cache.

    The owner of a chat never changes; the write itself checks everything else.
    """
    key = object_id(chat_id)
    chat = chats.last_seen(key) if key else None
    return _admit(session, chat) if chat else access_chat(session, chat_id)


def _admit(session: Session, chat: Chat | None) -> Chat:
    if chat is None:
        raise ChatNotFound
    if not session.is_admin and chat["userId"] != session.user_id:
        raise NotYourChat
    return chat
