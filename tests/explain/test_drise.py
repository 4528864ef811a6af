"""D-RISE: weights, masks and maps against numbers worked out by hand."""

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
from boxcam.explain.class_scores import ClassScores
from boxcam.explain.evidence import DETECTION
from boxcam.explain.masks import Mask, Masks
from boxcam.explain.methods.drise import drise
from boxcam.explain.methods.perturbation import Objects, overlaps
from boxcam.explain.perturbation import HiddenImage, look
from boxcam.runtime.preprocess import prepare
from tests.explain.squares import Squares

Cli = Callable[..., Result]
METHOD = "d-rise"


def objects(boxes: list[list[float]], labels: list[int], scores: list[float], classes: Any = None) -> Objects:
    return Objects(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(labels, np.int64),
        np.array(scores, np.float32),
        None if classes is None else np.array(classes, np.float64),
    )


def test_a_weight_is_overlap_times_cosine_times_objectness() -> None:
    explained = objects([[0, 0, 4, 4], [8, 8, 10, 10]], [0, 1], [0.8, 0.8], [[0.8, 0.0], [0.6, 0.8]])
    found = objects(
        [[0, 0, 4, 2], [0, 0, 4, 4], [9, 8, 11, 10]], [0, 1, 1], [0.3, 0.4, 0.4], [[0.6, 0], [0, 0.4], [0, 0.8]]
    )
    # Objectness: 0.3 / 0.6, 0.4 / 0.4, 0.4 / 0.8. The first box: half of the first one, 1/2 · 1 · 1/2, as the second is
    # of another class altogether. The second box: a third of the third one, whose cosine is 0.8: 1/3 · 0.8 · 1/2.
    assert drise(explained, found) == pytest.approx([0.25, 0.4 / 3], rel=1e-6)


def test_without_class_scores_a_weight_is_overlap_times_the_score_of_the_same_class() -> None:
    explained = objects([[0, 0, 4, 4], [8, 8, 10, 10]], [0, 1], [0.8, 0.8])
    found = objects([[0, 0, 4, 2], [0, 0, 4, 4], [9, 8, 11, 10]], [0, 1, 1], [0.5, 0.75, 0.25])
    assert drise(explained, found) == pytest.approx([0.25, 0.25 / 3], rel=1e-6)


def test_where_nothing_is_left_the_weight_is_zero_and_without_an_area_there_is_no_overlap() -> None:
    explained = objects([[0, 0, 4, 4]], [0], [0.8], [[0.8, 0.1]])
    assert drise(explained, objects([], [], [], np.zeros((0, 2)))).tolist() == [0]
    assert drise(explained, objects([[2, 2, 2, 2]], [0], [0.9], [[0.9, 0]])).tolist() == [0]
    assert drise(explained, objects([[0, 0, 4, 4]], [0], [0.0], [[0, 0]])).tolist() == [0]
    assert overlaps(np.float32([[1, 1, 1, 1]]), np.float32([[1, 1, 1, 1]])).tolist() == [[0]]


def by_hand(masks: Masks, mask: Mask) -> Any:
    """A mask pixel by pixel: bilinear between the centres of cells that are (n + 1) / n as large, shifted."""
    (down, across), n = masks.cell, masks.cells
    found = np.zeros((masks.height, masks.width))
    for y in range(masks.height):
        for x in range(masks.width):
            places = [
                min(max((pixel + shift + 0.5) * n / ((n + 1) * size) - 0.5, 0), n - 1)
                for pixel, shift, size in zip((y, x), mask.shift, (down, across), strict=True)
            ]
            (i, a), (j, b) = ((int(place), place % 1) for place in places)
            i2, j2 = min(i + 1, n - 1), min(j + 1, n - 1)
            upper = (1 - b) * mask.cells[i, j] + b * mask.cells[i, j2]
            lower = (1 - b) * mask.cells[i2, j] + b * mask.cells[i2, j2]
            found[y, x] = (1 - a) * upper + a * lower
    return found


