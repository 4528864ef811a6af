"""``index.html`` of a run: it is there when results are, whole or not at all, and replaces nothing but its like."""

from __future__ import annotations

import base64
import os
import re
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import Result

import boxcam
from boxcam.commands.demo import DATA
from boxcam.errors import OutputError
from boxcam.explain.browse.index import Index
from boxcam.explain.files import make_folder
from boxcam.explain.names import PAGE
from tests.explain.browse.made import read
from tests.explain.made import AGAINST, EVEN, LEFT, explanation

Cli = Callable[..., Result]


def pictures(page: str) -> list[np.ndarray]:
    """The thumbnails of a page, as a browser sees them."""
    found = re.findall("data:image/webp;base64,([A-Za-z0-9+/=]+)", page)
    return [cv2.imdecode(np.frombuffer(base64.b64decode(one), np.uint8), cv2.IMREAD_COLOR) for one in found]


def test_a_run_leaves_a_page_of_all_its_boxes(cli: Cli, signs_bundle: Path, signs: Path, tmp_path: Path) -> None:
    done = cli("explain", signs_bundle, signs / "images", "-o", tmp_path, "--top", "2")
    assert done.exit_code == 0
    assert done.stdout.splitlines()[-1] == f"browse them in {tmp_path / PAGE}"
    page = (tmp_path / PAGE).read_text(encoding="utf-8")
    elements = read(page)
    assert [e.text for e in elements if e.tag == "h1"] == ["12 boxes in 6 images"]
    links = [str(e.attributes["href"]) for e in elements if e.tag == "a"]
    images = sorted(file.stem for file in (signs / "images").glob("*.jpg"))
    assert links == [f"{image}.png" for image in images for _ in range(2)]
    assert all((tmp_path / name).is_file() for name in links)
    thumbnails = pictures(page)
    assert len(thumbnails) == 12
    for thumbnail in thumbnails:
        assert thumbnail.shape[0] <= 180
        assert thumbnail.shape[1] <= 240
        assert len({tuple(color) for color in thumbnail.reshape(-1, 3).tolist()}) > 1000  # a photograph under heat
    assert len(page) < 12 * 8000 + 20_000


def test_a_later_run_has_a_page_of_its_own(cli: Cli, signs_bundle: Path, signs: Path, tmp_path: Path) -> None:
    for name in ("cat", "street"):
        assert cli("explain", signs_bundle, signs / "images" / f"{name}.jpg", "-o", tmp_path).exit_code == 0
    page = (tmp_path / PAGE).read_text(encoding="utf-8")
    assert "street.png" in page
    assert "cat.png" not in page
    assert (tmp_path / "cat.png").is_file()  # its results stay


def test_a_page_of_someone_elses_is_refused_before_any_work(cli: Cli, signs: Path, tmp_path: Path) -> None:
    (tmp_path / PAGE).write_text("<p>mine</p>")
    done = cli("explain", tmp_path / "no.boxcam", signs / "images", "-o", tmp_path)
    assert done.exit_code == 1
    assert done.stderr == (
        f"boxcam: the page of all boxes would replace {tmp_path / PAGE}, which boxcam did not write. Move it away, or"
        " choose another folder.\n"
    )
    assert os.listdir(tmp_path) == [PAGE]
    assert (tmp_path / PAGE).read_text() == "<p>mine</p>"


@pytest.mark.parametrize("kind", ["folder", "dangling link", "empty", "pipe"])
def test_whatever_else_is_in_its_place_stays(tmp_path: Path, kind: str) -> None:
    path = tmp_path / PAGE
    if kind == "folder":
        path.mkdir()
    elif kind == "dangling link":
        path.symlink_to(tmp_path / "none")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.touch()
    with pytest.raises(OutputError, match="the page of all boxes would replace"):
        Index(tmp_path)
    assert os.listdir(tmp_path) == [PAGE]


def test_what_came_into_its_place_meanwhile_stays_too(tmp_path: Path) -> None:
    index = Index(tmp_path)
    index.save(explanation(EVEN), "a")
    (tmp_path / PAGE).write_text("mine")
    with pytest.raises(OutputError, match="which boxcam did not write"):
        index.write()
    assert (tmp_path / PAGE).read_text() == "mine"


