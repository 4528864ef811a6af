"""The strings in a source file that people read."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import boxcam

ROOT = Path(boxcam.__file__).parent


def messages() -> Iterator[tuple[str, str]]:
    """Strings with more than one word in the whole library, by file and line; no docstrings."""
    for file in sorted(ROOT.rglob("*.py")):
        for line, text in strings(ast.parse(file.read_text(encoding="utf-8"))):
            if " " in text.strip():
                yield f"boxcam/{file.relative_to(ROOT).as_posix()}:{line}", text


def strings(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """The line and the text of each string in a file, but docstrings and example command lines of a `Source`.

    What an f-string computes is a ….
    """
    hidden = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "examples":
            hidden.update(ast.walk(node.value))
        body = getattr(node, "body", None)
        for one in body if isinstance(body, list) else ():  # docstrings, also those of constants
            if isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant):
                hidden.add(one.value)
    inside = {part for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr) and node not in hidden:
            parts = (part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
            yield node.lineno, "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in {*inside, *hidden}:
            yield node.lineno, node.value