@pytest.mark.parametrize(("height", "width"), [(32, 32), (35, 20), (16, 7)])
def test_masks_pixel_by_pixel(height: int, width: int) -> None:
    masks = Masks(height, width, cells=4)
    for mask in masks.draw(5, seed=3):
        assert masks.enlarge(mask) == pytest.approx(by_hand(masks, mask), abs=1e-5)


def test_a_row_of_a_mask_worked_out_on_paper() -> None:
    # Two cells become three of 2 pixels: 6 pixels, of which the centres lie at 1/6 - 1/2, 3/6 - 1/2, … of a cell.
    masks = Masks(1, 4, cells=2)
    cells = np.array([[0, 1], [0, 1]], np.float32)
    assert masks.enlarge(Mask(cells, (0, 0)))[0] == pytest.approx([0, 0, 1 / 3, 2 / 3], abs=1e-6)
    assert masks.enlarge(Mask(cells, (0, 1)))[0] == pytest.approx([0, 1 / 3, 2 / 3, 1], abs=1e-6)


def test_masks_are_those_of_their_seed_and_half_of_their_cells_are_open() -> None:
    masks = Masks(64, 48)
    few, many = list(masks.draw(3, 7)), list(masks.draw(400, 7))
    assert all(
        (one.cells == other.cells).all() and one.shift == other.shift for one, other in zip(few, many[:3], strict=True)
    )
    assert any((one.cells != other.cells).any() for one, other in zip(few, masks.draw(3, 8), strict=True))
    assert np.mean([mask.cells for mask in many]) == pytest.approx(0.5, abs=0.01)
    assert {mask.shift[0] for mask in many} == set(range(4))
    assert {mask.shift[1] for mask in many} == set(range(3))
    assert {mask.cells.shape for mask in many} == {(16, 16)}


@pytest.mark.parametrize(("height", "width"), [(37, 50), (90, 20)])
def test_sums_of_masks_are_those_of_their_pixels(height: int, width: int) -> None:
    masks, rng = Masks(height, width), np.random.default_rng(0)
    drawn, weights = list(masks.draw(40, 1)), rng.random((3, 40))
    weights[:, 4] = 0
    expected = np.einsum("kn,nyx->kyx", weights, [masks.enlarge(mask) for mask in drawn])
    assert masks.add_up(drawn, weights) == pytest.approx(expected, rel=1e-4)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drise")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", boxcam.BoxcamWarning)
        boxcam.export(
            Squares().build(folder / "model.onnx"), output=folder / "b", layers=["layer"], engine="onnx",
            class_names=["nothing", "thing"], preprocess=["resize=stretch", "scale=0-1", "color=RGB"],
        )  # fmt: skip
    return folder / "b"


@pytest.fixture
def picture() -> Any:
    return np.random.default_rng(0).integers(0, 90, (32, 32, 3), dtype=np.uint8)


def test_of_a_classifier_it_is_the_mean_of_the_masks_by_their_scores(bundle: Path, picture: Any) -> None:
    """The network reads four pixels, whose colours it adds up and squares: all by hand, mask by mask."""
    found = boxcam.load(bundle, threads=1).explain(picture, classes="thing", method=METHOD, masks=60, seed=5)
    masks, total, weights = Masks(32, 32), np.zeros((32, 32)), []
    for mask in masks.draw(60, 5):
        seen = masks.enlarge(mask)
        cells = picture[8::16, 8::16].sum(-1) / 255 * seen[8::16, 8::16]
        logit = (cells**2).sum()
        weights.append(np.exp(logit) / (1 + np.exp(logit)))
        total += weights[-1] * seen
    expected = (total - total.min()) / (60 * 0.5)
    assert np.ptp(weights) > 0.1
    assert found.map(0) == pytest.approx(expected, abs=1e-4)
    assert (found.method, found.layer, found.engine, found.target) == (METHOD, "image", "none", DETECTION)
    assert found.values == pytest.approx(found.detections.scores)


