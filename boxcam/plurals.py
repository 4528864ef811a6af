"""Numbers with their nouns, in the singular or the plural."""

from __future__ import annotations


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number and its noun.

    Args:
        number: how many.
        noun: in the singular.
        plural: where it is not the singular with an s.

    >>> counted(1, "class name"), counted(3, "class name"), counted(0, "box", "boxes")
    ('1 class name', '3 class names', '0 boxes')
    """
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def verb(number: int, singular: str, plural: str) -> str:
    """The form of a verb that goes with a number.

    >>> verb(1, "is", "are"), verb(2, "has", "have")
    ('is', 'have')
    """
    return singular if number == 1 else plural
