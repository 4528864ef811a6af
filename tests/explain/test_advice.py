"""What is advised where a map is empty fits: pixels where pixels were asked for, cells where cells were."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import boxcam
from boxcam.commands.summary import summary
from boxcam.explain.advice import alternative, on_empty_maps
from boxcam.explain.methods import METHODS, Method
from tests.explain.cancelling import IMAGE, Cancelling
from tests.explain.made import AGAINST, EVEN, explanation

OTHERS = {
    "gradcam": "hirescam", "gradcam++": "hirescam", "xgradcam": "hirescam", "ssgradcam": "hirescam",
    "ssgradcam++": "hirescam", "eigencam": "hirescam", "eigengradcam": "hirescam", "d-rise": "hirescam",
    "score-cam": "hirescam", "ablation-cam": "hirescam", "recipro-cam": "hirescam",
    "patch-search": "hirescam", "finer-cam": "hirescam", "finer-hirescam": None,
    "smooth-grad": "saliency",
    "saliency": None, "guided-backprop": "saliency", "guided-gradcam": "guided-backprop",
    "hirescam": None, "layercam": None, "odam": None, "odam-combined": None, "integrated-gradients": None,
    "regional-gradients": None,
}  # fmt: skip


def empty(method: str, layer: str = "neck") -> boxcam.Explanation:
    """A box whose map by a method is empty, next to one whose map is not."""
    made = METHODS[method]
    image = isinstance(made, Method) and made.image and made.times is None
    found = replace(explanation(EVEN, AGAINST), method=method, layer="image" if image else layer)
    if isinstance(made, Method) and made.times is not None:
        found = replace(found, guides=found.parts)
    return replace(found, layer="image") if not isinstance(made, Method) else found


@pytest.mark.parametrize("method", METHODS)
def test_another_method_shows_the_same_kind_of_map(method: str) -> None:
    found = empty(method)
    other = alternative(found)
    assert (None if other is None else other.method) == OTHERS[method]
    if other is not None:
        made, better = METHODS[method], METHODS[other.method]
        assert isinstance(better, Method)
        assert better.image == (isinstance(made, Method) and made.image)
        assert other.layer == ("image" if better.image else None)
    said = on_empty_maps(found)
    assert said.startswith(f"an empty map means that {method} found nothing at layer {found.layer!r} that speaks for")
    assert f'method="{method}"' not in said
    if other is None:
        assert "Choose another layer with layer=" in said
    else:
        assert f'Use method="{other.method}"' in said
        assert f"; try --method {other.method}{'' if other.layer is None else ' --layer image'})" in summary(found)


@pytest.mark.parametrize("method", ["hirescam", "layercam", "odam", "integrated-gradients", "regional-gradients"])
def test_at_the_image_a_method_for_any_layer_makes_a_map_of_pixels(method: str) -> None:
    other = alternative(empty(method, "image"))
    assert other is not None
    assert (other.method, other.layer) == ("saliency", "image")


def test_what_is_said_of_guided_gradcam_can_be_done_and_shows_something(tmp_path: Path) -> None:
    path = Cancelling().build(tmp_path / "model.onnx")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", boxcam.BoxcamWarning)
        boxcam.export(
            path, output=tmp_path / "b", layers=["layer", "image"], engine="onnx", class_names=["nothing", "thing"],
            preprocess=["resize=stretch", "scale=0-1", "color=RGB"],
        )  # fmt: skip
    model = boxcam.load(tmp_path / "b", threads=1)
    said = (
        r"^an empty map means that guided-gradcam found nothing at layer 'layer' .*: it multiplies the map of gradcam,"
        r' .*\. Use method="guided-backprop" with layer="image", whose map of pixels is the other factor\.$'
    )
    with pytest.warns(boxcam.BoxcamWarning, match=said):
        assert not model.explain(IMAGE, classes="thing", method="guided-gradcam").maps.any()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        better = model.explain(IMAGE, classes="thing", method="guided-backprop", layer="image")
    assert np.count_nonzero(better.map(0)) > 0
