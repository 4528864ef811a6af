"""Methods and layers compared: each cell is what explaining that box alone gives, from one forward pass for all."""

from __future__ import annotations

import dataclasses
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

import boxcam
from boxcam.errors import ArgumentError, InputError, RunError, UnknownLayerError, UnknownNameError
from boxcam.explain.browse.view import fitted
from boxcam.explain.comparison import body
from boxcam.explain.comparison.body import caption
from boxcam.explain.comparison.compare import SIZE, Comparison, compare
from boxcam.explain.comparison.grid import draw_grid
from boxcam.explain.methods import METHODS, Perturbation
from boxcam.explain.options import Options
from boxcam.runtime.model import Model
from boxcam.types import Image


def made(model: boxcam.Model, image: Any, *, classes: Any = None, **more: Any) -> Comparison:
    return compare(model.runtime, image, Options(classes=classes), **more)


@pytest.fixture(scope="module")
def model(signs_bundle: Path) -> boxcam.Model:
    return boxcam.load(signs_bundle, threads=1)


def test_each_cell_has_the_figures_that_explaining_gives(model: boxcam.Model, cat: Path) -> None:
    found = made(model, cat, box=2, methods=["gradcam", "hirescam", "integrated-gradients", "finer-hirescam"])
    assert found.layers == model.layers
    assert [row[0].method for row in found.rows] == ["gradcam", "hirescam", "integrated-gradients", "finer-hirescam"]
    maps = 0
    for row in found.rows:
        for cell in row:
            if cell.facts is None:
                with pytest.raises(boxcam.BoxcamError) as caught:
                    model.explain(cat, method=cell.method, layer=cell.layer, rank=2)
                assert str(caught.value) == cell.why
                continue
            alone = model.explain(cat, method=cell.method, layer=cell.layer, rank=2)
            said = alone.facts()["detections"][0]
            assert cell.facts.keys() == said.keys()
            assert cell.facts["box"] == said["box"]
            assert cell.facts["peak"] == pytest.approx(said["peak"], rel=1e-4)
            assert cell.facts["share_inside_box"] == pytest.approx(said["share_inside_box"], abs=1e-4)
            values = alone.map(0)
            assert cell.peak_at is not None
            assert values[cell.peak_at] == pytest.approx(values.max(), rel=1e-4)
            maps += 1
    assert maps >= 4


