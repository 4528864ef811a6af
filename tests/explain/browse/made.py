"""Entries made by hand, and pages of them that are read as a browser reads them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

import cv2
import numpy as np

from boxcam.explain.browse.card import Card, Entry
from boxcam.explain.browse.page import page

CLASSES = ("stop", "give way", "speed limit", "no entry", "pedestrian crossing")

NASTY = (
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "</style>",
    "<!--",
    "]]>",
    "&lt;b&gt;",
    "\"'><img src=x onerror=alert(1)>",
    "' onclick='alert(1)",
    "javascript:alert(1)",
    "#?%2e%2e&x=1",
    "a\u202egpj.exe",
    "a\u2066b\u200fc",
    "caf\udce9",
    "a\nb\tc\x00d\x1b[31m",
    " \u00a0 ",
    "Größe 日本語 🚲",
)
"""Names that would do something if they were taken for more than words."""


@functools.cache
def picture(number: int = 0) -> bytes:
    """A thumbnail of one colour."""
    color = [(number * step) % 256 for step in (53, 101, 197)]
    good, data = cv2.imencode(".webp", np.full((180, 240, 3), color, np.uint8))
    assert good
    return data.tobytes()


def card(name: str = "stop", score: float = 0.9, inside: float | None = 0.5, **more: Any) -> Card:
    given: dict[str, Any] = {"label": 0, "peak": 1.5, "depends": True, "thumbnail": picture(), **more}
    return Card(name=name, score=score, inside=inside, **given)


def entry(image: str = "street.jpg", *cards: Card, **more: Any) -> Entry:
    given = {"bundle": "signs.boxcam", "method": "hirescam", "layer": "neck", "target": "logit", "classifier": False}
    stem = image.rpartition(".")[0] or image
    return Entry(image=image, sheet=f"{stem}.png", cards=list(cards), **{**given, **more})


def many(boxes: int, each: int = 10) -> list[Entry]:
    """That many boxes, whose scores and shares are all different and in no order."""
    cards = [
        card(
            CLASSES[k % len(CLASSES)],
            (k * 7919 % boxes) / boxes,
            None if k % 17 == 16 else (k * 104729 % boxes) / boxes,
            label=k % len(CLASSES),
            thumbnail=picture(k % 100),
        )
        for k in range(boxes)
    ]
    return [entry(f"image-{start // each:04}.jpg", *cards[start : start + each]) for start in range(0, boxes, each)]


def written(entries: Sequence[Entry]) -> str:
    return "".join(page(entries))


@dataclass
class Element:
    tag: str
    attributes: dict[str, str | None]
    text: str = ""


@dataclass
class Reader(HTMLParser):
    """The elements of a page, each with all text inside of it."""

    elements: list[Element] = field(default_factory=list)
    open: list[Element] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(Element(tag, dict(attrs)))
        if tag not in {"meta", "link", "img", "input"}:
            self.open.append(self.elements[-1])

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        for element in self.open:
            element.text += data


def read(text: str) -> list[Element]:
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    return reader.elements
