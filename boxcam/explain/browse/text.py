"""Names of files and classes in HTML: whatever they are, they are shown, and do nothing."""

from __future__ import annotations

import html
import os
import re
from urllib.parse import quote

_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
"""Control characters, ends of lines, turns of the writing direction, what has no width, and halves of characters, as a
file name that is not UTF-8 has them."""


def text(words: str) -> str:
    """Words for an element or an attribute; characters that cannot be seen are written as JSON escapes them."""
    return html.escape(_HIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", words))


def link(name: str) -> str:
    """The address of a file in the same folder."""
    return quote(os.fsencode(name), safe="")
