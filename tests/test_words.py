"""The names of the code are the field's own: invented ones that were replaced do not come back.

Names are whole identifiers: in Python names, attributes, keyword arguments and strings that are one
name, such as a key of a document; in JavaScript identifiers and properties; classes of style sheets
and templates; options of commands.

Comments, docstrings and documents name the actor instead of a paraphrase such as "whoever".
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest
import tree_sitter_javascript
from tree_sitter import Language, Node, Parser

ROOT = Path(__file__).parent.parent
PYTHON = ("acceptance", "chatapi", "admin_ui", "chat_ui", "deploy", "bench", "tests")
FRONT_ENDS = ("admin_ui", "chat_ui", "chatapi/http/openapi", "tests/js", "tests/browser", "web")

# What each was replaced by.
REPLACED = {
    "bury": "redact",
    "Caretaker": "StreamReaper",
    "caretaker": "reaper",
    "end_the_stuck": "close_slow_consumers",
    "end_the_unauthorised": "close_revoked",
    "cut_the_stuck": "close_slow",
    "SignedIn": "SessionCache",
    "is_told": "is_fresh",
    "beginnings": "generation",
    "PlaceLost": "ResumeTokenLost",
    "NoChangeStreams": "ChangeStreamsUnsupported",
    "_look_again": "_resync",
    "_lose_place": "_reset_resume_token",
    "_hand_on": "_dispatch",
    "link_of": "socket_of",
    "Streamed": "DetachedResponse",
    "Streaming": "FeedStreamResponse",
    "_strike": "_record_violation",
    "_spend": "_consume_token",
    "_dismiss": "_close_with",
    "MOST_STRIKES": "MAX_VIOLATIONS",
    "_Told": "Subscription",
    "_tell_inside": "_deliver_subscribed",
    "_tell_outside": "_deliver_inbox",
    "Caps": "StreamLimits",
    "BELIEVED_FOR": "PRESENCE_TTL",
    "first_sent": "find_by_idempotency_key",
    "_made_before": "_find_created_by",
    "taking_in": "apply_message",
    "_open_with": "_reopen_with",
    "_clear_the_way": "_resolve_seq_conflict",
    "_can_take": "_can_commit",
    "seen_in": "present_message",
    "_readings": "_read_receipts_between",
    "_news": "_messages_between",
    "_decide": "_resolve_changes",
    "_all_of": "_update_fields",
    "_refusing_a_second": "_translate_duplicate",
    "append_all": "bulk_append",
    "upkeep": "maintenance",
    "in_parts": "chunked",
    "naming_duplicates": "translate_duplicate_key",
    "refuses": "errors",
    "Whole": "StrictInteger",
    "AsItIs": "RawNested",
    "Contract": "EndpointSpec",
    "_ending_in_order": "_graceful_signals",
    "failing_by_name": "cli_errors",
    "change_not_told": "change_delivery_failed",
    "password_link_made": "password_link_created",
    "request_refused": "request_rejected",
    "sweep_interrupted": "purge_interrupted",
    "tail_place_lost": "resume_token_lost",
    "tail_polls": "change_streams_unsupported",
    "Remembered": "CachedTotal",
    "Following": "ChangeTracker",
    "did_not_write": "cancel_write",
    "awaits_own": "awaits_own_write",
    "MarkedCollection": "UtcCollection",
    "MarkedCursor": "UtcCursor",
    "FEW_FOUND": "MAX_SORTED",
    "WALKED_BATCH": "SCAN_BATCH",
    "_walked": "_scan_matches",
    "_next_sweeps": "_next_purges",
    "chats_named": "message_chat_ids",
    "delete_lost_terms": "delete_orphaned_terms",
    "people_called": "users_with_prefix",
    "_goes_on": "_should_continue",
    "goes_on": "keep_reading",
    "REPORTED_REST": "WOKEN_PAUSE",
    "tail_rest_seconds": "tail_pause_seconds",
    "on_arrival": "on_agent_connect",
    "CATCH_UP_PAGE": "BACKFILL_PAGE",
    "_inbox_opening": "_inbox_snapshot",
    "is_heard": "has_listeners",
    "_client_left": "_on_disconnect",
    "shake_hands": "accept_handshake",
    "asks_for_upgrade": "is_upgrade_request",
    "_may_go_on": "_take_token",
    "GOODBYE_STUCK_SECONDS": "SHUTDOWN_SLOW_SECONDS",
    "lookers": "viewers",
    "Swarm": "ClientPool",
    "do_brace": "do_prepare_reconnect",
    "do_storm": "do_reconnect_storm",
    "do_hush": "do_pause_senders",
    "RETRY_KEY": "IDEMPOTENCY_KEY",
    "strays": "orphaned_messages",
    "_told_of_many": "render_bulk_result",
    "unassign_chats_of": "unassign_all",
    "_show_on_chats": "_update_chats_of",
    "_known_pages": "_cached_pages",
    "ears": "listeners",
    "goLive": "connect",
    "UNSAID": "STATUS_DELAY",
    "UNASKED": "RETRY_AFTER_LOGOUT",
    "IN_VAIN": "FAILURES_BEFORE_POLLING",
    "nudge": "scheduleRefresh",
    "burying": "pendingRedactions",
    "also": "chatChanges",
    "sendKey": "idempotencyKey",
    "createKey": "idempotencyKey",
    "send_key": "idempotency_key",
    "create_key": "idempotency_key",
    "hasty": "retryFast",
    "HASTE": "FAST_TIMEOUT",
    "underTheHand": "isPointerOverList",
    "heir": "nextFocus",
    "_care": "tick",
    "suspect": "mark_for_recheck",
    "doubtful": "to_recheck",
    "knows": "is_cached",
    "_heard_at": "_last_event_at",
    "patience": "client_timeouts",
    "impatient": "fast_timeouts",
    "_missed": "_has_gap",
    "Line": "Connection",
    "Gone": "ConnectionClosed",
    "Register": "FeedRegistry",
    "opens": "reopen",
    "_set_fields": "_changed_fields",
    "Said": "ImportedMessage",
    "forgive": "reset",
    "_aside": "run_in_threadpool",
    "without_doubles": "reject_duplicate_keys",
    "_once_each": "reject_duplicate_keys",
    "Flag": "StrictBoolean",
    "Built": "CachedBody",
    "_alone": "single_instance",
    "leash": "die_with_parent",
    "TOGETHER": "GROUPING_PERIOD",
    "hush": "pause_senders",
    "doors": "connect_semaphore",
    "lost_terms": "orphaned_terms",
}
# Stored names that only the migration which replaced them, and its tests, may know.
MIGRATED = {"burying", "also", "sendKey", "createKey"}
MIGRATION = {"0001_rename_stored_fields.py", "test_migrations.py", "make.py"}
# Words that avoid naming the actor, with what to name instead.
PARAPHRASES = {
    "whoever": "the user, caller or process",
    "whatever": "each value, any value",
    "nobody": "no user, no agent",
    "somebody": "a user, an agent",
    "anybody": "any user",
    "everybody": "all users, all clients",
    "anew": "again",
    "told": "sent, notified, published",
    "tells of": "reports",
    "hears of": "receives",
    "heard of": "received",
}
PARAPHRASED = re.compile(rf"\b({'|'.join(PARAPHRASES)})\b", re.IGNORECASE)
# Tests are exempt; the others are read.
COMMENTED = ("acceptance", "chatapi", "admin_ui", "chat_ui", "deploy", "bench")
CODE_IN_DOCUMENT = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
# A constant that bounds something begins with MAX or MIN.
OPTION = re.compile(r"--[a-z][a-z-]*")  # of a command
BOUND = re.compile(r"_?(MOST|LONGEST|BIGGEST|LARGEST|DEEPEST|SHORTEST|MINIMUM|MAXIMUM)(_[A-Z_]+)?")
MENTIONED = re.compile(rf"(?<!\w)(?:{BOUND.pattern}|{'|'.join(map(re.escape, REPLACED))})(?!\w)")
CLASSES_IN_CSS = re.compile(r"\.(-?[a-z][\w-]*)(?=[^{}]*\{)", re.IGNORECASE)
CLASSES_IN_HTML = re.compile(r'class="([^"]*)"')
NAMES_IN_JAVASCRIPT = {
    *("identifier", "property_identifier", "private_property_identifier"),
    *("shorthand_property_identifier", "shorthand_property_identifier_pattern"),
}


def names_in_python(source: str) -> Iterator[str]:
    """Yield every identifier, keyword argument, and string that is one name."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
                yield name
            case ast.keyword(arg=str(name)) | ast.alias(name=name):
                yield from name.split(".")
            case (
                ast.FunctionDef(name=name)
                | ast.AsyncFunctionDef(name=name)
                | ast.ClassDef(name=name)
            ):
                yield name
            case ast.Constant(value=str(text)) if text.isidentifier():
                yield text
            case ast.Constant(value=str(text)) if OPTION.fullmatch(text):
                yield text.lstrip("-").replace("-", "_")
            case _:
                pass


