"""Text on a picture: drawn by OpenCV, whose fonts hold printable ASCII only.

A letter with an accent loses it, Latin letters that are made of no other one are spelled out, as ``ss`` for ``ß``, and
any other character becomes ``?``.
"""

from __future__ import annotations

import bisect
import math
import unicodedata

import cv2
import numpy as np

from boxcam.types import Image

Color = tuple[int, int, int]
"""BGR."""

FONT, OVERSAMPLING = cv2.FONT_HERSHEY_SIMPLEX, 4
"""Text is drawn large and then reduced: the strokes of OpenCV's fonts are even only that way."""
SPELLED = {
    "ß": "ss", "ẞ": "SS", "ø": "o", "Ø": "O", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ł": "l", "Ł": "L",
    "đ": "d", "Đ": "D", "ð": "d", "Ð": "D", "þ": "th", "Þ": "Th", "ħ": "h", "Ħ": "H", "ı": "i", "ŋ": "ng", "Ŋ": "Ng",
}  # fmt: skip
"""Latin letters of which Unicode knows no plain letter with an accent."""


def _ascii(text: str) -> str:
    spelled = "".join(SPELLED.get(letter, letter) for letter in unicodedata.normalize("NFKD", text))
    plain = (letter for letter in spelled if not unicodedata.combining(letter))
    return "".join(letter if " " <= letter <= "~" else "?" for letter in plain)


def legible(text: str) -> bool:
    """Whether anything of a text can be read once it is drawn."""
    return any(letter.isalnum() for letter in _ascii(text))


def _font(size: int) -> tuple[float, int]:
    """Scale and stroke of the font whose capitals are ``size`` pixels high, before reduction."""
    return size * OVERSAMPLING / 21, max(round(size * OVERSAMPLING * 0.135), 1)


def text_width(text: str, size: int) -> int:
    """Pixels across, of a text whose capitals are ``size`` pixels high."""
    (width, _), _ = cv2.getTextSize(_ascii(text), FONT, *_font(size))
    return math.ceil(width / OVERSAMPLING)


def write(page: Image, text: str, start: tuple[int, int], size: int, color: Color) -> int:
    """Write one line from ``start``, the left end of its base line; what leaves the page is lost. Returns its width."""
    width, x, top = text_width(text, size), start[0], start[1] - 2 * size
    mask = np.zeros((3 * size * OVERSAMPLING, (width + 2) * OVERSAMPLING), np.uint8)
    scale, stroke = _font(size)
    origin = (OVERSAMPLING, 2 * size * OVERSAMPLING)
    cv2.putText(mask, _ascii(text), origin, FONT, scale, 255, stroke, cv2.LINE_AA)
    share = cv2.resize(mask, (width + 2, 3 * size), interpolation=cv2.INTER_AREA)[..., None] / 255.0
    share = share[max(-top, 0) : page.shape[0] - top, : max(page.shape[1] - x, 0)]
    target = page[max(top, 0) : top + 3 * size, x : x + width + 2]
    target[:] = np.rint(target * (1 - share) + np.array(color) * share).astype(np.uint8)
    return width


def shorten(text: str, width: int, size: int) -> str:
    """The text, or as much of it as fits, ending in dots."""
    text = text[: max(width, 1)]  # every letter is wider than a pixel
    if text_width(text, size) <= width:
        return text
    fits = bisect.bisect_right(range(len(text)), width, key=lambda end: text_width(text[:end] + "...", size)) - 1
    return text[: max(fits, 0)].rstrip() + "..."


def wrap(text: str, width: int, size: int, limit: int = 3) -> list[str]:
    """The text in lines that fit, broken between words; what a few lines cannot hold ends in dots."""
    lines: list[str] = []
    words = text[: limit * max(width, 1)].split()
    while words:
        line = words.pop(0)
        while words and text_width(f"{line} {words[0]}", size) <= width:
            line += " " + words.pop(0)
        if len(lines) + 1 == limit and words:
            line, words = " ".join([line, *words]), []
        lines.append(shorten(line, width, size))
    return lines
