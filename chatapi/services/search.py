"""Words to search by: what is stored with a document and what a query asks for.

A query's words match beginnings of words. The beginnings are stored, so that a search is
an equality on an index, which every MongoDB server answers without a scan. Case and
accents do not matter; scripts without spaces match from any character on.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

LONGEST_TERM = 16
MOST_TERMS = 400
NOTHING = "\0"  # no term is this
_WORD = re.compile(r"[^\W_]+")
# Han, Hiragana, Katakana, Hangul, Thai, Lao, Khmer, Myanmar: no spaces between words.
_UNSPACED = re.compile(r"[぀-ヿ㐀-䶿一-鿿가-힯฀-໿က-႟ក-៿]")


def words(text: str) -> list[str]:
    """Return a text's words, folded: no case, no accents."""
    folded = unicodedata.normalize("NFKD", text.casefold())
    plain = "".join(char for char in folded if not unicodedata.combining(char))
    return _WORD.findall(unicodedata.normalize("NFC", plain))


def terms(texts: Iterable[str | None]) -> list[str]:
    """Return every beginning of every word of these texts, each once."""
    found: dict[str, None] = {}
    for text in texts:
        for word in words(text or ""):
            starts = range(len(word)) if _UNSPACED.search(word) else (0,)
            for start in starts:
                tail = word[start : start + LONGEST_TERM]
                for end in range(1, len(tail) + 1):
                    found.setdefault(tail[:end])
            if len(found) >= MOST_TERMS:
                return list(found)[:MOST_TERMS]
    return list(found)


def query_terms(query: str | None) -> list[str]:
    """Return what must all be among a document's terms for it to match.

    A query of signs alone matches nothing; an empty one narrows nothing.
    """
    if not query or not query.strip():
        return []
    cut = (word[:LONGEST_TERM] for word in words(query))
    return list(dict.fromkeys(cut))[:10] or [NOTHING]