def test_the_model_runs_once_for_all_methods_of_one_pass(
    model: boxcam.Model, cat: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = []
    whole = Model.forward
    monkeypatch.setattr(Model, "forward", lambda self, *a, **k: (runs.append(1), whole(self, *a, **k))[1])
    found = made(model, cat)
    assert sum(cell.facts is not None for row in found.rows for cell in row) > 10
    assert len(runs) == 1


def test_by_default_it_is_all_methods_of_gradients_and_one_pass_that_the_bundle_can_do(
    model: boxcam.Model, cat: Path
) -> None:
    names = [row[0].method for row in made(model, cat).rows]
    usable = [name for name in model.methods() if METHODS[name].passes == "1" and METHODS[name].reads != "none"]
    assert names[:4] == ["gradcam", "hirescam", "gradcam++", "xgradcam"]
    assert set(usable) <= set(names) <= {*usable, "eigencam"}  # which reads no gradient, and is as cheap
    assert not {"d-rise", "patch-search", "score-cam", "integrated-gradients", "smooth-grad"} & set(names)


def test_what_cannot_be_done_is_said_in_a_few_words(model: boxcam.Model, cat: Path) -> None:
    found = made(model, cat, methods=["hirescam", "saliency", "gradcam"], layers=["neck"])
    at_neck = found.rows[1][0]
    assert (at_neck.short, at_neck.picture) == ("for the layer image only", None)
    assert (
        at_neck.why == "the method 'saliency' is one of pixels: it is for the layer 'image', not 'neck'. Pass"
        ' layer="image", or another method=.'
    )
    assert caption(found, at_neck) == "for the layer image only"


def test_random_masks_are_drawn_once_whatever_the_layers(
    model: boxcam.Model, cat: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def watch(done: int, total: int, cell: Any) -> Any:
        seen.append((done, total, cell.method))
        return nullcontext()

    few = METHODS["d-rise"]
    assert isinstance(few, Perturbation)
    monkeypatch.setitem(METHODS._things, "d-rise", dataclasses.replace(few, masks=4))
    found = made(model, cat, methods=["d-rise", "hirescam"], watch=watch)
    assert len(model.layers) == 2
    assert seen == [(0, 3, "d-rise"), (1, 3, "hirescam"), (2, 3, "hirescam")]
    first, second = found.rows[0]
    assert first.facts is not None
    assert (second.short, second.picture) == ("looks at no layer", None)


def test_the_box_is_counted_from_the_best_one_within_its_classes(model: boxcam.Model, cat: Path) -> None:
    all_of_them = model.detect(cat)
    of_class = [k for k, name in enumerate(all_of_them.names) if name == "stop"]
    assert len(of_class) > 1
    found = made(model, cat, box=2, classes="stop", methods=["hirescam"], layers=["neck"])
    assert (found.rank, found.boxes) == (2, len(of_class))
    assert np.allclose(found.box, all_of_them.boxes[of_class[1]])
    last = made(model, cat, box=len(all_of_them), methods=["hirescam"], layers=["neck"])
    assert np.allclose(last.box, all_of_them.boxes[-1])  # whatever its score


def test_a_box_that_is_not_there_is_told_with_how_many_there_are(model: boxcam.Model, cat: Path) -> None:
    count = len(model.detect(cat))
    with pytest.raises(InputError) as caught:
        made(model, cat, box=count + 1)
    assert str(caught.value) == (
        f"there is no box {count + 1} on {cat}: the model finds {count} boxes. Pass box= as a number from 1, the best"
        f" one, to {count}."
    )
    grey = np.full((64, 64, 3), 128, np.uint8)
    assert not len(model.detect(grey))
    with pytest.raises(InputError, match=r"the model finds no box on the image\. Pass another image\.$"):
        made(model, grey)


def test_bad_names_are_told_before_the_image_is_read(model: boxcam.Model) -> None:
    nowhere = Path("nowhere.jpg")
    with pytest.raises(UnknownLayerError, match=r"has no layer 'nek'\. Did you mean 'neck'"):
        made(model, nowhere, layers=["neck", "nek"])
    with pytest.raises(UnknownNameError, match=r"there is no method 'hirescan'\. Did you mean 'hirescam'"):
        made(model, nowhere, methods=["hirescan"])
    with pytest.raises(UnknownNameError, match=r"has no class 'stopp'\. Did you mean 'stop'"):
        made(model, nowhere, classes="stopp")
    with pytest.raises(ArgumentError, match="layer='neck' is given twice"):
        made(model, nowhere, layers=["neck", "neck"])
    with pytest.raises(UnknownNameError, match="the method 'saliency' is one of pixels"):
        made(model, nowhere, methods=["saliency"], layers=["neck"])  # then there would be nothing to show


def test_every_cell_shows_the_same_part_at_the_same_size(model: boxcam.Model, cat: Path) -> None:
    found = made(model, cat, methods=["gradcam", "hirescam", "layercam"])
    x1, y1, x2, y2 = found.view
    left, top, right, bottom = found.box
    assert x1 <= left < right <= x2
    assert y1 <= top < bottom <= y2
    shapes = {cell.picture.shape for row in found.rows for cell in row if cell.picture is not None}
    assert len(shapes) == 1
    ((height, width, _),) = shapes
    assert height <= SIZE[0]
    assert width <= SIZE[1]
    assert height / width == pytest.approx((y2 - y1) / (x2 - x1), rel=0.02)


def spot(page: Image, picture: Image) -> tuple[int, int]:
    """Row and column at which a picture stands on a page."""
    height, width = picture.shape[:2]
    spots = [
        (int(y), int(x))
        for y, x in zip(*np.nonzero((page == picture[0, 0]).all(axis=2)), strict=True)
        if np.array_equal(page[y : y + height, x : x + width], picture)
    ]
    assert len(spots) == 1
    return spots[0]


def pictures(found: Comparison) -> list[list[Image]]:
    """Those of the cells."""
    return [[cell.picture for cell in row if cell.picture is not None] for row in found.rows]


def test_the_methods_of_one_layer_stand_side_by_side(model: boxcam.Model, cat: Path) -> None:
    methods = ["gradcam", "hirescam", "layercam", "eigencam", "finer-cam", "ssgradcam"]
    found = made(model, cat, methods=methods, layers=["neck"])
    page = draw_grid(found)
    places = [spot(page, picture) for (picture,) in pictures(found)]
    assert places == sorted(places)
    rows = sorted({y for y, _ in places})
    assert [[x for y, x in places if y == row] for row in rows] == [
        sorted({x for _, x in places}),
        sorted({x for _, x in places})[:2],
    ]
    assert len({x for _, x in places}) == 4


def test_several_layers_are_a_table(model: boxcam.Model, cat: Path) -> None:
    found = made(model, cat, methods=["gradcam", "hirescam", "layercam"], layers=["neck"])
    rows = [
        [row[0], dataclasses.replace(row[0], layer="other", picture=255 - row[0].picture)]
        for row in found.rows
        if row[0].picture is not None
    ]
    found = dataclasses.replace(found, rows=rows)
    page = draw_grid(found)
    places = [[spot(page, picture) for picture in row] for row in pictures(found)]
    assert [len({y for y, _ in row}) for row in places] == [1, 1, 1]  # a row for each method
    assert [len({x for _, x in column}) for column in zip(*places, strict=True)] == [1, 1]
    ys, xs = [row[0][0] for row in places], [x for _, x in places[0]]
    assert ys == sorted(set(ys))
    assert xs == sorted(set(xs))


@pytest.mark.parametrize("shape", [(400, 24), (24, 400), (320, 180)])
def test_words_have_room_whatever_the_shape(shape: tuple[int, int], model: boxcam.Model, cat: Path) -> None:
    """Also next to a picture that is narrower than a word, and in cells without one."""
    found = made(model, cat, methods=["hirescam", "saliency", "ssgradcam++"], layers=["neck"])
    height, width = shape
    whole = (0, 0, width, height)
    image = np.full((height, width, 3), 40, np.uint8)
    size = fitted(whole, SIZE)
    rows = [
        [cell if cell.picture is None else dataclasses.replace(cell, picture=np.full((*size, 3), 90, np.uint8))]
        for (cell,) in found.rows
    ]
    texts: list[str] = []
    real = body.write
    with mock.patch.object(body, "write", lambda page, text, *rest: (texts.append(text), real(page, text, *rest))[1]):
        draw_grid(dataclasses.replace(found, image=image, view=whole, rows=rows))
    assert {"hirescam", "ssgradcam++"} <= set(texts)
    assert sum("% inside, peak " in text for text in texts) == 2
    assert [text for text in texts if "..." in text] == []


def test_if_nothing_can_be_drawn_the_reason_is_an_error(
    model: boxcam.Model, cat: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*given: Any) -> None:
        raise RunError("the model fails on this image.")

    monkeypatch.setattr("boxcam.explain.comparison.compare.explained", fails)
    with pytest.raises(RunError, match="the model fails on this image"):
        made(model, cat, methods=["hirescam", "gradcam"])


def test_a_peak_that_is_not_shown_is_said(model: boxcam.Model, cat: Path) -> None:
    found = made(model, cat, methods=["hirescam"], layers=["neck"])
    (cell,) = found.rows[0]
    assert cell.facts is not None
    figures = f"{cell.facts['share_inside_box']:.0%} inside, peak {cell.facts['peak']:.3g}"
    assert caption(found, cell) == figures
    x1, y1, x2, y2 = found.view
    assert caption(found, dataclasses.replace(cell, peak_at=(y1, x2 - 1))) == figures
    for outside in ((y2, x1), (y1, x2), (y1 - 1, x1)):
        assert caption(found, dataclasses.replace(cell, peak_at=outside)) == f"{figures} out of view"
    for changed, words in (
        ({"positive_evidence": False}, "empty map"),
        ({"depends_on_layer": False, "positive_evidence": False}, "does not depend on this layer"),
    ):
        assert caption(found, dataclasses.replace(cell, facts={**cell.facts, **changed})) == words


def test_no_map_is_kept(model: boxcam.Model, cat: Path) -> None:
    found = made(model, cat, methods=["gradcam", "hirescam"])
    for row in found.rows:
        for cell in row:
            arrays = [value for value in vars(cell).values() if isinstance(value, np.ndarray)]
            assert all(array.nbytes <= SIZE[0] * SIZE[1] * 3 for array in arrays)
