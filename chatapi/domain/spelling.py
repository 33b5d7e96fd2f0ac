"""The normalization of e-mail addresses and names.

Knows no other module: what checks input and what stores it use the same functions.
"""

from __future__ import annotations

import unicodedata

ZWNJ, ZWJ = "\u200c", "\u200d"
# Letters of no width that are no format characters.
FILLERS = "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"


def is_invisible(char: str) -> bool:
    """Return whether a character is invisible: bidi controls, zero-width ones and the like."""
    return unicodedata.category(char) == "Cf" or char in FILLERS


def without_invisible(text: str) -> str:
    """Return a text without invisible characters."""
    return "".join(char for char in text if not is_invisible(char))


def canonical_email(email: str) -> str:
    """Return the normalized address, which is unique for each account.

    Lower case, composed, without invisible characters; a domain in punycode becomes the
    Unicode that it stands for.
    """
    text = unicodedata.normalize("NFC", without_invisible(email).strip()).lower()
    local, at, domain = text.rpartition("@")
    if not at:
        return text
    domain = unicodedata.normalize("NFKC", domain).replace("\u3002", ".").lower()
    return f"{local}@{'.'.join(map(_unicode_label, domain.split('.')))}"


def older_emails(email: str) -> list[str]:
    """Return the other spellings under which version 0.1.0 stored the same address."""
    canonical = canonical_email(email)
    local, _, domain = canonical.rpartition("@")
    punycode = f"{local}@{'.'.join(map(_ascii_label, domain.split('.')))}"
    as_typed = unicodedata.normalize("NFC", email.strip()).lower()
    return [text for text in dict.fromkeys((as_typed, punycode)) if text != canonical]


def _unicode_label(label: str) -> str:
    if not label.startswith("xn--"):
        return label
    try:
        found = unicodedata.normalize("NFC", label[4:].encode("ascii").decode("punycode")).lower()
    except (UnicodeError, ValueError, OverflowError):
        return label
    is_word = all(c.isalnum() or c == "-" or unicodedata.category(c)[0] == "M" for c in found)
    return found if is_word and _ascii_label(found) == label else label


def _ascii_label(label: str) -> str:
    if label.isascii():
        return label
    return "xn--" + label.encode("punycode").decode("ascii")


def clean_name(name: str) -> str:
    """Return a person's name without bidi controls and zero-width characters.

    The zero-width non-joiner and joiner stay between two letters or marks, where Persian and
    Indian names need them, and the joiner between the parts of an emoji.
    """
    kept: list[str] = []
    for place, char in enumerate(name):
        if not is_invisible(char):
            kept.append(char)
        elif char in (ZWNJ, ZWJ) and kept and place + 1 < len(name):
            before, after = kept[-1], name[place + 1]
            if _joins(before, after, emoji=char == ZWJ):
                kept.append(char)
    return "".join(kept).strip()


def _joins(before: str, after: str, *, emoji: bool) -> bool:
    def is_joined(char: str) -> bool:
        kind = unicodedata.category(char)
        in_script = kind[0] in "LM" and ord(char) >= 0x0600  # Latin and Cyrillic join nothing.
        return in_script or (emoji and (kind == "So" or char == "\ufe0f" or kind == "Sk"))

    return is_joined(before) and is_joined(after)
