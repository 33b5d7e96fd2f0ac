"""The bundles of the scripts: the same meaning as the modules, or a clear refusal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chatapi.http.javascript import BundleError, make_bundles

ROOT = Path(__file__).parent.parent.parent


def write(folder: Path, **sources: str) -> Path:
    for name, text in sources.items():
        (folder / f"{name}.js").write_text(text)
    return folder


def bundled(folder: Path, *entries: str) -> str:
    return make_bundles(folder, entries or ("main.js",))[0].code.decode()


def test_modules_stand_in_the_order_of_their_imports_and_once(tmp_path: Path) -> None:
    folder = write(
        tmp_path,
        main='import { a } from "./a.js";\nimport { b as c } from "./b.js";\n'
        "export const d = a + c;",
        a='import { b } from "./b.js";\nexport function a() { return b; }',
        b="export const b = 1;\nexport class B {}",
    )
    assert bundled(folder) == (
        "const __modules = {};\n"
        '__modules["b.js"] = (() => {\nconst b = 1;\nclass B {}\nreturn { b, B };\n})();\n'
        '__modules["a.js"] = (() => {\nconst { b } = __modules["b.js"];\n'
        "function a() { return b; }\nreturn { a };\n})();\n"
        '__modules["main.js"] = (() => {\nconst { a } = __modules["a.js"];\n'
        'const { b: c } = __modules["b.js"];\nconst d = a + c;\nreturn { d };\n})();\n'
        'export const { d } = __modules["main.js"];\n'
        "//# sourceMappingURL=main.bundle.js.map\n"
    )


def test_an_export_list_and_a_re_export_keep_their_names(tmp_path: Path) -> None:
    folder = write(
        tmp_path,
        main='export { a as b } from "./a.js";\nconst x = 1;\nexport { x as y };',
        a="export const a = 1;",
    )
    assert 'return { b: __modules["a.js"].a, y: x };' in bundled(folder)
    assert "export const { b, y } =" in bundled(folder)


def test_comments_and_indentation_go_but_no_text_changes(tmp_path: Path) -> None:
    source = (
        "/** A comment. */\n"
        "const kept = `  two  \n    // lines  \n`; // a note\n"
        'const address = "https://example.org/*";\n'
        "const pattern = /[/*]\\/\\/ +/g; /* and\n one */ const next = 1 /* in */ + 2;\n"
    )
    code = bundled(write(tmp_path, main=source))
    assert "const kept = `  two  \n    // lines  \n`;\n" in code
    assert 'const address = "https://example.org/*";\n' in code
    assert "const pattern = /[/*]\\/\\/ +/g;\nconst next = 1   + 2;\n" in code
    assert "comment" not in code
    assert "note" not in code


def test_a_module_beside_the_folder_stands_in_the_bundle_by_its_path_from_the_root(
    tmp_path: Path,
) -> None:
    shared, folder = tmp_path / "web" / "static", tmp_path / "ui" / "static"
    for each in (shared, folder / "views"):
        each.mkdir(parents=True)
    write(shared, a='import { b } from "./b.js";\nexport const a = b;', b="export const b = 1;")
    write(folder / "views", view='import { b } from "../../../web/static/b.js";\nf(b);')
    write(folder, main='import { a } from "../../web/static/a.js";\nimport "./views/view.js";')

    (bundle,) = make_bundles(folder, ("main.js",))

    assert bundle.code.decode().count('__modules["web/static/b.js"] = ') == 1
    assert 'const { b } = __modules["web/static/b.js"];' in bundle.code.decode()
    # Addresses: the shared sources are served under their path, the others beside the map.
    assert json.loads(bundle.map)["sources"] == [
        *("/web/static/b.js", "/web/static/a.js", "views/view.js", "main.js"),
    ]


def test_a_dynamic_import_loads_the_other_bundle(tmp_path: Path) -> None:
    folder = write(tmp_path, main='const m = import("./late.js");', late="export const a = 1;")
    assert 'import("./late.bundle.js")' in bundled(folder, "main.js", "late.js")


def test_the_source_map_leads_from_each_line_to_its_source(tmp_path: Path) -> None:
    folder = write(
        tmp_path, main='// one\nimport { a } from "./a.js";\n\n  f(a);', a="\nexport const a = 1;"
    )
    (bundle,) = make_bundles(folder, ("main.js",))
    found = json.loads(bundle.map)
    assert found["sources"] == ["a.js", "main.js"]
    # Lines of the bundle: registry, head, a.js:2, two of the end, head, main.js:2, main.js:4:3.
    assert found["mappings"].split(";")[:8] == ["", "", "AACA", "", "", "", "ACAA", "AAEE"]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("export default class {}", "main.js:1: only exports of names"),
        ("export * from './other.js';", "main.js:1: only exports of names"),
        ("import * as other from './other.js';", "main.js:1: only `import { names } from`"),
        ("import other from './other.js';", "main.js:1: only `import { names } from`"),
        ("import { missing } from './other.js';", "does not export 'missing'"),
        ("import { a } from './nowhere.js';", "there is no module './nowhere.js'"),
        ("import { a } from 'package';", "there is no module 'package'"),
        ("\nf();\nimport { a } from './other.js';", "main.js:3: imports must stand before"),
        ("export let a = 1;", "`export let` cannot be bundled"),
        ("export const { a } = b;", "an exported pattern cannot be bundled"),
        ("const a = 1;\nexport { a as default };", "main.js:2: an export named default"),
        ("const a = await f();", "await outside a function"),
        ("for await (const a of b) f(a);", "await outside a function"),
        ("const m = import('./other.js');", "import() can load these bundles only: main.js"),
        ("const m = import(name);", "import() can load these bundles only: main.js"),
        ("\nconst a = ;", "main.js:2: this is not valid JavaScript"),
        ("function f() {", "this is not valid JavaScript"),
        (
            "import { b } from './circle.js';\nexport const a = b;",
            "main.js -> circle.js -> main.js",
        ),
    ],
)
def test_a_form_that_would_change_its_meaning_is_refused(
    tmp_path: Path, source: str, reason: str
) -> None:
    folder = write(
        tmp_path,
        main=source,
        other="export const a = 1;",
        circle="import { a } from './main.js';\nexport const b = () => a;",
    )
    with pytest.raises(BundleError) as caught:
        make_bundles(folder, ("main.js",))
    assert reason in str(caught.value)


def test_import_meta_is_refused_where_the_bundle_has_another_address(tmp_path: Path) -> None:
    (tmp_path / "views").mkdir()
    (tmp_path / "views" / "a.js").write_text("export const a = import.meta.url;")
    folder = write(tmp_path, main='import { a } from "./views/a.js";\nf(a, import.meta.url);')
    with pytest.raises(BundleError, match=r"views/a\.js:1: import\.meta works only beside"):
        make_bundles(folder, ("main.js",))
