"""The users' chat makes the same links as the console: one list of cases for both."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SPLIT = """async ([module, texts]) => {
  const { split } = await import(`data:text/javascript;base64,${module}`);
  return texts.map(split);
}"""


def test_the_chat_makes_the_links_of_the_shared_rule(new_page: Any) -> None:
    cases = json.loads((ROOT / "tests" / "data" / "links.json").read_text(encoding="utf-8"))
    module = base64.b64encode((ROOT / "chat_ui" / "static" / "links.js").read_bytes()).decode()
    answers = new_page().evaluate(SPLIT, [module, [case["text"] for case in cases]])
    assert len(answers) == len(cases) > 30
    for case, parts in zip(cases, answers, strict=True):
        assert "".join(part["text"] for part in parts) == case["text"]
        found = [part for part in parts if part["address"]]
        assert [part["address"] for part in found] == case["links"], case["text"]
        assert [part["text"] for part in found] == case.get("shown", case["links"])
