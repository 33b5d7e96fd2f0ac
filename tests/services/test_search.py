"""Words to search by: what is stored and what a query asks for."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from chatapi.services import search


def found(query: str, *texts: str | None) -> bool:
    """Tell whether a query finds a document of these texts."""
    terms = set(search.terms(texts))
    return all(term in terms for term in search.query_terms(query))


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("parcel", "Parcel is late"),
        ("PAR", "parcel"),
        ("p", "parcel"),
        ("late parcel", "Parcel is late"),
        ("zoe", "Zoë"),
        ("zoë", "Zoe"),
        ("ZOE\u0308", "zo\u00eb"),
        ("strasse", "Straße"),
        ("straße", "STRASSE"),
        ("ana@example.org", "Ana@Example.org"),
        ("example", "ana@example.org"),
        ("2026", "Invoice 2026-11"),
        ("包裹", "我的包裹迟到了"),
        ("迟到", "我的包裹迟到了"),
        ("エラー", "ログインエラー"),
        ("배송", "배송이 늦어요"),
        ("посыл", "Посылка"),
        ("طرد", "طرد متأخر"),
        ("fi", "ﬁle"),
        ("internationalisation", "internationalisation"),
        ("вітаю", "Вітаю"),
        ("วิทยุ", "ฟังวิทยุ"),
        ("हिन्", "हिन्दी"),
        ("தமிழ்", "தமிழ்"),
        ("क्ष", "क्\u200dष"),
        ("خواهم", "می\u200cخواهم"),
        ("lodz", "Łódź"),
        ("ŁÓDŹ", "Lodz"),
        ("soren dorde", "Søren Đorđe"),
        ("aero oeuvre thor edda", "Ærø œuvre Þór eðda"),
        ("isik diyar", "ışık DİYAR"),
        ("ghana hausa", "ɠhana ɦausa"),
        ("кыз", "қыз"),
        ("tel", "℡"),
        ("hyphen", "hy\u00adphen"),
        ("محمد", "محـــمد"),
        ("1", "1\ufe0f\u20e3"),
        ("", "anything"),
        ("   ", "anything"),
    ],
)
def test_a_query_finds_beginnings_of_words(query: str, text: str) -> None:
    assert found(query, text)


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("arcel", "Parcel is late"),
        ("parcels", "parcel"),
        ("late parcel", "Parcel"),
        ("?!", "anything?!"),
        ("_", "snake_case"),
        ("\0", "anything"),
        ("$where", "anything"),
        ("x", ""),
        ("วิทยุ", "วันนี้ ทยอยส่ง"),
        ("தமிழ்", "தம் ழகரம்"),
        ("हिन्दी", "हम नदी"),
        ("ข้าว", "ขาว"),
        ("が", "か"),
        ("ิ", "วิทยุ"),
    ],
)
def test_a_query_finds_nothing_else(query: str, text: str) -> None:
    assert not found(query, text)


def test_words_of_different_texts_are_found_together() -> None:
    assert found("late ana", "Parcel is late", None, "Ana")
    assert not found("late bob", "Parcel is late", "Ana")


def test_the_terms_of_a_document_are_bounded() -> None:
    long = " ".join(f"word{number}" for number in range(1000))
    assert len(search.terms([long])) == search.MAX_TERMS
    assert all(len(term) <= search.MAX_TERM for term in search.terms(["x" * 1000]))
    assert len(search.query_terms(long)) == 10


def test_each_term_is_stored_once() -> None:
    terms = search.terms(["late late LATE", "Late"])
    assert sorted(terms) == ["l", "la", "lat", "late"]


# Letters of many scripts, ligatures, marks, signs and what trips programs up.
ALPHABET = some.sampled_from(
    "aAzZ09 ßéÉe\u0301\u0308ﬁİıςΣⅧ½包裹ーアカ배송ทย้ิठि्ी\u200c\u200dłøđæþıاِш😀👩‍💻_-@.$\0\n\t\u200b"
)


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(some.text(ALPHABET, max_size=40))
def test_every_text_finds_itself(text: str) -> None:
    assert found(text, text) or search.query_terms(text) == [search.NO_TERM]


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(some.text(ALPHABET, max_size=40), some.text(ALPHABET, max_size=10))
def test_no_query_is_an_operator(text: str, query: str) -> None:
    assert all(type(term) is str and term for term in search.query_terms(query))
    assert all(type(term) is str and term for term in search.terms([text]))
