"""torchvision's detectors by name: what is asked for is found, built for its checkpoint, or refused with a reason."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from torchvision.models.detection import ssdlite

import boxcam
from boxcam.errors import SourceError
from boxcam.export.source import Request
from boxcam.export.sources.torchvision import declaration
from boxcam.export.sources.torchvision import detectors as zoo
from boxcam.export.sources.torchvision import source as source
from boxcam.runtime.preprocess import fit, prepare

SMALL = "ssdlite320_mobilenet_v3_large"
NAMES = [
    "fasterrcnn_mobilenet_v3_large_320_fpn",
    "fasterrcnn_mobilenet_v3_large_fpn",
    "fasterrcnn_resnet50_fpn",
    "fasterrcnn_resnet50_fpn_v2",
    "fcos_resnet50_fpn",
    "keypointrcnn_resnet50_fpn",
    "maskrcnn_resnet50_fpn",
    "maskrcnn_resnet50_fpn_v2",
    "retinanet_resnet50_fpn",
    "retinanet_resnet50_fpn_v2",
    "ssd300_vgg16",
    "ssdlite320_mobilenet_v3_large",
]


@pytest.fixture(scope="module")
def small() -> Any:
    """SSDLite for three classes."""
    torch.manual_seed(0)
    return torchvision.models.get_model(SMALL, weights=None, weights_backbone=None, num_classes=3).eval()


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[Any], str]:
    def save(thing: Any) -> str:
        torch.save(thing, tmp_path / "weights.pth")
        return str(tmp_path / "weights.pth")

    return save


def refusal(*arguments: str, **options: Any) -> str:
    with pytest.raises(SourceError) as caught:
        source.load(Request(arguments, **options), lambda step: None)
    return str(caught.value)


def test_every_detector_of_torchvision_is_accepted() -> None:
    assert torchvision.models.list_models(module=torchvision.models.detection) == NAMES
    for name in NAMES:
        assert zoo.is_detector(name)
    assert not zoo.is_detector("resnet50")


def test_what_looks_like_a_model_of_torchvision() -> None:
    assert declaration.recognises(("torchvision:fcos_resnet50_fpn", "a.pth"))
    assert declaration.recognises(("torchvision:fcos_resnet50_fpn",))
    assert not declaration.recognises(("config.py", "a.pth"))
    assert not declaration.recognises(())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "retinanet_resnet50_fpn_v3",
            "no model 'retinanet_resnet50_fpn_v3'. Did you mean retinanet_resnet50_fpn_v2 or",
        ),
        ("fasterrcnn", "no model 'fasterrcnn'. Did you mean fasterrcnn_resnet50_fpn"),
        ("", "no model ''. Pass one of its detectors, fasterrcnn_mobilenet_v3_large_320_fpn, "),
        (
            "fcn_resnet50",
            r"fcn_resnet50 (segmentation.fcn) cannot be explained: it outputs maps, and neither boxes nor classes of",
        ),
        (
            "r3d_18",
            r"r3d_18 (video.resnet) cannot be explained: it takes video clips, not images. Pass a classifier",
        ),
        ("raft_large", r"raft_large (optical_flow.raft) cannot be explained: it compares two images."),
        (
            "quantized_resnet50",
            "quantized_resnet50 (quantization.resnet) cannot be explained: it is quantized by PyTorch",
        ),
        ("resnet49", "no model 'resnet49'. Did you mean resnet"),
    ],
)
def test_a_name_that_is_no_detector(name: str, expected: str) -> None:
    assert expected in refusal(f"torchvision:{name}", "a.pth")


def test_without_weights_there_is_nothing_to_explain() -> None:
    message = refusal(f"torchvision:{SMALL}")
    assert message.startswith(f"torchvision:{SMALL} needs its weights: boxcam downloads nothing, and random ones")
    assert f"torchvision:{SMALL} WEIGHTS.pth" in message
    assert "needs its weights" in refusal(f"torchvision:{SMALL}", "a.pth", "b.pth")


def test_weights_that_cannot_be_read(tmp_path: Path, saved: Callable[[Any], str]) -> None:
    missing = refusal(f"torchvision:{SMALL}", str(tmp_path / "none.pth"))
    assert missing.endswith("none.pth does not exist. Check the path.")
    (tmp_path / "text.pth").write_text("weights")
    assert "is not a PyTorch checkpoint" in refusal(f"torchvision:{SMALL}", str(tmp_path / "text.pth"))
    assert "of tensors. Save model.state_dict()" in refusal(f"torchvision:{SMALL}", saved({"epoch": 3}))
    assert "holds a list" in refusal(f"torchvision:{SMALL}", saved([1]))


def test_a_whole_model_is_refused(small: Any, saved: Callable[[Any], str]) -> None:
    message = refusal(f"torchvision:{SMALL}", saved(small))
    assert "is refused: it holds torchvision.models.detection.ssd.SSD" in message
    assert "Save the 'state_dict' alone" in message


def test_weights_that_do_not_fit(small: Any, saved: Callable[[Any], str]) -> None:
    weights = dict(small.state_dict())
    bias = "head.regression_head.module_list.0.1.bias"
    path = saved({name: value for name, value in weights.items() if name != bias})
    message = refusal(f"torchvision:{SMALL}", path)
    assert f"checkpoint {path} does not fit torchvision's {SMALL}: of {len(weights)} tensors, 1 missing" in message
    assert f"(first: {bias}). Pass the name of the model that was trained" in message
    assert "1 unknown (first: extra)" in refusal(f"torchvision:{SMALL}", saved({**weights, "extra": torch.ones(1)}))
    odd = {**weights, bias: torch.zeros(7)}
    assert f"tensors, 1 of another shape (first: {bias})" in refusal(f"torchvision:{SMALL}", saved(odd))
    broken = {**weights, bias: weights[bias] * float("nan")}
    assert f"not finite (first: {bias})" in refusal(f"torchvision:{SMALL}", saved(broken))
    assert "does not fit torchvision's fcos_resnet50_fpn" in refusal("torchvision:fcos_resnet50_fpn", saved(weights))


@pytest.mark.parametrize("wrapped", [lambda w: w, lambda w: {"model": w, "args": argparse.Namespace(lr=1), "epoch": 2}])
def test_the_checkpoint_tells_how_many_classes(wrapped: Any, small: Any, saved: Callable[[Any], str]) -> None:
    weights = {f"module.{name}": value for name, value in small.state_dict().items()}
    model = zoo.load(SMALL, saved(wrapped(weights)))
    assert zoo.class_count(model) == 3
    assert not model.training
    for name, value in small.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name


@pytest.mark.parametrize(
    ("name", "key", "rows", "classes"),
    [
        ("retinanet_resnet50_fpn", "head.classification_head.cls_logits.weight", 9 * 5, 5),
        ("fcos_resnet50_fpn", "head.classification_head.cls_logits.weight", 4, 4),
        ("ssd300_vgg16", "head.classification_head.module_list.0.weight", 4 * 21, 21),
        ("fasterrcnn_mobilenet_v3_large_fpn", "roi_heads.box_predictor.cls_score.weight", 2, 2),
    ],
)
def test_classes_are_counted_in_each_family(name: str, key: str, rows: int, classes: int) -> None:
    model = zoo.build(name, {key: torch.zeros(rows, 1)})
    assert model.state_dict()[key].shape[0] == rows
    assert zoo.class_count(model) == classes


def test_a_backbone_that_was_pretrained_is_wider_at_its_end(saved: Callable[[Any], str]) -> None:
    """As torchvision's builder makes SSDLite of a backbone with weights, which cannot be had here."""
    original = ssdlite.mobilenet_v3_large
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssdlite, "mobilenet_v3_large", lambda **o: original(**{**o, "reduced_tail": False}))
        wide = torchvision.models.get_model(SMALL, weights=None, weights_backbone=None, num_classes=3)
    loaded = zoo.load(SMALL, saved(wide.state_dict()))
    assert loaded.state_dict()["backbone.features.1.3.0.weight"].shape[0] == 960
    assert ssdlite.mobilenet_v3_large is original


