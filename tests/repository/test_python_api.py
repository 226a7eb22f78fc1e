"""docs/python_api.md says what the code says: public names, signatures, first docstring lines.

python tests/repository/test_python_api.py      # rewrites the page's lists from the code
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "python_api.md"
BEGIN, END = "<!-- from the docstrings: begin -->", "<!-- from the docstrings: end -->"
# The wings, from the ground up.
WINGS = (
    *("audio", "model", "model.backends", "rig", "speech", "face", "stream", "delivery"),
    *("drawing", "evaluation", "bags", "devices", "engine", "outputs", "display", "study"),
)
DEFINITIONS = (ast.FunctionDef, ast.ClassDef)


@cache
def read_module(name: str) -> ast.Module:
    base = ROOT.joinpath(*name.split("."))
    path = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
    return ast.parse(path.read_text("utf-8"))


def list_public(module: str) -> list[str]:
    for node in read_module(module).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return ast.literal_eval(node.value)
    raise AssertionError(f"{module} has no __all__")


def find_definition(module: str, name: str) -> ast.FunctionDef | ast.ClassDef | None:
    """Return what a name of a module means, in whatever module it stands; None for a constant."""
    for node in ast.walk(read_module(module)):
        if isinstance(node, DEFINITIONS) and node.name == name:
            return node
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return find_definition(node.module, alias.name)
    return None


def write_arguments(arguments: ast.arguments, typed: bool) -> str:
    """Return arguments as they stand in a `def`, without `self`; types only where `typed`."""
    plain = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(plain) - len(arguments.defaults)) + arguments.defaults
    parts = [
        _write_one(*pair, typed)
        for pair in zip(plain, defaults, strict=True)
        if pair[0].arg not in ("self", "cls")
    ]
    if arguments.vararg:
        parts.append("*" + _write_one(arguments.vararg, None, typed))
    elif arguments.kwonlyargs:
        parts.append("*")
    pairs = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    parts += [_write_one(*pair, typed) for pair in pairs]
    if arguments.kwarg:
        parts.append("**" + _write_one(arguments.kwarg, None, typed))
    return ", ".join(parts)


def _write_one(argument: ast.arg, default: ast.expr | None, typed: bool) -> str:
    text, equals = argument.arg, "="
    if typed and argument.annotation is not None:
        text, equals = f"{text}: {ast.unparse(argument.annotation)}", " = "
    return text if default is None else f"{text}{equals}{ast.unparse(default)}"


def write_signature(node: ast.FunctionDef | ast.ClassDef, typed: bool) -> str:
    if isinstance(node, ast.FunctionDef):
        if is_property(node):
            return f"{node.name}: {ast.unparse(node.returns)}"
        result = f" -> {ast.unparse(node.returns)}" if node.returns else ""
        return f"{node.name}({write_arguments(node.args, typed)}){result}"
    for part in node.body:
        if isinstance(part, ast.FunctionDef) and part.name == "__init__":
            return f"{node.name}({write_arguments(part.args, typed)})"
    if any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list):
        fields = [
            f"{part.target.id}: {ast.unparse(part.annotation)}" if typed else part.target.id
            for part in node.body
            if isinstance(part, ast.AnnAssign) and not part.target.id.startswith("_")
        ]
        return f"{node.name}({', '.join(fields)})"
    return node.name


def is_property(node: ast.FunctionDef) -> bool:
    return any(ast.unparse(decorator) == "property" for decorator in node.decorator_list)


def write_entry(node: ast.FunctionDef | ast.ClassDef, typed: bool, indent: str = "") -> list[str]:
    said = ast.get_docstring(node)
    assert said, f"{node.name} has no docstring"
    kind = "class " if isinstance(node, ast.ClassDef) else ""
    return [
        f"{indent}- `{kind}{write_signature(node, typed)}`",
        f"{indent}  {said.splitlines()[0]}",
    ]


def write_wing(module: str, known: set[str], full: bool = False) -> list[str]:
    """Return the entries of a module's public names; `full`: with types and methods."""
    lines = []
    for name in sorted(list_public(module), key=str.lower):
        node = find_definition(module, name)
        if node is None or name in known:
            continue
        lines += write_entry(node, full)
        if full and isinstance(node, ast.ClassDef):
            for part in node.body:
                if isinstance(part, ast.FunctionDef) and not part.name.startswith("_"):
                    lines += write_entry(part, full, "  ")
    return lines


def write_lists() -> str:
    """Return the generated part of the page."""
    lines = ["## `dualtalker`", "", *write_wing("dualtalker", set(), full=True), ""]
    known = set(list_public("dualtalker"))
    lines += ["## The wings", ""]
    lines += [
        "For programs that build on a part. They may change with a minor version.",
        "",
    ]
    for wing in WINGS:
        module = f"dualtalker.{wing}"
        said = ast.get_docstring(read_module(module)).splitlines()[0]
        lines += [f"### `{module}`", "", said, "", *write_wing(module, known), ""]
    return "\n".join(lines)


def rewrite(page: str) -> str:
    """Return the page with its lists made anew."""
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n\n{write_lists()}\n{END}{rest.split(END)[1]}"


def test_the_page_says_what_the_code_says():
    page = PAGE.read_text("utf-8")
    assert page == rewrite(page), "run `python tests/repository/test_python_api.py`"


def test_every_wing_with_public_names_is_on_the_page():
    """But the command, which is no library."""
    wings = {
        path.parent.relative_to(ROOT / "dualtalker").as_posix().replace("/", ".")
        for path in (ROOT / "dualtalker").rglob("__init__.py")
        if "__all__" in path.read_text("utf-8")
    } - {".", "cli"}
    assert wings >= set(WINGS)
    assert {wing.split(".")[0] for wing in wings} == {wing.split(".")[0] for wing in WINGS}


if __name__ == "__main__":
    PAGE.write_text(rewrite(PAGE.read_text("utf-8")), "utf-8")
    print(Path(PAGE).relative_to(ROOT))
