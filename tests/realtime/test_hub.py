"""The hub by itself: who gets what, in which order, and what happens to the slow."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from bson import ObjectId

from chatapi.domain.documents import Chat, Message
from chatapi.realtime import hub as hub_module
from chatapi.realtime.hub import MAX_BATCH, MAX_QUEUE_LENGTH, Event, Hub, Listener
from chatapi.store import messages as stored_messages
from tests.documents import chat_document, event_document, message_document

CHAT, OTHER, OWNER = ObjectId(), ObjectId(), ObjectId()


def chat(version: int, last_seq: int = 0, **fields: Any) -> Chat:
    known = {"_id": CHAT, "userId": OWNER, "version": version, "lastSeq": last_seq}
    return chat_document(**known, **fields)


def names(listener: Listener) -> list[str]:
    """Return the names of all that waits in a listener's queue."""
    found = []
    while (event := listener.get(0)) is not None:
        found.append(event.name if event.seq is None else f"{event.name} {event.seq}")
        if event.name == "end":
            break
    return found


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The ranges of messages that the hub has read."""
    ranges: list[tuple[int, int]] = []

    def between(chat_id: ObjectId, first: int, last: int) -> list[Message]:
        ranges.append((first, last))
        return [message_document(chatId=chat_id, seq=seq) for seq in range(first, last + 1)]

    monkeypatch.setattr(stored_messages, "between", between)
    return ranges


def test_a_change_is_its_messages_its_readings_and_the_chat(asked: list[tuple[int, int]]) -> None:
    hub, listener = Hub(), Listener()
    hub.join_chat(CHAT, listener)
    hub.newest_state(chat(1, 3))
    hub.publish_chat(chat(2, 5, readSeq={"user": 0, "admin": 4}))
    assert names(listener) == ["message 4", "message 5", "read", "chat"]
    assert asked == [(4, 5)]


def test_what_was_told_is_not_told_again(asked: list[tuple[int, int]]) -> None:
    hub, listener = Hub(), Listener()
    hub.join_chat(CHAT, listener)
    hub.newest_state(chat(5, 1))
    for version in (4, 5, 3):
        hub.publish_chat(chat(version, 1))
    assert names(listener) == []


def test_all_listeners_share_one_event(asked: list[tuple[int, int]]) -> None:
    hub, listeners = Hub(), [Listener(), Listener()]
    for listener in listeners:
        hub.join_chat(CHAT, listener)
    hub.newest_state(chat(1))
    hub.publish_chat(chat(2, 1))
    one, two = (listener.get(0) for listener in listeners)
    assert one is two is not None
    assert asked == [(1, 1)]


def test_a_chat_that_grew_a_lot_is_left_to_its_listeners(asked: list[tuple[int, int]]) -> None:
    hub, listener = Hub(), Listener()
    hub.join_chat(CHAT, listener)
    hub.newest_state(chat(1))
    hub.publish_chat(chat(2, MAX_BATCH + 1))
    assert names(listener) == ["chat"]
    assert asked == []


def test_a_read_that_lags_gives_way_to_what_was_told() -> None:
    hub, listener = Hub(), Listener()
    hub.join_chat(CHAT, listener)
    hub.publish_chat(chat(7))
    assert hub.newest_state(chat(5))["version"] == 7
    assert hub.newest_state(chat(9))["version"] == 9


def test_who_is_in_a_chat_and_in_the_inbox_hears_once(asked: list[tuple[int, int]]) -> None:
    hub, listener = Hub(), Listener()
    hub.join_chat(CHAT, listener)
    hub.join_inbox(None, listener)
    hub.newest_state(chat(1))
    hub.publish_chat(chat(2, 1))
    hub.publish_ephemeral(event_document(kind="typing", chatId=CHAT, userId=OWNER))
    assert names(listener) == ["message 1", "chat", "typing"]


def test_an_inbox_hears_of_its_own_chats_only() -> None:
    hub, own, other, agents = Hub(), Listener(), Listener(), Listener()
    hub.join_inbox(OWNER, own)
    hub.join_inbox(OTHER, other)
    hub.join_inbox(None, agents)
    hub.publish_chat(chat(1))
    hub.publish_ephemeral(event_document(kind="deleted", chatId=CHAT, userId=OWNER, seq=None))
    assert names(own) == names(agents) == ["chat", "deleted"]
    assert names(other) == []


def test_a_listener_that_is_too_slow_ends_and_the_others_do_not() -> None:
    hub, slow, quick = Hub(), Listener(), Listener()
    for listener in (slow, quick):
        hub.join_inbox(None, listener)
    for version in range(MAX_QUEUE_LENGTH + 10):
        hub.publish_chat(chat(version))
        assert quick.get(0) is not None
    end = slow.get(0)
    assert end is not None
    assert (end.name, end.data["code"]) == ("end", "too_slow")
    assert quick.end is None
    assert slow.backlog <= MAX_QUEUE_LENGTH + 1


def test_the_first_reason_to_end_is_the_one_that_is_told() -> None:
    listener = Listener()
    listener.enqueue(Event("chat", {}))
    listener.close("session_ended", 0)
    listener.close("restarting", 1)
    listener.enqueue(Event("chat", {}))
    assert names(listener) == ["end"]
    assert listener.end is not None
    assert listener.end.data["code"] == "session_ended"


def test_the_hub_is_idle_when_all_have_left() -> None:
    hub, listener = Hub(), Listener()
    hub.join_chat(CHAT, listener)
    hub.join_inbox(OWNER, listener)
    hub.join_inbox(None, listener)
    assert not hub.is_idle()
    hub.leave_chat(CHAT, listener)
    hub.leave_chat(CHAT, listener)
    hub.leave_inbox(OWNER, listener)
    hub.leave_inbox(None, listener)
    assert hub.is_idle()
    assert hub.listened_chats() == []


def test_an_interruption_sends_the_inboxes_away_and_no_chat() -> None:
    hub, inbox, inside = Hub(), Listener(), Listener()
    hub.join_inbox(None, inbox)
    hub.join_chat(CHAT, inside)
    hub.interrupt(1)
    assert inbox.end is not None
    assert inside.end is None


def test_what_this_process_writes_is_told_once(asked: list[tuple[int, int]]) -> None:
    """At once, with the message as it was written; the tail's news of it is nothing new."""
    hub, inside, inbox = Hub(), Listener(), Listener()
    hub.join_chat(CHAT, inside)
    hub.join_inbox(None, inbox)
    hub.newest_state(chat(1))
    with hub.writing(chat(1)):
        hub.publish_own_write(chat(2, 1), message_document(chatId=CHAT))
    assert names(inside) == ["message 1", "chat"]
    assert names(inbox) == ["chat"]
    assert asked == []
    assert not hub.publish_from_stream(chat(2, 1))
    assert names(inside) == names(inbox) == []