def test_class_names() -> None:
    names = zoo.labels("retinanet_resnet50_fpn", 91)
    assert (names[0], names[1], names[90]) == ("__background__", "person", "toothbrush")
    assert zoo.labels("retinanet_resnet50_fpn", 3) == ("class 0", "class 1", "class 2")
    assert zoo.labels("keypointrcnn_resnet50_fpn", 2) == ("no person", "person")
    assert len(zoo.labels("resnet50", 1000)) == 1000


def test_class_names_that_are_given(small: Any, tmp_path: Path, saved: Callable[[Any], str]) -> None:
    (tmp_path / "names.txt").write_text("cup\nspoon\n")
    found = source.load(
        Request((f"torchvision:{SMALL}", saved(small.state_dict())), (64, 96), class_names=tmp_path / "names.txt"),
        lambda step: None,
    )
    assert found.labels == ("__background__", "cup", "spoon")
    assert zoo.labels(SMALL, 3, ["nothing", "cup", "spoon"], background=True) == ("nothing", "cup", "spoon")
    with pytest.raises(SourceError, match="there is 1 class name, and this x has 3 classes, of which number 0"):
        zoo.labels("x", 3, ["cup"], background=True)
    with pytest.raises(SourceError, match=r"there are 2 class names, and this x has 3 classes\. Pass one name"):
        zoo.labels("x", 3, ["cup", "spoon"])


@pytest.mark.parametrize(
    ("name", "background"), [(SMALL, True), ("retinanet_resnet50_fpn", False), ("fcos_resnet50_fpn", False),
                             ("fasterrcnn_mobilenet_v3_large_fpn", True)],
)  # fmt: skip
def test_which_detectors_have_a_background(name: str, background: bool) -> None:
    model = torchvision.models.get_model(name, weights=None, weights_backbone=None, num_classes=2)
    assert zoo.has_background(model) == background


