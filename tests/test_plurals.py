"""Numbers with their nouns."""

from __future__ import annotations

import pytest

from boxcam.plurals import counted, verb
from tests.source_text import messages


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


def test_no_message_leaves_the_choice_to_the_reader() -> None:
    assert [text for _, text in messages() if "(s)" in text or "(es)" in text] == []