def test_an_image_whose_results_cannot_be_written_is_not_on_the_page(tmp_path: Path) -> None:
    index = Index(tmp_path)
    index.save(explanation(EVEN, LEFT), "a")
    (tmp_path / "b.npz").mkdir()
    (tmp_path / "b.json").write_text('{"boxcam": "0", "detections": []}')
    with pytest.raises(OutputError):
        index.save(explanation(EVEN, AGAINST), "b")
    assert index.write() == tmp_path / PAGE
    elements = read((tmp_path / PAGE).read_text(encoding="utf-8"))
    assert [e.attributes["href"] for e in elements if e.tag == "a"] == ["a.png", "a.png"]


def test_it_replaces_results_of_boxcams_only(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("mine")
    with pytest.raises(OutputError, match="which boxcam did not write"):
        Index(tmp_path).save(explanation(EVEN), "a")


def test_without_an_image_there_is_no_page(cli: Cli, signs_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_text("no")
    done = cli("explain", signs_bundle, tmp_path / "broken.jpg", "-o", tmp_path / "out")
    assert done.exit_code == 1
    assert "browse" not in done.stdout
    assert not (tmp_path / "out" / PAGE).exists()
    assert Index(tmp_path).write() is None


def test_a_page_that_cannot_be_written_whole_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = Index(tmp_path)
    index.save(explanation(EVEN), "a")

    def full(entries: object) -> object:
        yield "<!doctype html>"
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("boxcam.explain.browse.index.page", full)
    with pytest.raises(OutputError, match="No space left on device"):
        index.write()
    assert sorted(os.listdir(tmp_path)) == ["a.json", "a.npz", "a.png"]


def test_a_map_that_lies_outside_of_the_box_can_be_seen(tmp_path: Path) -> None:
    """A thumbnail of a box in a corner, whose map is lit in the other one, shows both."""
    found = explanation([[0, 0, 0, 0], [0, 0, 0, 1]])  # the box is the upper left, the map the lower right
    index = Index(tmp_path)
    index.save(found, "a")
    index.write()
    (thumbnail,) = pictures((tmp_path / PAGE).read_text(encoding="utf-8"))
    height, width = thumbnail.shape[:2]
    assert height / width == pytest.approx(4 / 8, rel=0.02)  # the whole image
    blue, _, red = thumbnail[height * 7 // 8, width * 7 // 8].astype(int)
    assert red > blue + 60


def test_only_thumbnails_are_kept(tmp_path: Path) -> None:
    """After a large image no more than a few kilobytes a box."""
    import dataclasses

    large = dataclasses.replace(explanation(EVEN, LEFT), image=np.zeros((1500, 2000, 3), np.uint8))
    index = Index(tmp_path)
    index.save(large, "warm-up")
    tracemalloc.start()
    try:
        for name in "abc":
            index.save(large, name)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 200_000  # of 9 MB for an image, and 12 MB for a map


def test_the_page_is_not_made_of_what_quiet_leaves_out(cli: Cli, signs_bundle: Path, cat: Path, tmp_path: Path) -> None:
    done = cli("explain", signs_bundle, cat, "-o", tmp_path, "-q")
    assert (done.exit_code, done.output) == (0, "")
    assert (tmp_path / PAGE).is_file()


def test_a_card_says_why_a_box_was_not_reported_and_what_its_class_is_contrasted_with(tmp_path: Path) -> None:
    questions: tuple[dict[str, Any], ...] = (
        {"at": (159, 8, 237, 89), "classes": "stop"},
        {"against": "runner-up", "top": 1},
    )
    for number, asked in enumerate(questions):
        index = Index(make_folder(tmp_path / str(number)))
        index.save(boxcam.explain(DATA / "signs", DATA / "images" / "street.jpg", **asked), "street")
        path = index.write()
        assert path is not None
        written = path.read_text(encoding="utf-8")
        assert re.search(("Another class won: box 1 ", ">against (give way|speed limit)<")[number], written)
        assert '<p class="legend">against <img' in written