def test_preprocessing_is_that_of_the_transform() -> None:
    model = torchvision.models.get_model("fasterrcnn_mobilenet_v3_large_fpn", weights=None, weights_backbone=None)
    spec = zoo.preprocess("x", model, None)
    assert (spec.height, spec.width, spec.fit_height, spec.fit_width) == (800, 1344, 800, 1333)
    assert (spec.resize, spec.pad_to, spec.pad_value, spec.color) == ("fit", "top-left", (0, 0, 0), "RGB")
    assert spec.mean == pytest.approx((123.675, 116.28, 103.53))
    assert spec.std == pytest.approx((58.395, 57.12, 57.375))
    assert zoo.preprocess("x", model, (192, 256)).fit_width == 256
    with pytest.raises(SourceError, match=r"shape=\(200, 256\): x needs multiples of 32\. Pass shape=\(224, 256\)"):
        zoo.preprocess("x", model, (200, 256))


def test_ssd_stretches(small: Any) -> None:
    spec = zoo.preprocess("x", small, None)
    assert (spec.height, spec.width, spec.fit_height, spec.fit_width, spec.resize) == (320, 320, 320, 320, "stretch")
    assert spec.mean == spec.std == (127.5, 127.5, 127.5)
    assert zoo.preprocess("x", small, (300, 310)).width == 310


@pytest.mark.parametrize(
    ("name", "size"),
    [
        (SMALL, (240, 320)),
        ("fasterrcnn_mobilenet_v3_large_320_fpn", (256, 384)),
        ("fasterrcnn_mobilenet_v3_large_320_fpn", (375, 500)),
    ],
)
def test_the_canvas_is_what_the_transform_makes(name: str, size: tuple[int, int]) -> None:
    """But for rounding: torchvision resizes numbers, boxcam pixels, which are off by less than one grey level."""
    model = torchvision.models.get_model(name, weights=None, weights_backbone=None).eval()
    picture = np.random.default_rng(0).integers(0, 255, (*size, 3), dtype=np.uint8)
    with torch.no_grad():
        images, _ = model.transform([torch.from_numpy(picture[:, :, ::-1].copy()).permute(2, 0, 1) / 255])
    height, width = images.image_sizes[0]
    canvas, place = prepare(picture, zoo.preprocess(name, model, None))
    assert (place.resized_height, place.resized_width) == (height, width)
    std = np.array(model.transform.image_std)[:, None, None]
    apart = np.abs(canvas[0, :, :height, :width] - images.tensors[0, :, :height, :width].numpy()) * std * 255
    assert apart.max() < 1
    assert not canvas[0, :, height:].any()
    assert not canvas[0, :, :, width:].any()


def test_the_resized_size_is_the_transforms() -> None:
    """At many sizes, rounding down as torchvision itself does, in double precision."""
    model = torchvision.models.get_model("fasterrcnn_mobilenet_v3_large_fpn", weights=None, weights_backbone=None)
    spec = zoo.preprocess("x", model.eval(), None)
    heights = np.arange(1, 1500, 5)
    widths = np.random.default_rng(0).integers(heights, 4 * heights).tolist()
    sizes = list(zip(heights.tolist(), widths, strict=True))
    for height, width in [(375, 500), (480, 640), (426, 640), (427, 640), (385, 385), (687, 997), (800, 1333), *sizes]:
        place = fit(height, width, spec)
        resized, _ = model.transform.resize(torch.empty(3, height, width, device="meta"))
        assert (place.resized_height, place.resized_width) == tuple(resized.shape[1:]), (height, width)
    place = fit(375, 500, spec)
    assert (place.resized_height, place.resized_width) == (800, 1066)  # 1066.67


def test_a_canvas_that_is_too_small(small: Any, saved: Callable[[Any], str]) -> None:
    torch.manual_seed(0)
    model = torchvision.models.get_model("ssd300_vgg16", weights=None, weights_backbone=None, num_classes=2)
    message = refusal("torchvision:ssd300_vgg16", saved(model.state_dict()), shape=(96, 96))
    assert "ssd300_vgg16 cannot be exported for a model input of 96x96: " in message
    assert message.endswith("Pass a larger one with shape=.")


def test_thresholds(small: Any) -> None:
    zoo.set_thresholds(small, 0.25, None)
    assert (small.score_thresh, small.nms_thresh) == (0.25, 0.55)
    two = torchvision.models.get_model("fasterrcnn_mobilenet_v3_large_fpn", weights=None, weights_backbone=None)
    zoo.set_thresholds(two, None, 0.6)
    assert (two.roi_heads.score_thresh, two.roi_heads.nms_thresh) == (0.05, 0.6)


def test_options_that_a_model_of_torchvision_answers_itself(small: Any, saved: Callable[[Any], str]) -> None:
    with pytest.raises(SourceError, match=f"preprocess= has no meaning for torchvision's {SMALL}"):
        boxcam.export(f"torchvision:{SMALL}", saved(small.state_dict()), output="never.boxcam", preprocess="yolo")
    with pytest.raises(SourceError, match="boxes= has no meaning"):
        boxcam.export(f"torchvision:{SMALL}", saved(small.state_dict()), output="never.boxcam", boxes="boxes")
