"""Which parts of a text become links, and where a mail begins."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from admin_ui import links, texts

CASES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "data" / "links.json").read_text(encoding="utf-8")
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: ascii(case["text"])[:40])
def test_the_console_makes_the_links_of_the_shared_rule(case: dict[str, Any]) -> None:
    parts = list(links.split(case["text"]))
    assert "".join(text for text, _ in parts) == case["text"]
    assert [address for _, address in parts if address] == case["links"]
    shown = [text for text, address in parts if address]
    assert shown == case.get("shown", case["links"])


def test_a_very_long_text_takes_no_time() -> None:
    for text in ("https://" * 600, "www." * 1200, "https://a" + ")" * 4900, "(" * 5000):
        assert "".join(part for part, _ in links.split(text)) == text


@pytest.mark.parametrize(
    ("email", "address"),
    [
        ("ana@example.com", "mailto:ana@example.com"),
        (
            "sales?bcc=leak%40evil.example&x=@example.com",
            "mailto:sales%3Fbcc%3Dleak%2540evil.example%26x%3D@example.com",
        ),
        ("a/b+c@example.com", "mailto:a%2Fb%2Bc@example.com"),
        ("jos\u00e9@m\u00fcnchen.de", "mailto:jos%C3%A9@m%C3%BCnchen.de"),
    ],
)
def test_an_e_mail_adds_no_header_to_the_mail_it_begins(email: str, address: str) -> None:
    assert texts.mailto(email) == address