def names_in_javascript(source: str) -> Iterator[str]:
    """Yield every identifier and property."""
    waiting: list[Node] = [
        Parser(Language(tree_sitter_javascript.language())).parse(source.encode()).root_node
    ]
    while waiting:
        node = waiting.pop()
        if node.type in NAMES_IN_JAVASCRIPT and node.text is not None:
            yield node.text.decode().lstrip("#")
        waiting += node.children


def names_in_styles(source: str) -> Iterator[str]:
    yield from CLASSES_IN_CSS.findall(source)


def names_in_template(source: str) -> Iterator[str]:
    for found in CLASSES_IN_HTML.findall(source):
        yield from re.findall(r"[A-Za-z][\w-]*", found)


READERS = {
    ".py": names_in_python,
    ".js": names_in_javascript,
    ".css": names_in_styles,
    ".html": names_in_template,
}


def files() -> Iterator[Path]:
    """Yield every file of the project whose names are read."""
    yield from ROOT.glob("*.py")
    for folder in PYTHON:
        yield from (ROOT / folder).rglob("*.py")
    for folder in FRONT_ENDS:
        for suffix in (".js", ".css", ".html"):
            yield from (ROOT / folder).rglob(f"*{suffix}")


def refused(path: Path, source: str) -> list[str]:
    """Return a sentence for each name of a file that was replaced."""
    if not MENTIONED.search(source):
        return []  # Parsing takes much longer than this search.
    found = set(READERS[path.suffix](source))
    if path.name in MIGRATION:
        found -= MIGRATED
    sentences = [
        f"{path.name}: {name} is called {REPLACED[name]}." for name in found & set(REPLACED)
    ]
    return sentences + [
        f"{path.name}: {name}: a bound begins with MAX or MIN."
        for name in found
        if BOUND.fullmatch(name)
    ]


