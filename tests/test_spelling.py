"""One spelling for what can be written in several ways."""

from __future__ import annotations

import unicodedata

import pytest

from chatapi.domain import spelling


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        (" Ana@Example.ORG ", "ana@example.org"),
        ("ana@example.org\u200b", "ana@example.org"),
        ("a\u00adna@exam\u2060ple.org\ufeff", "ana@example.org"),
        ("jose\u0301@example.org", "jos\u00e9@example.org"),
        ("a@xn--mnchen-3ya.de", "a@m\u00fcnchen.de"),
        ("a@XN--MNCHEN-3YA.de", "a@m\u00fcnchen.de"),
        ("a@m\uff55nchen\u3002de", "a@munchen.de"),
        ("a@stra\u00dfe.de", "a@stra\u00dfe.de"),
        ("a@xn--.de", "a@xn--.de"),
        ("a@xn--\u00fc.de", "a@xn--\u00fc.de"),
        ("no address", "no address"),
        ("", ""),
    ],
)
def test_an_address_has_one_spelling(written: str, stored: str) -> None:
    assert spelling.canonical_email(written) == stored
    assert spelling.canonical_email(stored) == stored


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("Ana\u202egnp.exe", "Anagnp.exe"),
        ("\u2066Ana\u2069\u200f", "Ana"),
        ("Mor\u200bgan\u2060", "Morgan"),
        ("Mor\u200cgan\u200d", "Morgan"),
        ("\u200d\u200b", ""),
        (
            "\u0646\u06cc\u06a9\u200c\u0646\u0627\u0645",
            "\u0646\u06cc\u06a9\u200c\u0646\u0627\u0645",
        ),
        ("\u0915\u094d\u200d\u0937", "\u0915\u094d\u200d\u0937"),
        ("\U0001f469\u200d\U0001f4bb Ada", "\U0001f469\u200d\U0001f4bb Ada"),
        ("\u0646\u200c\u200c\u0646", "\u0646\u200c\u0646"),
        ("Zo\u00eb \u5c71\u7530", "Zo\u00eb \u5c71\u7530"),
    ],
)
def test_a_name_keeps_what_is_seen(written: str, shown: str) -> None:
    assert spelling.clean_name(written) == shown
    assert spelling.clean_name(shown) == shown


def test_other_letters_are_not_touched() -> None:
    name = unicodedata.normalize("NFD", "Nguyễn Thị Ánh")
    assert spelling.clean_name(name) == name
