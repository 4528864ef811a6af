"""The check of messages finds what is missing."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import boxcam
from tests.messages import missing_parts


@pytest.mark.parametrize(
    ("message", "missing"),
    [
        ("boxcam: a.jpg is truncated: it ends before the image does. Copy it again.", []),
        ("no tensor 'x' is in the graph. Did you mean 'y'? There are: y, z.", []),
        ("shape=64x64 contradicts the model's input [1, 3, 32, 32], which is fixed. Leave it out.", []),
        ("a.jpg is truncated: it ends before the image does.", ["mend"]),
        ("the image is damaged.", ["where", "mend"]),
        ("Grayscale images are not supported.", ["where", "mend"]),
        ("it cannot be read. Copy it again.", ["where"]),
        ("a.jpg: oops. Copy it again.", ["what"]),
        ("Copy 'a.jpg' again.", ["what"]),
        ("the bundle has no layer 'x'. There are: none.", ["mend"]),
        ("the export of 'a.onnx' failed: exporters fail.", ["mend"]),
    ],
)
def test_what_is_missing_is_found(message: str, missing: list[str]) -> None:
    assert missing_parts(message) == missing


# The whole source

ROOT = Path(boxcam.__file__).parent
WHERE = re.compile(
    r"…|[\w]+=|'[^']+'|\b(model|graph|file|bundle|image|picture|checkpoint|config|input|layer|scores?|boxes)\b"
)
"""What is wrong where: what the program puts in, a parameter, a name, or a part of the model."""
PASSED_ON = re.compile(r"^[…:; ]*$")
"""Messages that are made of others, which are looked at where they stand."""
SELF_EXPLANATORY = re.compile(
    r"Please report it|Explaining a bundle does not need it"  # a fault of boxcam's own; what is not needed
    r"|^\w+: …, expected "  # an argument, its value, and those that it can have
)


def raised() -> Iterator[tuple[str, str]]:
    """The text of every error that boxcam raises or returns, by file and line; what an f-string computes is a …."""
    for file in sorted(ROOT.rglob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            if (
                name.endswith("Error")
                and name in dir(boxcam.errors)
                and name not in ("UnknownLayerError", "BoxcamError")
            ):
                for text in texts(node.args[0]):
                    if " " in text.strip() and not PASSED_ON.match(text):
                        yield f"boxcam/{file.relative_to(ROOT).as_posix()}:{node.lineno}", text


def texts(expression: ast.expr) -> Iterator[str]:
    """What a string expression may be; not the strings inside of what an f-string computes."""
    if isinstance(expression, ast.IfExp):
        yield from (*texts(expression.body), *texts(expression.orelse))
    elif isinstance(expression, ast.JoinedStr):
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in expression.values)
    elif isinstance(expression, ast.Constant):
        yield str(expression.value)


def test_every_error_says_what_where_and_how_to_mend_it() -> None:
    found = list(raised())
    assert len(found) > 150  # they are found at all
    bad = []
    for place, text in found:
        missing = [part for part in missing_parts(text) if part != "where"]
        if not WHERE.search(text):
            missing.append("where")
        if "…" in text:  # what is put in may be the fault, or the advice
            missing = [part for part in missing if part == "where"] if re.search(r"…[.]?( |$)|^…", text) else missing
        if missing and not SELF_EXPLANATORY.search(text):
            bad.append(f"{place}: no {', '.join(missing)} in: {text}")
    assert bad == [], "\n".join(bad)


def test_sentences_end_before_the_next_begins() -> None:
    """An order that follows a name, a word or a bracket without a full stop, a colon or a comma."""
    orders = "Pass|Choose|Export|Copy|Check|Leave|Install|Fix|Give|Did you|There are|Use|Update|Write|Make|Add"
    run_on = re.compile(rf"(?:[a-z0-9\]\)'\"]|(?<!\.)…) (?:{orders}) [a-z]")
    bad = [f"{place}: {text}" for place, text in raised() if run_on.search(text)]
    assert bad == [], "\n".join(bad)


@pytest.mark.parametrize("text", ["the file … is damaged Copy it again.", "no layer 'x' There are: y"])
def test_a_run_on_would_be_found(text: str) -> None:
    assert re.search(r"[a-z0-9…\]\)'\"] (?:Copy|There are)", text)
