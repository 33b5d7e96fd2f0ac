"""The detection of links in texts.

`chat_ui/static/links.js` has the same rule for the users' chat; tests/data/links.json holds
both to it. Only http and https addresses become links, and those that begin with "www.". An
address with a user name before the host is none: it shows one site and opens another.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

# An address ends at white space, a quotation mark or angle bracket, and at invisible characters.
_LINK = re.compile(
    r"(?:https?://|www\.)"
    r"[^\s<>\"'`\\\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\u201c\u201d\u2018\u2019\u00ab\u00bb"
    r"\u300c-\u300f\u3010\u3011\uff08\uff09\u3001\u3002\uff01\uff0c\uff1a\uff1b\uff1f]+\\?",
    re.IGNORECASE,
)
_SCHEME = re.compile(r"https?://", re.IGNORECASE)
_AUTHORITY = re.compile(r"(?:\[[0-9a-f:.]+\]|[^\[\]:@\\]+)(?::[0-9]{1,5})?", re.IGNORECASE)
_TRAILING = ".,;:!?*_~"
_BRACKETS = {")": "(", "]": "[", "}": "{"}
# "www." inside a word or another URL is no link.
_INSIDE = re.compile(r"[0-9A-Za-z._@/-]")


def split(text: str) -> Iterator[tuple[str, str | None]]:
    """Yield the parts of a text, each with its link's URL, or None."""
    end = 0
    for match in _LINK.finditer(text):
        shown = _without_trailing(match[0])
        address = _address(shown, before=text[match.start() - 1 : match.start()])
        if address is None:
            continue
        if match.start() > end:
            yield text[end : match.start()], None
        yield shown, address
        end = match.start() + len(shown)
    if end < len(text):
        yield text[end:], None


def _address(shown: str, before: str) -> str | None:
    scheme = _SCHEME.match(shown)
    rest = shown[scheme.end() :] if scheme else shown
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if not _AUTHORITY.fullmatch(authority):
        return None
    if scheme:
        return shown
    if _INSIDE.fullmatch(before) or authority.count(".") < 2:
        return None
    return f"https://{shown}"


def _without_trailing(text: str) -> str:
    """Exclude punctuation that ends the sentence, such as a closing bracket and full stop."""
    while text:
        shorter = text.rstrip(_TRAILING)
        opening = _BRACKETS.get(shorter[-1:])
        if opening and shorter.count(shorter[-1]) > shorter.count(opening):
            shorter = shorter[:-1]
        if shorter == text:
            break
        text = shorter
    return text
