"""Numbers with their nouns."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator

import pytest

from boxcam.plurals import counted, verb
from tests.source_text import ROOT, messages


@pytest.mark.parametrize(
    ("number", "words", "said"),
    [
        (0, ("box", "boxes"), "0 boxes"),
        (1, ("box", "boxes"), "1 box"),
        (2, ("box", "boxes"), "2 boxes"),
        (1, ("class name",), "1 class name"),
        (12, ("class name",), "12 class names"),
    ],
)
def test_a_number_and_its_noun(number: int, words: tuple[str, ...], said: str) -> None:
    assert counted(number, *words) == said


def test_the_verb_goes_with_the_number() -> None:
    assert [verb(number, "is", "are") for number in (0, 1, 2)] == ["are", "is", "are"]


ALWAYS_SEVERAL = {
    "boxcam/bundle/bounds.py": "letters",  # more than are allowed
    "boxcam/export/heads/conventions/recognise.py": "ways",  # an ambiguity has two
    "boxcam/export/sources/class_names.py": "class names",  # more than are allowed
    "boxcam/export/sources/onnx/opened.py": "arguments",  # another number than 1
    "boxcam/export/sources/onnx/wellformed.py": "functions axes",  # more than are allowed
    "boxcam/export/sources/torchvision/detectors.py": "classifiers",  # of torchvision
}
"""What is there several times wherever it is said, by file."""


def bare_plurals(text: str) -> Iterator[tuple[int, str]]:
    """Nouns in the plural directly after a number that is counted in an f-string, whatever it is."""
    for node in ast.walk(ast.parse(text)):
        parts = node.values if isinstance(node, ast.JoinedStr) else []
        for number, after in itertools.pairwise(parts):
            if isinstance(number, ast.FormattedValue) and isinstance(after, ast.Constant):
                counts = re.search(r"\b(len|sum)\b", ast.unparse(number.value))
                noun = re.match(r" ((?:[a-z]+ ){0,2}?[a-z]+s|indices|axes)\b", str(after.value))
                if counts and noun and "counted(" not in ast.unparse(number.value):
                    yield node.lineno, noun[1]


def test_no_message_counts_without_asking_for_one() -> None:
    """`counted` does."""
    found = [
        f"{name}:{line}: {noun}"
        for file in sorted(ROOT.rglob("*.py"))
        for line, noun in bare_plurals(file.read_text(encoding="utf-8"))
        if noun not in ALWAYS_SEVERAL.get(name := f"boxcam/{file.relative_to(ROOT).as_posix()}", "")
    ]
    assert found == []


@pytest.mark.parametrize(
    ("text", "nouns"),
    [
        ('f"the {len(low)} score columns are all"', ["score columns"]),
        ('f"{int(bad.sum())} boxes"', ["boxes"]),
        ('f"{len(a.shape)} axes"', ["axes"]),
        ("f\"the {counted(len(low), 'score column')} are all\"", []),
        ('f"{len(low)} of them"', []),
        ('f"{name} boxes"', []),
    ],
)
def test_what_counts_without_asking(text: str, nouns: list[str]) -> None:
    assert [noun for _, noun in bare_plurals(text)] == nouns


def test_no_message_leaves_the_choice_to_the_reader() -> None:
    assert [text for _, text in messages() if "(s)" in text or "(es)" in text] == []
