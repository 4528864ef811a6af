"""Patch search: where patches lie, what is asked of the model, and that it finds what matters."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import Result

import boxcam
from boxcam.errors import ArgumentError
from boxcam.explain.methods.patch_search import patch_search
from boxcam.explain.methods.search import Patchwork, Trials
from boxcam.explain.metrics.overlap import best_score
from boxcam.explain.path import blurred
from boxcam.explain.search import PatchGrid
from tests.explain.squares import Squares

Cli = Callable[..., Result]
METHOD = "patch-search"


def square(count: int = 10, guide: Any = None, score: float = 0.9) -> Patchwork:
    """Patches on a square box, and nothing around it."""
    centres = np.indices((count, count)).reshape(2, -1).T + 0.5
    even = np.ones(count**2) if guide is None else np.asarray(guide, np.float64)
    return Patchwork(even, centres, centres / count - 0.5, 1 / count**2, score)


class Additive:
    """A model whose log-odds fall by a number for each patch that is hidden, and that counts its passes."""

    def __init__(self, effects: Any, score: float = 0.9) -> None:
        self.effects, self.start, self.asked = np.asarray(effects, np.float64), np.log(score / (1 - score)), []

    def __call__(self, chosen: Any) -> float:
        self.asked.append(chosen.copy())
        return float(1 / (1 + np.exp(self.effects[chosen].sum() - self.start)))


def blob(count: int, middle: tuple[float, float], wide: float) -> Any:
    y, x = np.indices((count, count)) + 0.5
    return np.exp(-((y - middle[0]) ** 2 + (x - middle[1]) ** 2) / 2 / wide**2).ravel()


@pytest.mark.parametrize("seed", range(4))
def test_it_finds_what_matters_where_neither_the_guide_nor_the_middle_tells(seed: int) -> None:
    """The guide is hot in one corner, and what matters lies in two others: 25 patches hold nearly all of it."""
    truth = 0.5 * (blob(10, (2, 7.5), 1.2) + blob(10, (8, 3), 1.2))
    model = Additive(truth)
    values = patch_search(square(guide=blob(10, (1.5, 1.5), 1.5)), model, Trials(40, seed))
    best = np.argsort(-values, kind="stable")[:25]
    possible = np.sort(truth)[-25:].sum()
    guided, random = truth[np.argsort(-blob(10, (1.5, 1.5), 1.5))[:25]].sum(), truth.mean() * 25
    assert truth[best].sum() > 0.75 * possible
    assert max(guided, random) < 0.4 * possible


def test_every_pass_hides_another_set_and_no_more_are_made_than_there_are() -> None:
    for passes in (1, 2, 7, 40):
        model = Additive(blob(10, (3, 3), 2))
        values = patch_search(square(), model, Trials(passes, 0))
        assert len(model.asked) == passes
        assert len({one.tobytes() for one in model.asked}) == passes
        assert all(one.sum() == 25 for one in model.asked)
        assert values.shape == (100,)
        assert (values >= 0).all()


def test_what_costs_most_of_what_was_tried_is_hottest() -> None:
    model = Additive(blob(10, (3, 6), 1.5))
    values = patch_search(square(), model, Trials(40, 0))
    left = [model(one) for one in list(model.asked)]
    best = model.asked[int(np.argmin(left))]
    assert set(np.argsort(-values, kind="stable")[:25].tolist()) == set(np.flatnonzero(best).tolist())


def test_the_same_seed_gives_the_same_map_and_a_guide_without_evidence_is_none() -> None:
    truth = blob(10, (3, 6), 1.5)
    once, again, other = (patch_search(square(), Additive(truth), Trials(20, seed)) for seed in (3, 3, 4))
    assert (once == again).all()
    assert (once != other).any()
    assert patch_search(square(guide=np.zeros(100)), Additive(truth), Trials(20, 0)).any()


def test_fewer_sets_than_passes_are_no_endless_search() -> None:
    """Two patches, of which one is hidden: there are two ways."""
    two = Patchwork(np.ones(2), np.array([[0.5, 0.5], [0.5, 1.5]]), np.array([[0, -0.25], [0, 0.25]]), 0.5, 0.9)
    model = Additive([0.1, 3.0])
    values = patch_search(two, model, Trials(40, 0))
    assert len(model.asked) == 2
    assert values[1] > values[0]


def test_patches_of_a_box_worked_out_on_paper() -> None:
    # 64 x 32 pixels: sides of sqrt(2048) / 8 = 5.66, so 6; a quarter more all round is 96 x 48: 16 x 8 patches, from
    # 40 - 16 and 50 - 8.
    image = np.zeros((200, 300, 3), np.uint8)
    patches = PatchGrid.of(np.float32([40, 50, 104, 82]), image)
    assert patches == PatchGrid(top=42, left=24, side=6, rows=8, columns=16)
    assert patches.within(image) == (slice(42, 90), slice(24, 120))
    chosen = np.zeros(128, np.bool_)
    chosen[[0, 17]] = True  # the first of the first row, the second of the second
    expected = np.zeros((48, 96), np.bool_)
    expected[0:6, 0:6] = expected[6:12, 6:12] = True
    assert (patches.pixels(chosen, image) == expected).all()


def test_what_a_search_is_told_worked_out_on_paper() -> None:
    image = np.zeros((200, 300, 3), np.uint8)
    box = np.float32([40, 50, 104, 82])
    guide = np.zeros((200, 300), np.float32)
    guide[42:48, 30:36] = 2  # the second patch of the first row: 36 pixels
    guide[0, 0] = 9  # beyond the patches
    guide[60, 60] = -5  # no evidence
    told = PatchGrid.of(box, image).patchwork(box, 0.8, guide)
    assert told.guide.tolist() == [0, 72, *[0] * 126]
    assert told.centres[17].tolist() == [1.5, 1.5]
    # Its middle is at (51, 33) in pixels, and the box's is (66, 72): -15 of 32, -39 of 64.
    assert told.offsets[17] == pytest.approx([-15 / 32, -39 / 64])
    assert told.share == pytest.approx(36 / 2048)
    assert told.score == 0.8


@pytest.mark.parametrize(
    "box", [[0, 0, 5, 5], [-3, -3, 6, 400], [295, 198, 310, 215], [10, 10, 10, 10], [0, 0, 300, 200], [0, 99, 300, 100]]
)
def test_patches_of_boxes_at_the_edge_cover_pixels_of_the_image_once(box: list[float]) -> None:
    image = np.zeros((200, 300, 3), np.uint8)
    patches = PatchGrid.of(np.float32(box), image)
    rows, columns = patches.within(image)
    assert 0 <= rows.start < rows.stop <= 200
    assert 0 <= columns.start < columns.stop <= 300
    counts = np.zeros((rows.stop - rows.start, columns.stop - columns.start), int)
    for number in range(patches.rows * patches.columns):
        only = np.zeros(patches.rows * patches.columns, np.bool_)
        only[number] = True
        counts += patches.pixels(only, image)
    assert (counts == 1).all()
    assert patches.rows * patches.columns < 2000


class TestDetector:
    """The demo detector, on pictures that its constants were not chosen by."""

    def lost(self, model: boxcam.Model, image: Any, found: boxcam.Explanation) -> float:
        """The mean share of its score that a box loses if its hottest pixels, a quarter of its area, are blurred."""
        shares = []
        for k, box in enumerate(found.detections.boxes):
            count = round(0.25 * float((box[2] - box[0]) * (box[3] - box[1])))
            hidden, order = image.copy(), np.argsort(-found.map(k).ravel(), kind="stable")[:count]
            hidden.reshape(-1, 3)[order] = blurred(image).reshape(-1, 3)[order]
            left = best_score(model.detect(hidden), box, int(found.detections.labels[k]), 0.5)
            shares.append(1 - left / float(found.detections.scores[k]))
        return float(np.mean(shares))

    @pytest.mark.parametrize("name", ["street", "saucer"])
    def test_hiding_what_it_finds_costs_the_box_far_more_than_what_its_guide_finds(
        self, name: str, signs: Path, signs_model: boxcam.Model
    ) -> None:
        image = cv2.imread(str(signs / "images" / f"{name}.jpg"))
        searched, guide = (signs_model.explain(image, method=method, score=0.3) for method in (METHOD, "hirescam"))
        assert self.lost(signs_model, image, searched) > max(0.6, 0.2 + self.lost(signs_model, image, guide))

    def test_it_makes_forty_passes_a_box_and_tells_of_each(
        self, signs: Path, signs_model: boxcam.Model, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real, passes, said = type(signs_model.runtime).forward, [], []

        def counting(self: Any, *given: Any, **more: Any) -> Any:
            passes.append(1)
            return real(self, *given, **more)

        monkeypatch.setattr(type(signs_model.runtime), "forward", counting)
        picture = signs / "images" / "street.jpg"
        found = signs_model.explain(picture, method=METHOD, top=2, progress=lambda *of: said.append(of))
        assert len(passes) == 1 + 2 * 40
        assert said == [(done, 80) for done in range(81)]
        assert (found.layer, found.engine, found.target) == ("neck", "onnx", "detection")
        assert found.values == pytest.approx(found.detections.scores)
        assert all(found.depends(k) and found.has_evidence(k) for k in range(2))

    def test_a_box_has_the_same_map_alone(self, signs: Path, signs_model: boxcam.Model) -> None:
        picture = signs / "images" / "street.jpg"
        both, one = (signs_model.explain(picture, method=METHOD, top=top, passes=6) for top in (2, 1))
        assert (both.map(0) == one.map(0)).all()

    def test_a_map_ends_with_its_patches(self, signs: Path, signs_model: boxcam.Model) -> None:
        picture = cv2.imread(str(signs / "images" / "street.jpg"))
        found = signs_model.explain(picture, method=METHOD, top=1, passes=6)
        patches, values = PatchGrid.of(found.detections.boxes[0], picture), found.map(0)
        inside = values[patches.within(picture)]
        assert np.count_nonzero(inside) == np.count_nonzero(values) > 0
        assert inside.size < values.size / 4

    def test_the_command_line(self, signs: Path, signs_bundle: Path, tmp_path: Path, cli: Cli) -> None:
        given = ["explain", signs_bundle, signs / "images" / "street.jpg", "-o", tmp_path, "--method", METHOD]
        done = cli(*given, "--top", "1", "--passes", "5", "--seed", "2", "--layer", "backbone")
        assert (done.exit_code, done.stderr) == (0, "")
        facts = json.loads((tmp_path / "street.json").read_text())
        assert (facts["passes"], facts["seed"], facts["masks"], facts["layer"]) == (5, 2, None, "backbone")
        refused = cli(*given, "--masks", "5")
        assert refused.exit_code == 1
        assert "has no masks, so --masks 5 means nothing" in refused.stderr

    @pytest.mark.parametrize(
        ("given", "said"),
        [
            ({"passes": 0}, r"passes=0 is not a whole number above 0\. Pass how many forward passes"),
            ({"target": "logit"}, r"'patch-search' explains whole boxes .* no target\. Leave out target='logit'"),
            ({"samples": 3}, r"has no samples, so samples=3 means nothing\. .*\(smooth-grad\)"),
            ({"method": "hirescam", "passes": 3}, r"has no passes, so passes=3 means nothing\. .*\(patch-search\)"),
        ],
    )
    def test_what_does_not_go_with_it_is_refused(
        self, signs_model: boxcam.Model, given: dict[str, Any], said: str
    ) -> None:
        with pytest.raises(ArgumentError, match=said):
            signs_model.prepare(**{"method": METHOD, **given})


def test_of_a_classifier_the_patches_are_those_of_the_image(tmp_path: Path) -> None:
    """The network reads four pixels, one in each quarter: blurring them is what costs the class."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", boxcam.BoxcamWarning)
        boxcam.export(
            Squares().build(tmp_path / "model.onnx"), output=tmp_path / "b", layers=["layer"], engine="onnx",
            class_names=["nothing", "thing"], preprocess=["resize=stretch", "scale=0-1", "color=RGB"],
        )  # fmt: skip
    picture = np.random.default_rng(0).integers(0, 90, (32, 32, 3), dtype=np.uint8)
    picture[8::16, 8::16] = 200
    found = boxcam.load(tmp_path / "b", threads=1).explain(picture, classes="thing", method=METHOD)
    values = found.map(0)
    assert found.parts[0][0].grid.cell_height == 4
    read = [values[y, x] for y in (8, 24) for x in (8, 24)]
    assert np.mean(read) > np.quantile(values, 0.75)


def test_a_box_that_hiding_costs_nothing_has_an_empty_map() -> None:
    model = Additive(np.zeros(100))
    assert not patch_search(square(), model, Trials(10, 0)).any()
    assert len(model.asked) == 10