def test_a_message_is_read_where_others_stand_before_it(asked: list[tuple[int, int]]) -> None:
    hub, inside = Hub(), Listener()
    hub.join_chat(CHAT, inside)
    hub.newest_state(chat(1))
    hub.publish_own_write(chat(5, 3), message_document(chatId=CHAT, seq=3))
    assert asked == [(1, 3)]
    # After a restore an older version is news.
    hub._delivered[CHAT] = (hub._delivered[CHAT][0], -hub_module.DELIVERED_TTL)
    assert hub.publish_from_stream(chat(2, 1))


def test_what_the_tail_hears_before_the_writer_knows_is_left_to_the_writer() -> None:
    hub, inbox = Hub(), Listener()
    hub.join_inbox(None, inbox)
    after, later = chat(2), chat(3)
    with hub.writing(chat(1)):
        assert not hub.publish_from_stream(after)
        assert not inbox.has_more
        hub.publish_own_write(after)
    assert inbox.backlog == 1
    assert not hub.publish_from_stream(after)
    # Another process was first: its version is told, though not by its writer.
    with hub.writing(after):
        assert not hub.publish_from_stream(later)
    assert inbox.backlog == 2
    # And where nobody knows what became of the write.
    with contextlib.suppress(ConnectionError), hub.writing(later):
        hub.publish_from_stream(chat(4))
        raise ConnectionError
    assert inbox.backlog == 3
