"""What mkdocstrings reads docstrings with, beyond its own: examples that tests run (``>>>``) are shown as code."""

from __future__ import annotations

import re
from typing import Any

import griffe


class Examples(griffe.Extension):
    """Puts a fence around each paragraph of a docstring that begins with ``>>>``."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Do so in the docstring of an object that was read."""
        if obj.docstring is not None:
            obj.docstring.value = re.sub(
                r"(?:^>>> .*\n?(?:^\S.*\n?)*)", _fenced, obj.docstring.value, flags=re.MULTILINE
            )


def _fenced(match: re.Match[str]) -> str:
    text = re.sub(r"  # doctest: .*", "", match[0].rstrip("\n"))
    return f"```pycon\n{text}\n```\n"
