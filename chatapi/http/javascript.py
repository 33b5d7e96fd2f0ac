"""Group ES modules into one file, when the process starts: no build step.

A bundle is a plain ES module. Each source module becomes one function in it, called once, in
the order of the imports:

    const __modules = {};
    __modules["dom.js"] = (() => { ...the source...; return { h, svg }; })();
    __modules["embed.js"] = (() => { const { h } = __modules["dom.js"]; ...; return { embed }; })();
    export const { embed } = __modules["embed.js"];

Comments and indentation are left out; a source map leads back to the sources. A module of another
folder of the checkout, such as web/static, is imported by its path and stands in the bundle, too;
it is called by its path from the checkout's root, under which it is also served. Only forms of
`import` and `export` with this exact meaning are accepted: named ones, of names that are
assigned once. Everything else raises BundleError with the file, the line and the reason.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import tree_sitter_javascript
from tree_sitter import Language, Node, Parser, Query, QueryCursor

SUFFIX = ".bundle.js"
_REGISTRY = "__modules"
_NAME = re.compile(r"(?!default$)[\w$]+")
_JAVASCRIPT = Language(tree_sitter_javascript.language())
_NOTABLE = Query(
    _JAVASCRIPT,
    """
    (comment) @comment
    (template_string) @literal
    (string) @literal
    (call_expression function: (import)) @dynamic
    (meta_property) @meta
    (await_expression) @await
    (for_in_statement "await") @await
    (ERROR) @error
    """,
)
_DECLARATIONS = (
    "function_declaration",
    "generator_function_declaration",
    "class_declaration",
    "lexical_declaration",
)
_FUNCTIONS = (
    *("function_declaration", "generator_function_declaration", "function_expression"),
    *("generator_function", "arrow_function", "method_definition", "class_static_block"),
)
_BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


class BundleError(Exception):
    """A source that cannot be bundled; the text says where and why."""


@dataclass(frozen=True)
class Bundle:
    """A bundle and its source map, under the names they refer to each other by."""

    name: str
    code: bytes
    map_name: str
    map: bytes
    sources: tuple[str, ...]


@dataclass
class _Module:
    """A source module: what it needs, what it gives, and its text without either."""

    name: str
    imports: list[str] = field(default_factory=list)
    needs: list[tuple[str, str, int]] = field(default_factory=list)  # module, name, line
    exports: dict[str, str] = field(default_factory=dict)  # name outside: expression inside
    lines: list[tuple[str, int, int]] = field(default_factory=list)  # text, its line and column


def bundle_name(entry: str) -> str:
    """Return the name of the bundle that begins with a module: app.js gives app.bundle.js."""
    return entry.removesuffix(".js") + SUFFIX


def make_bundles(folder: Path, entries: tuple[str, ...]) -> list[Bundle]:
    """Return the bundle of each entry module with all it imports. Raises BundleError.

    entries -- names in `folder`, not below it; a dynamic import may name these only.
    """
    modules: dict[str, _Module] = {}
    return [_bundle(entry, _in_order(folder, entry, entries, modules)) for entry in entries]


def _in_order(
    folder: Path, entry: str, entries: tuple[str, ...], modules: dict[str, _Module]
) -> list[_Module]:
    """Return an entry and all it imports, each after what it imports itself."""
    ordered: dict[str, _Module] = {}

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            circle = " -> ".join((*path[path.index(name) :], name))
            raise BundleError(f"{name}: the modules import each other in a circle: {circle}.")
        if name in ordered:
            return
        if name not in modules:
            modules[name] = _Reader(folder, name, entries).read()
        module = modules[name]
        for needed in module.imports:
            visit(needed, (*path, name))
        for needed, wanted, line in module.needs:
            if wanted not in modules[needed].exports:
                raise BundleError(f"{name}:{line}: {needed} does not export {wanted!r}.")
        ordered[name] = module

    visit(entry, ())
    return list(ordered.values())


class _Reader:
    """Reads one source file into a _Module."""

    def __init__(self, folder: Path, name: str, entries: tuple[str, ...]) -> None:
        self.folder, self.entries = folder, entries
        self.module = _Module(name)
        self.source = (folder / name).read_bytes()
        # What stands instead of a part of the source: start, end, text.
        self.edits: list[tuple[int, int, bytes]] = []

    def read(self) -> _Module:
        root = Parser(_JAVASCRIPT).parse(self.source).root_node
        found: Mapping[str, list[Node]] = QueryCursor(_NOTABLE).captures(root)
        self._refuse_what_would_break(root, found)
        first = True
        for node in root.named_children:
            if node.type == "import_statement":
                self._import(node, first)
            elif node.type == "export_statement":
                self._export(node)
            first = first and node.type in {"import_statement", "comment", "hash_bang_line"}
        for node in found.get("dynamic", ()):
            self._dynamic_import(node)
        for node in found.get("comment", ()):
            # A comment over several lines separates statements as a line break does.
            separator = b"\n" if node.start_point.row != node.end_point.row else b" "
            self.edits.append((node.start_byte, node.end_byte, separator))
        self.module.lines = list(self._lines(found.get("literal", [])))
        return self.module

    def _refuse(self, node: Node, reason: str) -> BundleError:
        return BundleError(f"{self.module.name}:{node.start_point.row + 1}: {reason}")

    def _refuse_what_would_break(self, root: Node, found: Mapping[str, list[Node]]) -> None:
        if root.has_error:
            broken = min(
                (*found.get("error", ()), *_missing(root)), key=lambda node: node.start_byte
            )
            raise self._refuse(broken, "this is not valid JavaScript.")
        for node in found.get("await", ()):
            if not _is_in_function(node):
                raise self._refuse(node, "await outside a function cannot be bundled.")
        for node in found.get("meta", ()):
            # In a folder below, import.meta.url would be another address than the bundle's.
            if node.text == b"import.meta" and "/" in self.module.name:
                raise self._refuse(node, "import.meta works only beside the bundle.")

    def _import(self, node: Node, first: bool) -> None:
        if not first:
            raise self._refuse(node, "imports must stand before everything else.")
        source = self._source(node)
        names = []
        clause = next((each for each in node.named_children if each.type == "import_clause"), None)
        for part in clause.named_children if clause else ():
            if part.type != "named_imports":
                raise self._refuse(node, "only `import { names } from` can be bundled.")
            for specifier in _specifiers(part):
                name, local = _name_and_alias(specifier)
                self.module.needs.append((source, name, node.start_point.row + 1))
                names.append(name if name == local else f"{name}: {local}")
        text = f"const {{ {', '.join(names)} }} = {_place(source)};" if names else ""
        self.edits.append((node.start_byte, node.end_byte, text.encode()))

    def _export(self, node: Node) -> None:
        declaration = node.child_by_field_name("declaration")
        clause = next((each for each in node.named_children if each.type == "export_clause"), None)
        if declaration is not None and any(each.type == "default" for each in node.children):
            declaration = None
        if declaration is not None and declaration.type in _DECLARATIONS:
            for name in self._declared(declaration):
                self.module.exports[name] = name
            self.edits.append((node.start_byte, declaration.start_byte, b""))
        elif clause is not None:
            source = self._source(node) if node.child_by_field_name("source") else None
            for specifier in _specifiers(clause):
                name, shown = _name_and_alias(specifier)
                if not _NAME.fullmatch(shown) or not _NAME.fullmatch(name):
                    raise self._refuse(node, f"an export named {shown} cannot be bundled.")
                self.module.exports[shown] = f"{_place(source)}.{name}" if source else name
                if source:
                    self.module.needs.append((source, name, node.start_point.row + 1))
            self.edits.append((node.start_byte, node.end_byte, b""))
        else:
            raise self._refuse(node, "only exports of names can be bundled, no default and no *.")

    def _declared(self, declaration: Node) -> Iterator[str]:
        """Yield the names of a declaration that is exported."""
        if declaration.type != "lexical_declaration":
            yield _text(declaration.child_by_field_name("name"))
            return
        if _text(declaration.child_by_field_name("kind")) != "const":
            # The modules that import it would not see a later assignment.
            raise self._refuse(declaration, "`export let` cannot be bundled: export a function.")
        for each in declaration.named_children:
            name = each.child_by_field_name("name")
            if name is None or name.type != "identifier":
                if each.type == "comment":
                    continue
                raise self._refuse(each, "an exported pattern cannot be bundled: name it first.")
            yield _text(name)

    def _source(self, node: Node) -> str:
        """Return the module that an import names, and note it as imported."""
        given = _text(node.child_by_field_name("source"))[1:-1]
        name = posixpath.normpath(posixpath.join(posixpath.dirname(self.module.name), given))
        if not given.startswith(("./", "../")) or not (self.folder / name).is_file():
            raise self._refuse(node, f"there is no module {given!r}.")
        if name not in self.module.imports:
            self.module.imports.append(name)
        return name

    def _dynamic_import(self, node: Node) -> None:
        arguments = node.child_by_field_name("arguments")
        first = arguments.named_children[0] if arguments and arguments.named_children else None
        name = _text(first)[1:-1] if first is not None and first.type == "string" else ""
        resolved = posixpath.normpath(posixpath.join(posixpath.dirname(self.module.name), name))
        if first is None or resolved not in self.entries:
            listed = ", ".join(self.entries)
            raise self._refuse(node, f"import() can load these bundles only: {listed}.")
        text = f'"./{bundle_name(resolved)}"'
        self.edits.append((first.start_byte, first.end_byte, text.encode()))

    def _lines(self, literals: list[Node]) -> Iterator[tuple[str, int, int]]:
        """Yield each line of the edited source, with its place in the source."""
        # Lines that begin or end inside a text must stay as they are.
        begins_inside, ends_inside = set(), set()
        for node in literals:
            begins_inside |= set(range(node.start_point.row + 1, node.end_point.row + 1))
            ends_inside |= set(range(node.start_point.row, node.end_point.row))
        for text, row in self._edited():
            line = text.decode()
            column = 0
            if row not in begins_inside:
                column = len(line) - len(line.lstrip())
                line = line.lstrip()
            if row not in ends_inside:
                line = line.rstrip()
            if line or row in begins_inside:
                yield line, row, column

    def _edited(self) -> Iterator[tuple[bytes, int]]:
        """Yield the lines after the edits, each with its line in the source."""
        row, at, line = 0, 0, b""
        for start, end, text in [*sorted(self.edits), (len(self.source), len(self.source), b"")]:
            if start < at:
                continue  # a comment in a statement that is replaced as a whole
            *whole, rest = self.source[at:start].split(b"\n")
            for part in whole:
                yield line + part, row
                line, row = b"", row + 1
            line += rest
            *whole, rest = text.split(b"\n")
            for part in whole:
                yield line + part, row
                line = b""
            line += rest
            row += self.source.count(b"\n", start, end)
            at = end
        yield line, row


def _bundle(entry: str, modules: list[_Module]) -> Bundle:
    """Return the bundle of modules that stand in the order of their imports."""
    lines = [f"const {_REGISTRY} = {{}};"]
    mapped: list[tuple[int, int, int] | None] = [None]
    for number, module in enumerate(modules):
        lines.append(f"{_place(module.name)} = (() => {{")
        mapped.append(None)
        for text, row, column in module.lines:
            lines.append(text)
            mapped.append((number, row, column))
        given = ", ".join(
            name if name == inside else f"{name}: {inside}"
            for name, inside in module.exports.items()
        )
        lines.append(f"return {{ {given} }};\n}})();")
        mapped += [None, None]
    last = modules[-1]
    if last.exports:
        lines.append(f"export const {{ {', '.join(last.exports)} }} = {_place(last.name)};")
    name = bundle_name(entry)
    lines.append(f"//# sourceMappingURL={name}.map")
    sources = tuple(_name_outside(module.name) for module in modules)
    outside = {_name_outside(module.name) for module in modules if module.name.startswith("../")}
    source_map = {
        "version": 3,
        "file": name,
        "sources": [f"/{name}" if name in outside else name for name in sources],
        "names": [],
        "mappings": _mappings(mapped),
    }
    text = "\n".join([*lines, ""])
    return Bundle(name, text.encode(), f"{name}.map", json.dumps(source_map).encode(), sources)


def _mappings(mapped: list[tuple[int, int, int] | None]) -> str:
    """Return a source map's mappings, one segment for each line that has a source."""
    before = (0, 0, 0)
    encoded = []
    for place in mapped:
        if place is None:
            encoded.append("")
            continue
        steps = (now - then for now, then in zip(place, before, strict=True))
        encoded.append("A" + "".join(map(_vlq, steps)))
        before = place
    return ";".join(encoded)


