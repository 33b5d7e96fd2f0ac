"""Search terms: those stored with a document and those of a query.

A query's words match prefixes of words. The prefixes are stored, so that a search is an equality on
an index. Case and accents are ignored; scripts without spaces match from any character on.

Increase FORM with every change of what `terms` returns: `init-db` then recomputes the stored terms.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterable

from chatapi.domain.spelling import ZWNJ, is_invisible

FORM = 2
MAX_TERM = 16
MAX_TERMS = 400
NO_TERM = "\0"  # no term is this
# Han, Hiragana, Katakana, Hangul, Thai, Lao, Khmer, Myanmar: no spaces between words.
_UNSPACED = re.compile(r"[぀-ヿ㐀-䶿一-鿿가-힯฀-໿က-႟ក-៿\U00020000-\U000323af]")
# Marks of these combining classes make another word: voiced kana, the virama, vowels and tones
# of Telugu, Thai, Lao and Tibetan. Those of class 0 are mostly the vowel signs of Indic scripts.
_SPELLING_MARKS = frozenset({0, 8, 9, 84, 91, 103, 107, 118, 122, 129, 130, 132})
_VIRAMA = 9
_ZERO_WIDTH_SPACE = "\u200b"
_TATWEEL = "\u0640"
# Letters that Unicode neither decomposes nor calls a letter "with" something.
_OTHER_LETTERS = {"æ": "ae", "œ": "oe", "þ": "th", "ð": "d", "ı": "i", "ȷ": "j", "ŋ": "n", "ĸ": "q"}


def words(text: str) -> list[str]:
    """Return a text's words, folded: no case, no accents.

    A word is made of letters, numbers and the marks that belong to them, such as the vowel
    signs of Indic scripts and of Thai.
    """
    folded: list[str] = []
    decomposed = unicodedata.normalize("NFKD", text).casefold()
    for char in unicodedata.normalize("NFKD", decomposed):
        kind = unicodedata.category(char)
        if kind[0] in "LN":
            folded.append(_plain(char))
        elif kind[0] == "M":
            if _spells(char, kind):
                folded.append(char)
        elif not _is_inside_word(char, folded):
            folded.append(" ")
    return unicodedata.normalize("NFC", "".join(folded)).split()


@functools.lru_cache(maxsize=4096)
def _plain(char: str) -> str:
    """Return a Latin, Greek or Cyrillic letter without its stroke, hook or the like."""
    if char.isascii() or char == _TATWEEL:
        return "" if char == _TATWEEL else char
    if char in _OTHER_LETTERS:
        return _OTHER_LETTERS[char]
    base, is_with, _ = unicodedata.name(char, "").partition(" WITH ")
    if is_with and base.startswith(("LATIN ", "GREEK ", "CYRILLIC ")):
        try:
            found = unicodedata.lookup(base)
        except KeyError:
            return char
        return _OTHER_LETTERS.get(found, found)
    return char


def _spells(mark: str, kind: str) -> bool:
    """Return whether a mark distinguishes words; accents and variants of a glyph do not."""
    is_variant = "VARIATION SELECTOR" in unicodedata.name(mark, "") or is_invisible(mark)
    return unicodedata.combining(mark) in _SPELLING_MARKS and kind != "Me" and not is_variant


def _is_inside_word(char: str, before: list[str]) -> bool:
    """Return whether a character does not end a word: soft hyphens, joiners and the like.

    The non-joiner ends one, as in Persian, but for after a virama; so does the zero-width
    space, which Thai and Khmer texts have between words.
    """
    if char == ZWNJ:
        return bool(before) and unicodedata.combining(before[-1][-1:] or " ") == _VIRAMA
    return char != _ZERO_WIDTH_SPACE and is_invisible(char)


def terms(texts: Iterable[str | None]) -> list[str]:
    """Return every prefix of every word of these texts, each once."""
    found: dict[str, None] = {}
    for text in texts:
        for word in words(text or ""):
            starts = _letters(word) if _UNSPACED.search(word) else [0]
            for start in starts:
                tail = word[start : start + MAX_TERM]
                for end in range(1, len(tail) + 1):
                    found.setdefault(tail[:end])
            if len(found) >= MAX_TERMS:
                return list(found)[:MAX_TERMS]
    return list(found)


def _letters(word: str) -> list[int]:
    """Return the places in a word where a part of it can begin: not at a mark."""
    marks = (unicodedata.category(char)[0] == "M" for char in word)
    return [place for place, is_mark in enumerate(marks) if not place or not is_mark]


def is_term(text: str) -> bool:
    """Return whether a stored term can be part of a query."""
    return words(text) == [text]


def query_terms(query: str | None) -> list[str]:
    """Return the terms that a matching document must all have.

    A query without letters and numbers matches nothing; an empty query matches everything.
    """
    if not query or not query.strip():
        return []
    cut = (word[:MAX_TERM] for word in words(query))
    return list(dict.fromkeys(cut))[:10] or [NO_TERM]
