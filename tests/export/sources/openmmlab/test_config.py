"""What a config says about preprocessing, classes and thresholds, against mmdet's own pipeline."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from mmengine import Config

from boxcam.bundle import Preprocess
from boxcam.errors import SourceError
from boxcam.export.sources.openmmlab.compat import bridged
from boxcam.export.sources.openmmlab.config import labels, preprocess, read_config, set_thresholds
from boxcam.runtime.preprocess import prepare

IMAGENET = {"mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375), "color": "RGB"}
PLAIN = {"pad_to": "top-left", "pad_value": (0.0, 0.0, 0.0), "pad_before_normalize": False, "interpolation": "bilinear"}


def spec(size: tuple[int, int], fit: tuple[int, int], resize: str = "fit", **other: Any) -> Preprocess:
    sizes = {"height": size[0], "width": size[1], "fit_height": fit[0], "fit_width": fit[1], "resize": resize}
    return Preprocess(**{**sizes, **PLAIN, **IMAGENET, **other})


def grey(mean: Any, std: Any) -> dict[str, Any]:
    return {"pad_value": (114.0,) * 3, "pad_before_normalize": True, "mean": mean, "std": std, "color": "BGR"}


SHIPPED = {
    "retinanet/retinanet_r50_fpn_1x_coco.py": spec((800, 1344), (800, 1333)),
    "faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py": spec((800, 1344), (800, 1333)),
    "cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py": spec((800, 1344), (800, 1333)),
    "pascal_voc/retinanet_r50_fpn_1x_voc0712.py": spec((608, 1024), (600, 1000)),
    "fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py": spec(
        (800, 1344), (800, 1333), mean=(102.9801, 115.9465, 122.7717), std=(1.0, 1.0, 1.0), color="BGR"
    ),
    "ssd/ssd300_coco.py": spec((300, 300), (300, 300), "stretch", std=(1.0, 1.0, 1.0)),
    "yolo/yolov3_d53_8xb8-ms-608-273e_coco.py": spec((608, 608), (608, 608), mean=(0.0,) * 3, std=(255.0,) * 3),
    "yolox/yolox_tiny_8xb8-300e_coco.py": spec((416, 416), (416, 416), **grey((0.0,) * 3, (1.0,) * 3)),
    "rtmdet/rtmdet_tiny_8xb32-300e_coco.py": spec(
        (640, 640), (640, 640), **grey((103.53, 116.28, 123.675), (57.375, 57.12, 58.395))
    ),
    "detr/detr_r50_8xb2-150e_coco.py": spec((800, 1333), (800, 1333)),
    "soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco.py": spec(
        (800, 1344), (800, 1333), mean=(103.53, 116.28, 123.675), std=(1.0, 1.0, 1.0), color="BGR"
    ),
}


def shipped(name: str) -> str:
    import mmdet

    return str(Path(mmdet.__file__).parent / ".mim" / "configs" / name)


def of(*steps: dict[str, Any], shape: tuple[int, int] | None = None, **data: Any) -> Preprocess:
    """The preprocessing of a config with these steps and this data preprocessor."""
    config = Config({"model": {"type": "RetinaNet", "data_preprocessor": data}, "test_pipeline": list(steps)})
    return preprocess(config, "c.py", shape)


def resize(width: int = 320, height: int = 320, **other: Any) -> dict[str, Any]:
    return {"type": "Resize", "scale": (width, height), "keep_ratio": True, **other}


@pytest.mark.parametrize("name", SHIPPED)
def test_configs_that_mmdet_ships(name: str) -> None:
    with bridged():
        assert preprocess(read_config(shipped(name)), name, None) == SHIPPED[name]


def test_edges_that_come_in_the_other_order(signs: Path) -> None:
    image = cv2.imread(str(signs / "images" / "cat.jpg"))
    turned = Config(ODD_PAD)
    turned.test_pipeline[1].scale = (200, 300)
    with bridged():
        assert preprocess(turned, "c.py", None) == preprocess(Config(ODD_PAD), "c.py", None)
        assert np.array_equal(mmdet_input(turned, image), prepare(image, preprocess(turned, "c.py", None))[0])


ODD_PAD = {
    "model": {
        "type": "RetinaNet",
        "data_preprocessor": {
            "type": "DetDataPreprocessor",
            "mean": [1.0, 20.0, 30.0],
            "std": [4.0, 5.0, 6.0],
            "bgr_to_rgb": True,
            "pad_size_divisor": 32,
        },
    },
    "test_pipeline": [
        {"type": "LoadImageFromFile"},
        {"type": "Resize", "scale": (300, 200), "keep_ratio": True, "interpolation": "area"},
        {"type": "Pad", "size": (352, 224), "pad_val": {"img": (10, 20, 30)}},
        {"type": "PackDetInputs"},
    ],
}


@pytest.mark.parametrize(
    "name",
    [
        "retinanet/retinanet_r50_fpn_1x_coco.py",
        "ssd/ssd300_coco.py",
        "yolox/yolox_tiny_8xb8-300e_coco.py",
        "rtmdet/rtmdet_tiny_8xb32-300e_coco.py",
        "a coloured border",
    ],
)
def test_the_input_is_the_one_that_mmdet_makes(name: str, signs: Path) -> None:
    image = cv2.imread(str(signs / "images" / "cat.jpg"))
    height, width = image.shape[:2]
    with bridged():
        config = Config(ODD_PAD) if name == "a coloured border" else read_config(shipped(name))
        ours, place = prepare(image, preprocess(config, name, None))
        theirs = mmdet_input(config, image)
    assert width > height  # portraits differ: a bundle has one canvas, mmdet turns its own
    shown = theirs.shape[2:]
    assert shown <= ours.shape[2:]
    assert (place.resized_height, place.resized_width) <= shown
    assert np.array_equal(ours[:, :, : shown[0], : shown[1]], theirs)


def mmdet_input(config: Any, image: Any) -> Any:
    """What mmdet itself feeds its detector: float32 [1, 3, h, w]."""
    from mmcv.transforms import Compose
    from mmdet.registry import MODELS
    from mmdet.utils import register_all_modules
    from mmengine.registry import DefaultScope

    register_all_modules(init_default_scope=False)
    steps = [step for step in config.test_pipeline if step["type"] != "LoadAnnotations"]
    steps[0] = {"type": "mmdet.LoadImageFromNDArray"}
    steps[-1] = {"type": "PackDetInputs", "meta_keys": ("img_shape",)}
    with DefaultScope.overwrite_default_scope("mmdet"):
        packed = Compose(steps)({"img": image, "img_id": 0})
        processor = MODELS.build(config.model.data_preprocessor)
    return processor({"inputs": [packed["inputs"]], "data_samples": [packed["data_samples"]]})["inputs"].numpy()


def test_sizes() -> None:
    def sizes(p: Preprocess) -> tuple[int, int, int, int]:
        return p.height, p.width, p.fit_height, p.fit_width

    assert sizes(of(resize(500, 300))) == (300, 500, 300, 500)
    assert sizes(of(resize(300, 500))) == (300, 500, 300, 500)  # a long and a short edge, in any order
    assert sizes(of(resize(300, 500), pad_size_divisor=32)) == (320, 512, 300, 500)
    assert sizes(of(resize(300, 500, keep_ratio=False))) == (500, 300, 500, 300)
    assert sizes(of({"type": "Resize", "scale": [(8, 8), (9, 9)]}, shape=(64, 96))) == (64, 96, 64, 96)
    assert sizes(of(resize(500, 300), pad_size_divisor=32)) == (320, 512, 300, 500)
    assert sizes(of(resize(500, 300), {"type": "Pad", "size_divisor": 64})) == (320, 512, 300, 500)
    assert sizes(of(resize(500, 300), {"type": "Pad", "size": (600, 400)})) == (400, 600, 300, 500)
    assert sizes(of(resize(500, 300), {"type": "Pad", "pad_to_square": True})) == (500, 500, 300, 500)
    assert sizes(of({"type": "Resize", "scale": 256})) == (256, 256, 256, 256)
    assert sizes(of(resize(), shape=(64, 96))) == (64, 96, 64, 96)
    assert sizes(of(resize(), {"type": "Pad", "size": (320, 320)}, shape=(64, 96))) == (64, 96, 64, 96)
    assert sizes(of({"type": "PackDetInputs"}, shape=(64, 96))) == (64, 96, 64, 96)
    assert sizes(of({"type": "Resize", "scale_factor": 0.5}, shape=(64, 96))) == (64, 96, 64, 96)


def test_how_it_is_resized_and_padded() -> None:
    assert of({"type": "Resize", "scale": (8, 8)}).resize == "stretch"  # mmcv's default
    assert of({"type": "Resize", "scale": (8, 8), "keep_ratio": True}).resize == "fit"
    assert of(resize(interpolation="nearest")).interpolation == "nearest"
    assert of({"type": "LoadImageFromFile", "imdecode_backend": "cv2"}, resize(backend="cv2")) == of(resize())
    assert of(resize(), pad_value=7).pad_value == (7, 7, 7)
    assert not of(resize(), pad_value=7).pad_before_normalize
    for value, expected in ((9, (9, 9, 9)), ({"img": (1, 2, 3)}, (1, 2, 3)), ({"seg": 255}, (0, 0, 0))):
        found = of(resize(), {"type": "Pad", "size_divisor": 32, "pad_val": value})
        assert (found.pad_value, found.pad_before_normalize) == (expected, True)
    assert of(resize(), {"type": "Pad", "size_divisor": 1, "pad_val": (1, 2, 3)}, bgr_to_rgb=True).pad_value == (
        3,
        2,
        1,
    )
    assert (of(resize()).mean, of(resize()).std, of(resize()).color) == ((0, 0, 0), (1, 1, 1), "BGR")
    assert of(resize(), bgr_to_rgb=True).color == of(resize(), rgb_to_bgr=True).color == "RGB"


def test_where_the_pipeline_and_the_data_preprocessor_are_found() -> None:
    data = {"mean": [1, 2, 3], "std": [1, 1, 1]}
    steps = [resize(32, 32)]
    for place in (
        {"test_dataloader": {"dataset": {"pipeline": steps}}},
        {"test_dataloader": {"dataset": {"type": "RepeatDataset", "dataset": {"pipeline": steps}}}},
        {"test_pipeline": steps},
        {"test_dataloader": {"dataset": {"pipeline": steps}}, "test_pipeline": [resize(64, 64)]},
    ):
        config = Config({"model": {"type": "A", "data_preprocessor": data}, **place})
        assert preprocess(config, "c.py", None).width == 32
    for whole in (
        {"model": {"type": "A"}, "data_preprocessor": data},
        {"model": {"type": "A", "data_preprocessor": {"type": "MultiBranch", "data_preprocessor": data}}},
    ):
        assert preprocess(Config({**whole, "test_pipeline": steps}), "c.py", None).mean == (1, 2, 3)


REFUSED: list[tuple[list[dict[str, Any]], dict[str, Any], str]] = [
    ([resize(), {"type": "RandomFlip", "prob": 0.5}], {}, "has 'RandomFlip', which cannot be reproduced without mmdet"),
    ([{"type": "mmyolo.LetterResize", "scale": (8, 8)}], {}, "LetterResize can be reproduced only after"),
    ([{"type": "mmdet.FixScaleResize", "scale": (64, 32)}], {}, "has 'FixScaleResize', which cannot be reproduced"),
    ([{"type": "PackDetInputs"}], {}, "does not resize. Pass the size of the model input with shape="),
    (
        [{"type": "Resize", "scale_factor": 2.0}],
        {},
        "has no fixed 'scale'. Pass the size of the model input with shape=",
    ),
    ([{"type": "Resize", "scale": [(8, 8), (9, 9)]}], {}, r"scale \[\(8, 8\), \(9, 9\)\], which is not one width and"),
    ([{"type": "Resize", "scale": (8, None)}], {}, r"scale \(8, None\), which is not one width and height. .* shape="),
    ([resize(-1, 8)], {}, r"scale \(-1, 8\), which is not one width and height"),
    ([resize(interpolation="lanczos")], {}, "interpolation 'lanczos' cannot be reproduced"),
    ([resize(backend="pillow")], {}, "c.py: Resize with backend 'pillow' cannot be reproduced"),
    (
        [{"type": "mmdet.LoadImageFromFile", "imdecode_backend": "pillow"}, resize()],
        {},
        "LoadImageFromFile with imdecode_backend 'pillow' cannot be reproduced",
    ),
    ([resize(640, 640), {"type": "Pad", "size": (320, 320)}], {}, "resized to 640x640 and padded to 320x320"),
    ([resize()], {"mean": [1.0]}, r"\[1.0\] should be three values"),
    (
        [resize()],
        {"shape": (65, 96), "pad_size_divisor": 32},
        r"shape=\(65, 96\): .* multiples of 32. Pass shape=\(96, 96\)",
    ),
    ([], {}, "has no test pipeline"),
]


def test_mmdets_own_resizing_at_a_fixed_scale_is_another_one() -> None:
    """It cuts sizes off where mmcv's rounds them: taken for the same, inputs would differ by a row of pixels."""
    import mmcv
    from mmdet.datasets.transforms import FixScaleResize

    image = np.zeros((64, 100, 3), np.uint8)  # 64 · 95/100 = 60.8
    theirs = FixScaleResize(scale=(95, 95), keep_ratio=True)({"img": image})["img"].shape
    usual = mmcv.transforms.Resize(scale=(95, 95), keep_ratio=True)({"img": image})["img"].shape
    assert (theirs, usual) == ((60, 95, 3), (61, 95, 3))