def test_what_pads_the_image_is_not_hidden_and_what_is_hidden_is_black() -> None:
    from dataclasses import replace

    from boxcam.bundle import Preprocess

    spec = Preprocess(
        height=40, width=64, fit_height=40, fit_width=64, resize="fit", pad_to="center", pad_value=(114.0,) * 3,
        pad_before_normalize=True, mean=(100.0, 50.0, 20.0), std=(2.0, 4.0, 5.0), color="RGB",
    )  # fmt: skip
    image = np.random.default_rng(0).integers(0, 256, (20, 16, 3), dtype=np.uint8)
    shut, open_ = (Mask(np.full((16, 16), value, np.float32), (0, 0)) for value in (0, 1))
    for one in (spec, replace(spec, layout="NHWC")):
        tensor, place = prepare(image, one)
        hidden = HiddenImage(tensor, place, one)
        assert hidden.behind(open_) == pytest.approx(tensor, abs=1e-4)
        black = prepare(np.zeros_like(image), one)[0]
        assert hidden.behind(shut) == pytest.approx(black, abs=1e-4)
        assert hidden.corner == (0, 16)
    whole = replace(spec, dtype="uint8", mean=(0.0,) * 3, std=(1.0,) * 3)
    tensor, place = prepare(image, whole)
    half = HiddenImage(tensor, place, whole).behind(Mask(np.full((16, 16), 0.5, np.float32), (0, 0)))
    assert half.dtype == np.uint8
    assert (half[..., 16:48] == np.rint(tensor[..., 16:48] * 0.5)).all()
    assert (half[..., :16] == 114).all()


def test_an_image_that_is_cut_has_its_map_where_it_was_seen(bundle: Path) -> None:
    from dataclasses import replace

    model = boxcam.load(bundle, threads=1)
    spec = replace(model.manifest.preprocess, resize="cover", pad_to="center")
    model.runtime.manifest = replace(model.manifest, preprocess=spec)
    wide = np.random.default_rng(0).integers(0, 90, (32, 64, 3), dtype=np.uint8)
    values = model.explain(wide, classes="thing", method=METHOD, masks=30).map(0)
    assert values[:, 16:48].any()
    assert not values[:, :16].any()
    assert not values[:, 48:].any()


