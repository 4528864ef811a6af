"""The page itself: HTML with its style, its script and its pictures inside."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.resources import files

import cv2

from boxcam._version import __version__
from boxcam.explain.browse.card import Card, Entry
from boxcam.explain.browse.text import link, text
from boxcam.explain.evidence import DETECTION
from boxcam.explain.figures import signed, without
from boxcam.explain.legend import bar, strongest_of
from boxcam.explain.names import PAGE_MARK
from boxcam.explain.render import class_color
from boxcam.plurals import counted
from boxcam.targets import LOGIT

_SORTS = {"image": "Image", "class": "Class", "score": "Score", "inside": "Share inside"}


def page(entries: Sequence[Entry]) -> Iterator[str]:
    """The page, piece by piece.

    Args:
        entries: the images, in the order in which they are shown; one at least.
    """
    boxes = sum(len(entry.cards) for entry in entries)
    one, several = entries[0].nouns
    title = f"{counted(boxes, one, several)} in {counted(len(entries), 'image')}"
    labels = sorted({card.label for entry in entries for card in entry.cards})
    style = _file("page.css") + "".join(f".c{label} i{{background:{_color(label)}}}\n" for label in labels)
    script = _file("page.js")
    policy = (
        f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)};"
        " base-uri 'none'; form-action 'none'"
    )
    yield (
        f'{PAGE_MARK}<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="generator" content="boxcam {__version__}">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="referrer" content="no-referrer">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<link rel="icon" href="data:,">\n'
        f"<title>{title} - {text(entries[0].bundle)}</title>\n<style>{style}</style>\n</head>\n<body>\n"
    )
    yield f"<header>\n<h1>{title}</h1>\n<p>{_how(entries)}</p>\n{_legend(_first(entries))}</header>\n"
    if boxes:
        yield _controls(entries, one)
        yield f'<main>\n<h2 class="unseen">{several.capitalize()}</h2>\n<ul id="boxes">\n'
        for number, entry in enumerate(entries):
            for k, card in enumerate(entry.cards):
                yield _card(entry, number, k, card)
        again = '<button type="button" id="all">Show all</button>'
        yield f'</ul>\n<p id="none" hidden>No {one} fits. {again}</p>\n</main>\n'
    yield _empty([entry for entry in entries if not entry.cards], one)
    yield f"<footer>boxcam {__version__}</footer>\n<script>{script}</script>\n</body>\n</html>\n"


def _file(name: str) -> str:
    return files("boxcam.explain.browse").joinpath(name).read_text(encoding="utf-8")


def _hash(inline: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()}'"


def _data(picture: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"


def _color(label: int) -> str:
    blue, green, red = class_color(label)
    return f"#{red:02x}{green:02x}{blue:02x}"


def _first(entries: Sequence[Entry]) -> Entry:
    """The first image with a box: without one no map tells what it is of."""
    return next((entry for entry in entries if entry.cards), entries[0])


def _how(entries: Sequence[Entry]) -> str:
    """How the maps were made; layers and targets can differ between images only if the bundle was changed meanwhile."""
    first = _first(entries)
    target = "" if first.target in (LOGIT.name, DETECTION) else f", target {first.target}"
    asked = "".join(f" {said[0].upper()}{said[1:]}." for said in first.asked)
    return text(f"Model {first.bundle}, method {first.method}, layer {first.layer}{target}.{asked}")


def _legend(entry: Entry) -> str:
    how, (_, several) = entry.look, entry.nouns
    good, data = cv2.imencode(".png", bar(how, 160, 10))
    assert good
    source = _data(data.tobytes(), "png")
    picture = f'<img alt="from the weakest to the strongest colour" width="160" height="10" src="{source}">'
    inside = " Share inside: how much of what is positive in the map lies inside the box."
    scale = (
        f"One scale for all {several} of an image" if how.scale == "common" else "Each heatmap has a scale of its own"
    )
    said = f"{scale}.{'' if entry.classifier else inside}"
    strongest = strongest_of(how, "all maps of an image")
    ends = ("against" if how.signed else "0"), f"{'for, to ' if how.signed else ''}the {strongest}"
    return f'<p class="legend">{ends[0]} {picture} {ends[1]}. {said}</p>\n'


def _controls(entries: Sequence[Entry], one: str) -> str:
    sorts = {key: word for key, word in _SORTS.items() if key != "inside" or not entries[0].classifier}
    buttons = "".join(
        f'<button type="button" data-sort="{key}" aria-pressed="{str(key == "image").lower()}">{word}'
        '<span aria-hidden="true"></span></button>'
        for key, word in sorts.items()
    )
    counts = Counter(card.name for entry in entries for card in entry.cards)
    options = "".join(
        f'<option value="{number}" data-name="{text(name)}">{text(name)} ({count})</option>'
        for number, (name, count) in enumerate(sorted(counts.items()))
    )
    return (
        '<form id="controls" role="search" aria-label="Sort and filter" hidden>\n'
        f'<div role="group" aria-label="Sort by"><span aria-hidden="true">Sort by</span>{buttons}</div>\n'
        f'<label>Class <select id="class"><option value="">all</option>{options}</select></label>\n'
        f'<label>Find <input id="text" type="search" placeholder="image or class" autocomplete="off"></label>\n'
        '<p id="shown" role="status"></p>\n</form>\n'
    )


def _card(entry: Entry, number: int, k: int, card: Card) -> str:
    inside = "" if card.inside is None else f"{card.inside:.6f}"
    of = f" · {entry.nouns[0]} {k + 1} of {len(entry.cards)}"
    height, width = card.size
    note = f'<span class="more" dir="auto">{text(card.note)}</span>' if card.note else ""
    return (
        f'<li class="c{card.label}" data-image="{number}" data-score="{card.score:.6f}" data-inside="{inside}">'
        f'<a href="{link(entry.sheet)}">'
        f'<img loading="lazy" decoding="async" width="{width}" height="{height}" alt="Heatmap"'
        f' src="{_data(card.thumbnail, "webp")}">'
        f'<span class="top"><i></i><b dir="auto">{text(card.name)}</b> <data value="{card.score:.6f}">'
        f"{card.score:.2f}</data></span>"
        f'{note}<span class="more">{_said(card)}</span>'
        f'<span class="more"><bdi>{text(entry.image)}</bdi>{of}</span></a></li>\n'
    )


def _said(card: Card) -> str:
    """What is said of a map, in the words of the sheet."""
    if said := without(card) or next(iter(signed(card)), ""):
        return said
    inside = "" if card.inside is None else f"{card.inside:.0%} of heat inside, "
    return f"{inside}peak {card.peak:.3g}"


def _empty(entries: Sequence[Entry], one: str) -> str:
    if not entries:
        return ""
    links = "".join(f'<li><a href="{link(entry.sheet)}"><bdi>{text(entry.image)}</bdi></a></li>\n' for entry in entries)
    return (
        f"<details>\n<summary>No {one} in {counted(len(entries), 'image')}</summary>\n<ul>\n{links}</ul>\n</details>\n"
    )