@pytest.mark.parametrize(("steps", "options", "message"), REFUSED)
def test_what_cannot_be_repeated_is_refused(steps: list[Any], options: dict[str, Any], message: str) -> None:
    with pytest.raises(SourceError, match=message):
        of(*steps, **options)


def test_a_preprocess_is_complete() -> None:
    """Every field is set on purpose; a new one has to be read from the config here."""
    assert {field.name for field in dataclasses.fields(Preprocess)} == {
        *("height", "width", "fit_height", "fit_width", "resize"),
        *("pad_to", "pad_value", "pad_before_normalize", "mean", "std", "color", "interpolation", "rounding"),
        *("layout", "dtype", "multiple"),  # mmdeploy's are always NCHW and float32, and of one size
    }


def config_of(**entries: Any) -> Any:
    return Config({"model": {"type": "A"}, **entries})


def test_class_names_come_from_the_checkpoint_first() -> None:
    config = config_of(test_dataloader={"dataset": {"type": "CocoDataset", "metainfo": {"classes": ("x", "y")}}})
    with bridged():
        assert labels(config, {"dataset_meta": {"classes": ("a", "b")}}, 2) == ("a", "b")
        assert labels(config, {"dataset_meta": {"CLASSES": ["a", "b"]}}, 2) == ("a", "b")
        assert labels(config, {"CLASSES": ("a", "b")}, 2) == ("a", "b")  # as mmdet 2 wrote it
        assert labels(config, {"dataset_meta": {"classes": "a"}}, 1) == ("a",)
        assert labels(config, {}, 2) == ("x", "y")
        assert labels(config, {"dataset_meta": {"classes": ("a", "b", "c")}}, 2) == ("x", "y")