def _vlq(number: int) -> str:
    """Return a number in the base 64 of source maps."""
    rest = abs(number) << 1 | (number < 0)
    digits = ""
    while True:
        rest, low = rest >> 5, rest & 31
        digits += _BASE64[low | 32 if rest else low]
        if not rest:
            return digits


def _place(name: str) -> str:
    return f"{_REGISTRY}[{json.dumps(_name_outside(name))}]"


def _name_outside(name: str) -> str:
    """Return what a module is called, without the way up from the bundle's folder."""
    while name.startswith("../"):
        name = name.removeprefix("../")
    return name


def _text(node: Node | None) -> str:
    return (node.text or b"").decode() if node is not None else ""


def _specifiers(clause: Node) -> Iterator[Node]:
    yield from (each for each in clause.named_children if each.type.endswith("_specifier"))


def _name_and_alias(specifier: Node) -> tuple[str, str]:
    name = _text(specifier.child_by_field_name("name"))
    return name, _text(specifier.child_by_field_name("alias")) or name


def _missing(node: Node) -> Iterator[Node]:
    """Yield the places where the parser misses something."""
    if node.is_missing:
        yield node
    for child in node.children:
        if child.has_error:
            yield from _missing(child)


def _is_in_function(node: Node) -> bool:
    above = node.parent
    while above is not None:
        if above.type in _FUNCTIONS:
            return True
        above = above.parent
    return False
