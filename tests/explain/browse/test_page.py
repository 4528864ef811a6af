"""The page of all boxes: what it says, and that names of files and classes are words in it and nothing else."""

from __future__ import annotations

import base64
import hashlib
import os
import re

import pytest

from boxcam.explain.browse.text import link, text
from boxcam.explain.names import PAGE_MARK
from tests.explain.browse.made import NASTY, Element, card, entry, many, read, written


def cards_of(elements: list[Element]) -> list[str]:
    return [element.text for element in elements if element.tag == "a" and element.text]


def test_a_card_says_what_is_to_be_known_of_a_box() -> None:
    elements = read(written([entry("street.jpg", card("stop", 0.987, 0.843), card("no entry", 0.5, 0.1, label=3))]))
    first, second = cards_of(elements)
    assert first == "stop 0.9984% of heat inside, peak 1.5street.jpg · box 1 of 2"
    assert second == "no entry 0.5010% of heat inside, peak 1.5street.jpg · box 2 of 2"
    links = [element.attributes["href"] for element in elements if element.tag == "a"]
    assert links == ["street.png", "street.png"]
    items = [element.attributes for element in elements if element.tag == "li"]
    assert items[0] == {"class": "c0", "data-image": "0", "data-score": "0.987000", "data-inside": "0.843000"}
    (title,) = (element.text for element in elements if element.tag == "h1")
    assert title == "2 boxes in 1 image"
    assert "Model signs.boxcam, method hirescam, layer neck." in (e.text for e in elements if e.tag == "p")


def test_a_map_without_evidence_says_so_and_one_that_cannot_have_any_says_why() -> None:
    boxes = [card(peak=0.0, inside=None), card(peak=0.0, inside=None, depends=False)]
    first, second = cards_of(read(written([entry("a.jpg", *boxes)])))
    assert "empty map: no positive value" in first
    assert "does not depend on this layer" in second
    assert "peak" not in first + second


def test_a_classifier_has_classes_and_no_share() -> None:
    page = written([entry("a.jpg", card("cat", 0.7, None), classifier=True)])
    elements = read(page)
    assert [e.text for e in elements if e.tag == "h1"] == ["1 class in 1 image"]
    assert cards_of(elements) == ["cat 0.70peak 1.5a.jpg · class 1 of 1"]
    assert not re.search("share inside|of heat", page.split("<script>")[0], re.IGNORECASE)


def test_images_without_boxes_are_listed_with_their_sheets() -> None:
    elements = read(written([entry("a.jpg", card()), entry("b.jpg"), entry("c.jpg")]))
    (summary,) = (element.text for element in elements if element.tag == "summary")
    assert summary == "No box in 2 images"
    assert [e.attributes["href"] for e in elements if e.tag == "a"] == ["a.png", "b.png", "c.png"]


def test_a_run_without_any_box_has_a_page_that_says_so() -> None:
    elements = read(written([entry("a.jpg")]))
    assert [e.text for e in elements if e.tag in ("h1", "summary")] == ["0 boxes in 1 image", "No box in 1 image"]
    assert not any(e.attributes.get("id") == "boxes" for e in elements)


def test_classes_can_be_chosen_with_how_many_boxes_they_have() -> None:
    boxes = [card("stop"), card("car"), card("stop")]
    elements = read(written([entry("a.jpg", *boxes)]))
    assert [e.text for e in elements if e.tag == "option"] == ["all", "car (1)", "stop (2)"]
    assert [e.attributes.get("data-name") for e in elements if e.tag == "option"] == [None, "car", "stop"]


def test_everything_that_can_be_used_has_a_name() -> None:
    elements = read(written(many(30)))
    for element in elements:
        if element.tag == "img":
            assert element.attributes["alt"]
        if element.tag in ("button", "label", "a", "summary"):
            assert element.text.strip()
    inside_labels = sum(element.tag in ("select", "input") for element in elements)
    assert sum(element.tag == "label" for element in elements) == inside_labels == 2
    (root,) = (element for element in elements if element.tag == "html")
    assert root.attributes == {"lang": "en"}


@pytest.mark.parametrize("name", NASTY)
def test_names_are_words_and_nothing_else(name: str) -> None:
    plain, nasty = (
        written([entry(f"{word}.jpg", card(word)), entry(f"{word}-2.jpg", bundle=word, layer=word)])
        for word in ("plain", name)
    )
    nasty.encode()  # it is UTF-8 whatever the names are
    mine, theirs = read(nasty), read(plain)
    assert [(e.tag, sorted(e.attributes)) for e in mine] == [(e.tag, sorted(e.attributes)) for e in theirs]
    assert [e.text for e in mine if e.tag == "script"] == [e.text for e in theirs if e.tag == "script"]
    shown = re.sub(r"[\n\t\x00\x1b\u202e\u2066\u200f\udce9]", lambda found: f"\\u{ord(found[0]):04x}", name)
    assert [e.text for e in mine if e.tag == "b"] == [shown]
    assert shown + ".jpg" in [e.text for e in mine if e.tag == "bdi"]


@pytest.mark.parametrize("name", NASTY)
def test_a_link_leads_to_the_file_in_the_folder_and_nowhere_else(name: str) -> None:
    address = link(name)
    assert re.fullmatch(r"[A-Za-z0-9._~%-]+", address)
    assert re.sub("%(..)", lambda found: chr(int(found[1], 16)), address).encode("latin-1") == os.fsencode(name)


def test_what_cannot_be_seen_is_escaped_and_what_can_stays() -> None:
    assert text("a\u202eb\ufeffc\x7f") == "a\\u202eb\\ufeffc\\u007f"
    assert text("Größe 日本語 🚲 a&b") == "Größe 日本語 🚲 a&amp;b"


def test_nothing_is_allowed_but_what_the_page_holds() -> None:
    page = written(many(30))
    elements = read(page)
    (policy,) = (
        str(e.attributes["content"]) for e in elements if e.attributes.get("http-equiv") == "Content-Security-Policy"
    )
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert (rules["img-src"], rules["base-uri"], rules["form-action"]) == ("data:", "'none'", "'none'")
    assert set(rules) == {"default-src", "img-src", "style-src", "script-src", "base-uri", "form-action"}
    for tag in ("style", "script"):
        (inline,) = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert rules[f"{tag}-src"] == f"'sha256-{digest}'"
    assert not re.search(r"\bhttps?:|\burl\(|@import|\bstyle=|\son\w+=", page)
    sources = [str(e.attributes["src"]) for e in elements if "src" in e.attributes]
    assert len(sources) == 31
    assert all(source.startswith("data:image/") for source in sources)


def test_a_page_is_known_again_by_its_beginning_and_says_first_that_it_is_utf_8() -> None:
    page = written(many(3000))
    assert page.startswith(f'{PAGE_MARK}<html lang="en">\n<head>\n<meta charset="utf-8">\n')