def test_class_names_come_from_the_data_set_then_from_numbers() -> None:
    with bridged():
        coco = config_of(test_dataloader={"dataset": {"type": "CocoDataset"}})
        assert labels(coco, {}, 80)[:2] == ("person", "bicycle")
        assert labels(coco, {}, 3) == ("class 0", "class 1", "class 2")
        voc = config_of(train_dataloader={"dataset": {"type": "VOCDataset"}})
        assert labels(voc, {}, 20)[0] == "aeroplane"
        assert labels(config_of(test_dataloader={"dataset": {"type": "NoSuchDataset"}}), {}, 1) == ("class 0",)
        assert labels(config_of(), {}, 2) == ("class 0", "class 1")


def test_thresholds_go_where_the_detector_reads_them() -> None:
    one = config_of()
    one.model.test_cfg = {"score_thr": 0.05, "nms": {"type": "nms", "iou_threshold": 0.5}}
    set_thresholds(one, 0.2, 0.7)
    assert (one.model.test_cfg.score_thr, one.model.test_cfg.nms.iou_threshold) == (0.2, 0.7)
    set_thresholds(one, None, None)
    assert (one.model.test_cfg.score_thr, one.model.test_cfg.nms.iou_threshold) == (0.2, 0.7)

    two = config_of()
    nms = {"type": "nms", "iou_threshold": 0.5}
    two.model.test_cfg = {"rpn": {"nms": dict(nms)}, "rcnn": {"score_thr": 0.05, "nms": dict(nms)}}
    set_thresholds(two, 0.2, 0.7)
    assert (two.model.test_cfg.rcnn.score_thr, two.model.test_cfg.rcnn.nms.iou_threshold) == (0.2, 0.7)
    assert two.model.test_cfg.rpn.nms.iou_threshold == 0.5