class TestDetector:
    """The demo detector: a RetinaNet of two anchors, whose classes lie along the channels of four maps."""

    def explain(self, model: boxcam.Model, signs: Path, **given: Any) -> boxcam.Explanation:
        return model.explain(signs / "images" / "street.jpg", method=METHOD, **given)

    def test_the_class_scores_are_those_that_it_reports(self, signs: Path, signs_model: boxcam.Model) -> None:
        from boxcam.runtime.pixels import load_image

        seen, _ = look(signs_model.runtime, load_image(str(signs / "images" / "street.jpg"), "BGR", 3))
        classes = ClassScores(signs_model.manifest, [seen])
        vectors, found = classes.of(seen), seen.detections
        assert vectors is not None
        assert vectors.shape == (len(found), 5)
        assert vectors[np.arange(len(found)), found.labels] == pytest.approx(found.scores, abs=1e-5)
        assert (vectors.argmax(1) == found.labels)[found.scores > 0.5].all()

    def test_all_boxes_share_the_forward_passes(
        self, signs: Path, signs_model: boxcam.Model, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real, passes, said = type(signs_model.runtime).forward, [], []

        def counting(self: Any, *given: Any, **more: Any) -> Any:
            passes.append(1)
            return real(self, *given, **more)

        monkeypatch.setattr(type(signs_model.runtime), "forward", counting)
        found = self.explain(signs_model, signs, masks=40, progress=lambda *of: said.append(of))
        assert len(found) > 3
        assert len(passes) == 41
        assert said == [(done, 40) for done in range(41)]

    def test_the_same_seed_gives_the_same_maps(self, signs: Path, signs_model: boxcam.Model) -> None:
        once, again = (self.explain(signs_model, signs, masks=30, top=2).maps for _ in range(2))
        assert (once == again).all()
        assert (once != self.explain(signs_model, signs, masks=30, top=2, seed=1).maps).any()
        alone = self.explain(signs_model, signs, masks=30, top=1).maps
        assert alone[0] == pytest.approx(once[0], rel=1e-5)

    def test_a_box_is_hot_where_it_is(self, signs: Path, signs_model: boxcam.Model) -> None:
        found = self.explain(signs_model, signs, masks=300, top=3)
        for values, (x1, y1, x2, y2) in zip(found.maps, found.detections.boxes.astype(int), strict=True):
            assert values[y1:y2, x1:x2].mean() > 1.1 * values.mean()

    def test_without_logits_it_says_that_weights_are_made_of_scores(
        self, signs: Path, signs_model: boxcam.Model, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ClassScores, "_find", lambda *given: None)
        monkeypatch.setattr(ClassScores, "_written", lambda *given: {})
        with pytest.warns(
            boxcam.BoxcamWarning, match=r"does not tell which .* by IoU times the score of the same class"
        ) as told:
            by_scores = self.explain(signs_model, signs, masks=20, top=1)
        assert [one.filename for one in told] == [__file__]  # where the model is asked to explain
        monkeypatch.setattr(ClassScores, "names", staticmethod(lambda model: ()))
        with pytest.warns(boxcam.BoxcamWarning, match=r"earlier boxcam .*\(export the model again\)"):
            again = self.explain(signs_model, signs, masks=20, top=1)
        assert (by_scores.maps == again.maps).all()

    def test_no_box_no_masks(self, signs: Path, signs_model: boxcam.Model) -> None:
        found = self.explain(signs_model, signs, score=1.0, masks=3)
        assert len(found) == 0
        assert found.facts()["masks"] == 3


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"layer": "layer"}, r"method 'd-rise' .* has no layer\. Leave out layer='layer', or pass another method="),
        ({"target": "logit"}, r"it has no target\. Leave out target='logit'"),
        ({"engine": "onnx"}, r"it has no engine\. Leave out engine='onnx'"),
        ({"masks": 0}, r"masks=0 is not a whole number above 0\. Pass how many"),
        ({"masks": 2.5}, r"masks=2\.5 is not a whole number above 0"),
        ({"seed": -1}, r"seed=-1 is not a whole number, 0 or above"),
        ({"method": "gradcam", "masks": 5}, r"'gradcam' has no masks, so masks=5 means nothing\. .*d-rise"),
        (
            {"method": "hirescam", "seed": 0},
            r"'hirescam' has no seed, so seed=0 means nothing\. .*smooth-grad, patch-search, d-rise",
        ),
    ],
)
def test_what_does_not_go_with_it_is_refused(bundle: Path, picture: Any, given: dict[str, Any], said: str) -> None:
    model = boxcam.load(bundle, threads=1)
    for use in (model.prepare, lambda **options: model.explain(picture, **options)):
        with pytest.raises(ArgumentError, match=said):
            use(**{"method": METHOD, **given})


def test_the_layer_image_is_its_own(bundle: Path, picture: Any) -> None:
    assert boxcam.load(bundle).explain(picture, method=METHOD, layer="image", masks=2, top=1).layer == "image"
    assert METHOD in boxcam.load(bundle).methods()


def test_the_command_line(bundle: Path, picture: Any, tmp_path: Path, cli: Cli) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    given = ["explain", bundle, tmp_path / "a.png", "-o", tmp_path / "o", "--class", "thing", "--method", METHOD]
    done = cli(*given, "--masks", "20", "--seed", "4")
    assert (done.exit_code, done.stderr) == (0, "")
    facts = json.loads((tmp_path / "o" / "a.json").read_text())
    assert (facts["masks"], facts["seed"], facts["engine"], facts["target"]) == (20, 4, "none", DETECTION)
    values = np.load(tmp_path / "o" / "a.npz")["maps"]
    same = boxcam.explain(str(bundle), picture, classes="thing", method=METHOD, masks=20, seed=4)
    assert values == pytest.approx(same.maps)
    assert cli(*given, "--masks", "0").exit_code == 2
    refused = cli(*given, "--layer", "layer")
    assert refused.exit_code == 1
    assert "Leave out --layer" in refused.stderr
