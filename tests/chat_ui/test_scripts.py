"""Rules for the scripts that run in pages of other people."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = {
    path.relative_to(folder).as_posix(): path.read_text()
    for folder in (ROOT / "chat_ui" / "static", ROOT / "web" / "static")
    for path in folder.rglob("*.js")
}

# What libraries in old pages have replaced by functions that do something else.
REPLACED = {
    r"\.reduce\(": "Prototype.js 1.5",
    r"\bArray\.from\(": "Prototype.js and MooTools ignore the second argument",
    r"\bDate\.parse\(": "Datejs returns a Date",
    r"\.scrollTo\(": "Prototype.js scrolls the window",
    r"\.bind\(": "MooTools 1.2 takes the arguments as a list",
    r"\bfor \((const|let|var) \S+ in ": "names that a library added to Object.prototype come along",
    r"\bJSON\.stringify\(": "Prototype.js gives lists a toJSON: use json.encode",
}


@pytest.mark.parametrize("pattern", REPLACED, ids=REPLACED.values())
def test_no_script_relies_on_what_libraries_replace(pattern: str) -> None:
    found = [name for name, text in SCRIPTS.items() if re.search(pattern, text)]
    assert found == (["json.js"] if "stringify" in pattern else [])


def test_every_key_handler_leaves_the_keys_of_an_input_method_alone() -> None:
    handlers = [
        name
        for name, text in SCRIPTS.items()
        if re.search(r"event\.key (===|!==)|\[event\.key\]", text)
    ]
    assert len(handlers) >= 4
    assert [name for name in handlers if "isComposing" not in SCRIPTS[name]] == []