@pytest.mark.parametrize("test", [None, {}, "missing"])
def test_a_score_threshold_is_kept_where_there_were_no_settings(test: Any) -> None:
    config = config_of()
    if test != "missing":
        config.model.test_cfg = test
    set_thresholds(config, 0.2, None)
    assert config.model.test_cfg == {"score_thr": 0.2}


@pytest.mark.parametrize("test", [None, {"max_per_img": 100}])
def test_no_threshold_changes_nothing(test: Any) -> None:
    config = config_of()
    config.model.test_cfg = test
    set_thresholds(config, None, None)
    assert config.model.test_cfg == test
    set_thresholds(config_of(), None, None)


def test_what_merges_boxes_has_a_lowest_score() -> None:
    config = config_of()
    config.model.test_cfg = {"nms": {"type": "nms", "iou_threshold": 0.5}}
    set_thresholds(config, 0.2, None)
    assert config.model.test_cfg.score_thr == 0.2


@pytest.mark.parametrize(
    ("test", "thresholds", "message"),
    [
        ({"max_per_img": 100}, (0.2, None), "score_threshold= has no meaning here: this model has no score_thr"),
        ({"max_per_img": 100}, (None, 0.7), "nms_threshold= has no meaning here: this model has no NMS"),
        ({"score_thr": 0.1, "nms": None}, (None, 0.7), "nms_threshold= has no meaning here: this model has no NMS"),
        (None, (None, 0.7), "nms_threshold= has no meaning here: this model has no NMS"),
        (
            {"rpn": {"nms": {"iou_threshold": 0.5}}, "rcnn": {"max_per_img": 9}},
            (None, 0.7),
            "nms_threshold= has no meaning here: this",
        ),
    ],
)
def test_a_threshold_that_the_model_has_not_is_refused(test: Any, thresholds: Any, message: str) -> None:
    config = config_of()
    config.model.test_cfg = test
    with pytest.raises(SourceError, match=message):
        set_thresholds(config, *thresholds)