def prose_in_python(source: str) -> Iterator[str]:
    """Yield every comment and every docstring, if the file has a paraphrase at all."""
    if not PARAPHRASED.search(source):
        return
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT or token.string.startswith('"""'):
            yield token.string


def prose_in_script(source: str) -> Iterator[str]:
    """Yield every comment of a script or a style sheet."""
    for found in re.finditer(r"/\*.*?\*/|(?<![:\"'])//[^\n]*", source, re.DOTALL):
        yield found[0]


def prose_in_document(path: Path) -> Iterator[str]:
    """Yield the text of a document, of the changelog only what is not released yet.

    Blocks of code are no prose.
    """
    text = CODE_IN_DOCUMENT.sub("", path.read_text(encoding="utf-8"))
    yield "\n## ".join(text.split("\n## ")[:2]) if path.name == "CHANGELOG.md" else text


def paraphrases(name: str, texts: Iterator[str]) -> list[str]:
    """Return a sentence for each paraphrase in some texts."""
    return [
        f"{name}: {found[0]!r} in {text[max(0, found.start() - 40) : found.end() + 20]!r}: "
        f"name {PARAPHRASES[found[0].lower()]}."
        for text in texts
        for found in PARAPHRASED.finditer(text)
    ]


def test_comments_and_docstrings_name_the_actor() -> None:
    paths = [ROOT / "config.py"]
    paths += [path for folder in COMMENTED for path in (ROOT / folder).rglob("*.py")]
    assert len(paths) > 150
    found: list[str] = []
    for path in paths:
        found += paraphrases(path.name, prose_in_python(path.read_text(encoding="utf-8")))
    scripts = [
        path
        for path in files()
        if path.suffix in {".js", ".css"} and not path.is_relative_to(ROOT / "tests")
    ]
    assert len(scripts) > 60
    for path in scripts:
        if "vendor" not in path.parts:
            found += paraphrases(path.name, prose_in_script(path.read_text(encoding="utf-8")))
    assert found == []


