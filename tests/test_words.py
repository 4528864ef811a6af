"""The words that users read: those of the field, and never those that an earlier version had of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import boxcam
from boxcam.cli import main
from tests.source_text import messages

PAGES = [Path("README.md"), *sorted(Path("docs").rglob("*.md"))]
GLOSSARY = {
    r"\bcanvas(es)?\b": "model input",
    r"\bopen sizes?\b|\bsizes? (is|are|stays?) open\b|height and width (are |is |stay )?open\b": "dynamic size",
    r"\blit cells?\b": "single active cell",
    r"\beven maps?\b": "uniform map",
    r"\bin front of\b": "before",
    r"\blayers? behind\b|\bbehind (it|the layer|them)\b": "after",
    r"(?<![Tt]here )\b(is|are) no (ONNX|bundle|image|PyTorch|UTF-8|FILE|classifier|model|mmdet|detector)": (
        "is not a (valid) …"
    ),
    r"\bboxes merge\b|\bmerges? boxes\b": "suppresses",
    r"\bnumbers of words\b": "token IDs",
    r"\bSay (--|\w+=|it\b|which\b|so\b)|\b[Nn]ame it\b|\bsay scale": "Pass …",
    r"\bbeside (it|them|that|those|the)\b|, beside\b": "in addition to, next to",
    r"\b(drawn|draws?) (pictures|images|ones)\b|\bdrawn\]": "synthetic images",
    r"\bhardly var(y|ies)\b": "is almost constant, as in an untrained model",
    r"\ba torch is needed\b|\bneeds? torch\b|\bdo without torch\b": "PyTorch is needed",
    r"\bweights whole\b|\bIs it whole\b": "Is the checkpoint complete?",
    r"\bcut off\b": "truncated",
    r"\bcannot be repeated\b": "cannot be reproduced",
    r"\bwas expected to be\b": "should be",
    r"\bexport (it |the model )?anew\b": "export … again",
    r"\bhas to (be said|hold)\b": "Pass …",
    r"\boverlay sheets?\b|\boverlays\b": "sheet",
    r"\bnot every operator bears\b|\bmay not bear\b": "supports",
}


def help_texts(command: click.Command) -> Iterator[tuple[str, str]]:
    """What ``--help`` prints, by the place where one finds it."""
    yield f"boxcam {command.name} --help", f"{command.help or ''} {command.epilog or ''}"
    for parameter in command.params:
        yield f"boxcam {command.name} {parameter.name}", getattr(parameter, "help", None) or ""
    for below in command.commands.values() if isinstance(command, click.Group) else ():
        yield from help_texts(below)


def public_docstrings() -> Iterator[tuple[str, str]]:
    """What ``help()`` shows of the public names."""
    for name in boxcam.__all__:
        thing = getattr(boxcam, name)
        yield f"help(boxcam.{name})", thing.__doc__ or ""
        if isinstance(thing, type):
            for attribute, value in vars(thing).items():
                if not attribute.startswith("_"):
                    yield f"help(boxcam.{name}.{attribute})", getattr(value, "__doc__", None) or ""


def pages() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
            yield f"{page}:{number}", line


@pytest.mark.parametrize(
    "where",
    [help_texts(main), messages(), public_docstrings(), pages()],
    ids=["help", "messages", "docstrings", "pages"],
)
def test_the_words_are_those_of_the_field(where: Iterator[tuple[str, str]]) -> None:
    texts = list(where)
    assert len(texts) > 5
    found = [
        f"{place}: {match[0]!r}, better: {better}"
        for place, text in texts
        for words, better in GLOSSARY.items()
        for match in re.finditer(words, text)
    ]
    assert found == [], "\n".join(found)


@pytest.mark.parametrize(
    "text",
    [
        "pixels of the canvas", "its size is open", "one lit cell", "in front of the layer", "Choose a layer behind it",
        "a.onnx is no ONNX file", "IoU at which boxes merge", "reads numbers of words", "Say --layer", "beside the",
        "[default: drawn ones]", "hardly varies", "it needs torch", "Are the weights whole?", "a.jpg is cut off",
        "an overlay sheet", "The overlays are in it.",
    ],
)  # fmt: skip
def test_the_old_words_would_be_found(text: str) -> None:
    assert any(re.search(words, text) for words in GLOSSARY)