OLD_PIPELINE = [
    {"type": "LoadImageFromFile"},
    {"type": "MultiScaleFlipAug", "img_scale": (1333, 800), "flip": False, "transforms": [{"type": "Collect"}]},
]


@pytest.mark.parametrize(
    "text",
    [
        "img_norm_cfg = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)",
        f"test_pipeline = {OLD_PIPELINE}",
        f"data = dict(test=dict(type='CocoDataset', pipeline={OLD_PIPELINE}))",
        # as a user may mend it, by the advice on pipelines
        "img_norm_cfg = dict(mean=[1, 2, 3], std=[1, 1, 1])\ntest_pipeline = [dict(type='Resize', scale=(64, 64))]",
    ],
)
def test_a_config_of_mmdet_2_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "old.py").write_text(f"model = dict(type='RetinaNet')\n{text}\n")
    with pytest.raises(SourceError, match=r"old\.py is of mmdet 2\.x .* without its normalisation\. Pass"):
        read_config(str(tmp_path / "old.py"))


def test_a_config_without_a_data_preprocessor_is_refused() -> None:
    config = Config({"model": {"type": "RetinaNet"}, "test_pipeline": [resize()]})
    with pytest.raises(
        SourceError, match=r"has no data_preprocessor, so it is unknown how images are normalised\. Add"
    ):
        preprocess(config, "c.py", None)
