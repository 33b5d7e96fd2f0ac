"""The WebSocket: what it says, whom it lets in, and what it does with bad manners."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from pymongo.database import Database
from wsproto.events import BytesMessage, CloseConnection, Message, Ping, Pong, TextMessage

from chatapi.store.database import Document
from tests.live.clients import Client, register, register_agent
from tests.servers import AppServer, DatabaseServer, start_app
from tests.streams import EventStream, Refused, WebSocket

ORIGIN = "https://shop.example"


def test_a_client_subscribes_sends_reads_and_types(
    live_server: AppServer, other_server: AppServer
) -> None:
    user, agent = register(live_server), register_agent(other_server)
    chat_id = user.open_chat()
    with (
        WebSocket(live_server.url, user.token) as here,
        WebSocket(other_server.url, agent.token) as there,
    ):
        for link in (here, there):
            assert link.ask("a", type="subscribe", chatId=chat_id, after=0).name == "ok"
            assert link.next().name == "chat"
        sent = here.ask("b", type="send", chatId=chat_id, content="Hello", clientMessageId="x")
        assert (sent.name, sent.data["seq"], sent.data["content"]) == ("ok", 1, "Hello")
        again = here.ask("c", type="send", chatId=chat_id, content="Hello", clientMessageId="x")
        assert again.data["_id"] == sent.data["_id"]
        got = there.until("message").data
        assert got == sent.data == user.call("GET", f"/api/chat/{chat_id}/messages")[2][0]
        assert there.ask("d", type="read", chatId=chat_id, seq=1).name == "ok"
        assert here.until("read").data["readerRole"] == "admin"
        assert there.ask("e", type="typing", chatId=chat_id).name == "ok"
        assert here.until("typing").data["senderId"] == agent.id
        assert there.ask("f", type="unsubscribe", chatId=chat_id).name == "ok"
        user.send(chat_id, "Two")
        here.until("message", lambda data: data["seq"] == 2)
        there.silent_for(0.3)
        assert there.ask("g", type="subscribe", chatId=chat_id, after=1).name == "ok"
        assert there.until("message").data["seq"] == 2
        assert there.ask("h", type="subscribe", chatId=None).data == {"chatId": None}
        user.send(chat_id, "Three")
        there.until("message", lambda data: data["seq"] == 3)
        assert there.seqs() == [1, 2, 3]


def test_a_catch_up_among_live_messages_is_in_order_and_complete(live_server: AppServer) -> None:
    user, agent = register(live_server), register_agent(live_server)
    chat_id = user.open_chat()
    for number in range(30):
        user.send(chat_id, f"Before {number}")

    def send() -> None:
        for number in range(40):
            user.send(chat_id, f"Meanwhile {number}")

    with ThreadPoolExecutor(1) as pool, WebSocket(live_server.url, agent.token) as link:
        sending = pool.submit(send)
        # Again and again from the first: each answer is followed by the history in order.
        starts = []
        for number in range(6):
            starts.append(link.ask(str(number), type="subscribe", chatId=chat_id, after=0).at)
            time.sleep(0.05)
        sending.result()
        link.until("message", lambda data: data["seq"] == 70)
        last = [
            each.data["seq"]
            for each in link.events
            if each.name == "message" and each.at > starts[-1]
        ]
        position = max(index for index, seq in enumerate(link.seqs()) if seq == 1)
        assert link.seqs()[position:] == list(range(1, 71))
        assert last[-1] == 70


# Who is let in


def test_a_browser_sends_its_token_as_a_subprotocol(live_server: AppServer) -> None:
    user = register(live_server)
    offered = ["chat.v1", f"bearer.{user.token}"]
    with WebSocket(live_server.url, protocols=offered) as link:
        assert link.subprotocol == "chat.v1"
        assert link.ask("1", type="subscribe", chatId=None).name == "ok"


def test_a_cookie_opens_a_socket_for_a_page_of_this_origin_only(live_server: AppServer) -> None:
    cookie = {"Cookie": f"chat_session={register(live_server).token}"}
    own = cookie | {"Origin": live_server.url}
    with WebSocket(live_server.url, headers=own) as link:
        assert link.ask("1", type="subscribe", chatId=None).name == "ok"
    for origin in (ORIGIN, "null", "http://127.0.0.1:1"):
        with pytest.raises(Refused) as refused:
            WebSocket(live_server.url, headers=cookie | {"Origin": origin})
        assert (refused.value.status, refused.value.body["code"]) == (403, "forbidden")


def test_a_strange_page_is_refused_with_a_token_too(live_server: AppServer) -> None:
    token = register(live_server).token
    with pytest.raises(Refused) as refused:
        WebSocket(live_server.url, token, headers={"Origin": ORIGIN})
    assert refused.value.status == 403


@pytest.mark.parametrize(
    ("token", "code"), [(None, "not_signed_in"), ("nonsense", "session_expired")]
)
def test_nobody_shakes_hands_without_a_session(
    live_server: AppServer, token: str | None, code: str
) -> None:
    with pytest.raises(Refused) as refused:
        WebSocket(live_server.url, token)
    assert (refused.value.status, refused.value.body["code"]) == (401, code)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Upgrade": "websocket", "Connection": "Upgrade"},
        {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "8"},
        {"Upgrade": "h2c", "Connection": "Upgrade"},
    ],
)
def test_a_request_that_is_no_handshake_is_told_so(
    live_server: AppServer, headers: dict[str, str]
) -> None:
    with pytest.raises(Refused) as refused:
        EventStream(live_server.url, "/api/ws", register(live_server).token, headers=headers)
    assert (refused.value.status, refused.value.body["code"]) == (426, "upgrade_required")


@pytest.mark.parametrize(
    ("method", "version", "status"),
    [("GET", "1.1", 101), ("HEAD", "1.1", 426), ("GET", "1.0", 426), ("HEAD", "1.0", 426)],
)
def test_only_a_get_of_http_1_1_is_upgraded(
    live_server: AppServer, method: str, version: str, status: int
) -> None:
    token = register(live_server).token
    rows = [
        f"{method} /api/ws HTTP/{version}",
        f"Host: 127.0.0.1:{live_server.port}",
        f"Authorization: Bearer {token}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ]
    with socket.create_connection(("127.0.0.1", live_server.port), timeout=5) as link:
        link.sendall("\r\n".join([*rows, "", ""]).encode())
        with link.makefile("rb") as answer:
            assert int(answer.readline().split()[1]) == status


def test_a_strange_chat_is_a_problem_and_the_socket_goes_on(live_server: AppServer) -> None:
    user, stranger = register(live_server), register(live_server)
    chat_id = user.open_chat()
    with WebSocket(live_server.url, stranger.token) as link:
        frames: list[dict[str, Any]] = [
            {"type": "subscribe"},
            {"type": "unsubscribe"},
            {"type": "typing"},
            {"type": "read", "seq": 0},
            {"type": "send", "content": "Hello"},
        ]
        for number, frame in enumerate(frames):
            answer = link.ask(str(number), chatId=chat_id, **frame)
            assert (answer.name, answer.data["code"]) == ("problem", "not_your_chat")
            assert answer.data["status"] == 403
        assert link.ask("gone", type="subscribe", chatId="0" * 24).data["status"] == 404
        user.send(chat_id, "A secret")
        link.silent_for(0.4)
        assert link.ask("own", type="subscribe", chatId=None).name == "ok"


def test_a_frame_is_checked_as_a_request_is(live_server: AppServer) -> None:
    user, boss = register(live_server), register_agent(live_server)
    chat_id = user.open_chat()
    with WebSocket(live_server.url, user.token) as link:
        boss.call("PATCH", f"/api/admin/users/{user.id}", {"name": "Renamed"})
        sent = link.ask("1", type="send", chatId=chat_id, content="Hello")
        assert sent.data["senderName"] == "Renamed"
        user.call("POST", "/api/auth/logout")
        late = link.ask("2", type="send", chatId=chat_id, content="Too late")
        assert (late.name, late.data["code"]) == ("problem", "session_expired")
        assert link.to_the_end(2).data["code"] == "session_ended"
        assert link.close_code == 4401
    assert len(boss.call("GET", f"/api/chat/{chat_id}/messages")[2]) == 1


# Bad manners


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", "bad_json"),
        ("[]", "bad_json"),
        ('"subscribe"', "bad_json"),
        ('{"type": NaN}', "bad_json"),
        ('{"type": "subscribe", "chatId": null, "ref": 1e400}', "bad_json"),
        ('{"type": "subscribe", "chatId": null, "ref": {"a": [-1E+999]}}', "bad_json"),
        ("[" * 20_000, "bad_json"),
        ('{"type": "subscribe", "chatId": null, "chatId": null}', "bad_json"),
        ('{"type": "subscribe", "chatId": null, "ref": {"a": 1, "a": 2}}', "bad_json"),
        ("{}", "validation_failed"),
        ('{"type": "shout"}', "validation_failed"),
        ('{"type": ["send"]}', "validation_failed"),
        ('{"type": "_answer"}', "validation_failed"),
        ('{"type": "send", "chatId": "x"}', "validation_failed"),
        ('{"type": "send", "chatId": {"$gt": ""}, "content": "x"}', "validation_failed"),
        ('{"type": "subscribe", "chatId": "x", "after": -1}', "validation_failed"),
        ('{"type": "subscribe", "chatId": "x", "other": 1}', "validation_failed"),
    ],
)
def test_a_wrong_frame_is_a_problem_and_no_more(
    live_server: AppServer, text: str, code: str
) -> None:
    with WebSocket(live_server.url, register(live_server).token) as link:
        link.write(TextMessage(data=text))
        answer = link.next()
        assert (answer.name, answer.data["code"]) == ("problem", code)
        assert link.ask("1", type="subscribe", chatId=None).name == "ok"


@pytest.mark.parametrize("ref", [1, None, "é🙂", {"deep": [1, {}]}, "\ud800"])
def test_a_ref_comes_back_as_it_was(live_server: AppServer, ref: Any) -> None:
    with WebSocket(live_server.url, register(live_server).token) as link:
        link.write(TextMessage(data=json.dumps({"type": "subscribe", "chatId": None, "ref": ref})))
        answer = link.next()
        assert (answer.name, answer.ref) == ("ok", ref)


def _too_long(link: WebSocket) -> None:
    link.write(TextMessage(data="x" * (64 * 1024 + 1)))


def _too_long_in_parts(link: WebSocket) -> None:
    for _ in range(5):
        link.write(Message(data="x" * 16_000, message_finished=False))


def _binary(link: WebSocket) -> None:
    link.write(BytesMessage(data=b"\x00\x01"))


def _many_small_parts(link: WebSocket) -> None:
    for _ in range(200):
        link.write(TextMessage(data="x", message_finished=False))


def _flood(link: WebSocket) -> None:
    for number in range(200):
        link.say(type="subscribe", chatId="x", ref=number)


def _ping_flood(link: WebSocket) -> None:
    for _ in range(200):
        link.write(Ping())


def _pong_flood(link: WebSocket) -> None:
    link.socket.sendall(link.protocol.send(Pong()) * 1_000_000)


def _half_characters(link: WebSocket) -> None:
    head = struct.pack("!BBHI", 0x01, 0xFE, 4000, 0)
    link.socket.sendall(head)
    for byte in "🙂".encode() * 100:
        link.socket.sendall(bytes([byte]))
        time.sleep(0.001)  # each in a packet of its own


def _no_frame_at_all(link: WebSocket) -> None:
    link.socket.sendall(b"GET / HTTP/1.1\r\n\r\n" * 10)


def _not_utf8(link: WebSocket) -> None:
    link.socket.sendall(struct.pack("!BBI", 0x81, 0x82, 0) + b"\xff\xff")


@pytest.mark.parametrize(
    ("misbehave", "code"),
    [
        (_too_long, 1009),
        (_too_long_in_parts, 1009),
        (_binary, 1003),
        (_many_small_parts, 1008),
        (_flood, 1008),
        (_ping_flood, 1008),
        (_pong_flood, 1008),
        (_half_characters, 1008),
        (_no_frame_at_all, 1002),
        (_not_utf8, 1007),
    ],
)
def test_bad_manners_end_the_socket_and_harm_nobody_else(
    live_server: AppServer, misbehave: Any, code: int
) -> None:
    user, other = register(live_server), register(live_server)
    chat_id = other.open_chat()
    with WebSocket(live_server.url, other.token) as witness:
        witness.ask("1", type="subscribe", chatId=chat_id)
        with WebSocket(live_server.url, user.token) as link:
            with contextlib.suppress(ConnectionError):  # The server need not read it all.
                misbehave(link)
            while not link.is_gone:
                assert link.read(10), "not cut off in 10 s"
            assert link.close_code == code
        assert witness.ask("2", type="send", chatId=chat_id, content="Still here").name == "ok"
        while not witness.seqs():
            assert witness.read(5)


@pytest.mark.parametrize("depth", [21, 900, 951])
def test_a_ref_that_is_nested_too_deeply_is_refused_and_changes_nothing(
    live_server: AppServer, depth: int
) -> None:
    with WebSocket(live_server.url, register(live_server).token) as link:
        nested = "[" * depth + "]" * depth
        link.write(TextMessage(data=f'{{"type":"subscribe","chatId":null,"ref":{nested}}}'))
        refused = link.next()
        assert (refused.data["code"], [*refused.data["fields"]]) == ("validation_failed", ["ref"])
        deepest: object = [[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]
        assert link.ask(deepest, type="unsubscribe", chatId="0" * 24).name == "problem"


def test_a_closing_handshake_is_answered(live_server: AppServer) -> None:
    with WebSocket(live_server.url, register(live_server).token) as link:
        link.write(CloseConnection(code=1000))
        while not link.is_gone:
            assert link.read(5)
        assert link.close_code == 1000


def test_a_ping_is_answered(live_server: AppServer) -> None:
    got: list[bytes] = []
    with WebSocket(live_server.url, register(live_server).token) as link:
        take = link._take
        link._take = lambda event: (  # type: ignore[method-assign]
            got.append(bytes(event.payload)) if isinstance(event, Pong) else take(event)
        )
        link.write(Ping(payload=b"there?"))
        while not got:
            assert link.read(5)
    assert got == [b"there?"]


def test_those_who_flood_with_pongs_keep_nobody_waiting(live_server: AppServer) -> None:
    user, other = register(live_server), register(live_server)
    chat_id = other.open_chat()
    with (
        contextlib.ExitStack() as crowd,
        WebSocket(live_server.url, other.token) as witness,
        ThreadPoolExecutor(20) as pool,
    ):
        links = [crowd.enter_context(WebSocket(live_server.url, user.token)) for _ in range(20)]
        witness.ask("1", type="subscribe", chatId=chat_id)
        floods = [pool.submit(_pong_flood, link) for link in links]
        waited = []
        for number in range(10):
            asked_at = time.monotonic()
            assert witness.ask(f"read {number}", type="read", chatId=chat_id, seq=0).name == "ok"
            waited.append(time.monotonic() - asked_at)
        for flood in floods:
            with contextlib.suppress(ConnectionError):
                flood.result(10)
        for link in links:
            while not link.is_gone:
                assert link.read(10), "not cut off in 10 s"
            assert link.close_code == 1008
        assert max(waited) < 1


@pytest.fixture(scope="module")
def _limited_server(
    database_server: DatabaseServer, _prepared_database: Database[Document]
) -> Iterator[AppServer]:
    settings = {"LIMIT_DEFAULT": "20 per minute", "LIMIT_SEND": "5 per minute"}
    with start_app(database_server.uri, env=settings) as server:
        yield server


@pytest.fixture
def limited_server(_limited_server: AppServer, live_database: Database[Document]) -> AppServer:
    """A server on which an account may ask 20 times and send 5 messages a minute."""
    return _limited_server


def test_the_frames_of_all_sockets_count_against_the_account(limited_server: AppServer) -> None:
    user = register(limited_server)
    chat_id = user.open_chat()
    with contextlib.ExitStack() as crowd:
        links = [crowd.enter_context(WebSocket(limited_server.url, user.token)) for _ in range(5)]
        answers = [
            link.ask(f"{number}", type="typing", chatId=chat_id)
            for number in range(6)
            for link in links
        ]
        # What opened the chat and the sockets counts, too.
        names = [answer.name for answer in answers]
        assert names == ["ok"] * 14 + ["problem"] * 16
        assert answers[-1].data["code"] == "too_many_requests"
        assert 0 < answers[-1].data["retryAfter"] <= 60
        assert user.call("GET", f"/api/chat/{chat_id}")[0] == 429
        # Messages have a limit of their own.
        for number in range(6):
            sent = links[0].ask(f"send {number}", type="send", chatId=chat_id, content="Hello")
            assert sent.name == ("ok" if number < 5 else "problem")
    assert register(limited_server).call("GET", "/api/auth/me")[0] == 200


def test_who_goes_on_beyond_the_limit_is_cut_off(limited_server: AppServer) -> None:
    user = register(limited_server)
    with WebSocket(limited_server.url, user.token) as link:
        for number in range(29):
            link.say(type="read", chatId="x", seq=0, ref=number)
        while not link.is_gone:
            assert link.read(5), "not cut off"
        assert link.close_code == 1008


def test_a_repeated_typing_is_told_once_in_two_seconds(live_server: AppServer) -> None:
    user, agent = register(live_server), register_agent(live_server)
    chat_id = user.open_chat()
    with contextlib.ExitStack() as crowd:
        links = [crowd.enter_context(WebSocket(live_server.url, user.token)) for _ in range(5)]
        listener = crowd.enter_context(WebSocket(live_server.url, agent.token))
        listener.ask("1", type="subscribe", chatId=chat_id)
        began_at = time.monotonic()
        for number in range(4):
            for link in links:
                # However the id is written, it is one chat.
                spelled = chat_id.upper() if number % 2 else chat_id
                answer = link.ask(f"{number}", type="typing", chatId=spelled)
                assert answer.name == "ok"
        listener.until("typing")
        assert time.monotonic() - began_at < 1.5
        listener.silent_for(0.3, "typing")
        # Others type for themselves.
        links[0].ask("join", type="subscribe", chatId=chat_id)
        assert listener.ask("2", type="typing", chatId=chat_id).name == "ok"
        links[0].until("typing")
        time.sleep(2.1 - (time.monotonic() - began_at))
        assert links[1].ask("later", type="typing", chatId=chat_id).name == "ok"
        listener.until("typing")
        # What would be refused is refused also right after.
        assert agent.patch(chat_id, status="closed")[0] == 200
        time.sleep(2.1)
        for number in range(2):
            late = links[2].ask(f"late {number}", type="typing", chatId=chat_id)
            assert late.data["code"] == "chat_closed"


def test_a_socket_follows_so_many_chats(live_server: AppServer) -> None:
    agent = register_agent(live_server)
    chats = [register(live_server).open_chat() for _ in range(51)]
    with WebSocket(live_server.url, agent.token) as link:
        for number, chat_id in enumerate(chats):
            answer = link.ask(str(number), type="subscribe", chatId=chat_id)
            assert answer.name == ("ok" if number < 50 else "problem")
        assert answer.data["code"] == "too_many_requests"
        # One of them may begin anew, and give its place to another.
        assert link.ask("again", type="subscribe", chatId=chats[0], after=0).name == "ok"
        assert link.ask("leave", type="unsubscribe", chatId=chats[0]).name == "ok"
        assert link.ask("other", type="subscribe", chatId=chats[50]).name == "ok"
        assert link.ask("full", type="subscribe", chatId=chats[0]).name == "problem"


def test_the_sockets_count_with_the_other_streams(live_server: AppServer) -> None:
    user = register(live_server)
    links = [WebSocket(live_server.url, user.token) for _ in range(30)]
    try:
        with pytest.raises(Refused) as refused:
            WebSocket(live_server.url, user.token)
        assert refused.value.status == 429
    finally:
        for each in links:
            each.drop()


def test_a_client_that_is_gone_leaves_nothing(live_server: AppServer) -> None:
    agent = register_agent(live_server)

    def streams() -> int:
        return int(Client.call(agent, "GET", "/api/admin/realtime")[2]["streams"])

    before = streams()
    links = [WebSocket(live_server.url, register(live_server).token) for _ in range(10)]
    assert streams() == before + 10
    for each in links:
        each.drop()
    end = time.monotonic() + 5
    while streams() > before:
        assert time.monotonic() < end
        time.sleep(0.1)