def test_documents_name_the_actor() -> None:
    paths = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "bench").glob("*.md")]
    assert len(paths) > 10
    found: list[str] = []
    for path in paths:
        found += paraphrases(path.name, prose_in_document(path))
    assert found == []


@pytest.mark.parametrize(
    "source", ["# Whoever asks.", '"""Close what nobody reads."""', "x = 1  # read anew"]
)
def test_a_paraphrase_is_found(source: str) -> None:
    assert paraphrases("a.py", prose_in_python(source))


@pytest.mark.parametrize("source", ["// Whoever asks.", "/* Read\n * anew. */", "a(); // told"])
def test_a_paraphrase_in_a_script_is_found(source: str) -> None:
    assert paraphrases("a.js", prose_in_script(source))


def test_a_paraphrase_in_code_is_free() -> None:
    assert paraphrases("a.py", prose_in_python("nobody = told('whoever')")) == []


def test_replaced_names_are_not_used() -> None:
    own = Path(__file__)
    looked = [path for path in files() if path != own and "vendor" not in path.parts]
    assert len(looked) > 300
    found = [each for path in looked for each in refused(path, path.read_text(encoding="utf-8"))]
    assert found == []


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("a.py", "def nudge(): pass"),
        ("a.py", "send(refuses=[])"),
        ("a.py", "change = {'upkeep': 1}"),
        ("a.py", "from chatapi.store import upkeep"),
        ("a.py", "MOST_ROWS = 5"),
        ("a.py", "LONGEST = 5"),
        ("a.py", "async def nudge(): pass"),
        ("a.py", "click.option('--upkeep')"),
        ("a.py", "chat.get('burying', ())"),
        ("a.py", "message = {'sendKey': key}"),
        ("0001_rename_stored_fields.py", "_send_key = 1; nudge = 2"),
        ("a.js", "const a = { hasty: 1 };"),
        ("a.js", "class A { #ears = []; }"),
        ("a.css", ".bury { color: red }"),
        ("a.html", '<a class="icon bury">'),
    ],
)
def test_a_replaced_name_is_found(name: str, source: str) -> None:
    assert refused(Path(name), source)


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("a.py", '"""They bury nothing: upkeep is a word of a sentence."""'),
        ("a.py", "Line_item = 1"),
        ("0001_rename_stored_fields.py", "chat.get('burying', ())"),
        ("a.js", "// nudge\nconst text = 'to nudge somebody';"),
        ("a.css", ".burying-ground { color: red }"),
    ],
)
def test_words_of_sentences_and_parts_of_names_are_free(name: str, source: str) -> None:
    assert refused(Path(name), source) == []
