"""mmyolo's configs: recognised as what they are, and prepared as mmyolo's own pipeline prepares."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from mmengine import Config
from mmengine.registry import DefaultScope

from boxcam.errors import SourceError
from boxcam.export.source import SOURCES, Request, detect_source
from boxcam.export.sources.openmmlab import mmyolo as source
from boxcam.export.sources.openmmlab import mmyolo_parts
from boxcam.export.sources.openmmlab.compat import bridged
from boxcam.export.sources.openmmlab.config import labels, preprocess, read_config, scope
from boxcam.runtime.preprocess import prepare

LETTERBOX = "yolov8/yolov8_n_syncbn_fast_8xb16-500e_coco.py"
CONFIGS = [
    LETTERBOX,
    "ppyoloe/ppyoloe_plus_s_fast_8xb8-80e_coco.py",
    "rtmdet/rtmdet_tiny_syncbn_fast_8xb32-300e_coco.py",
]
SIZES = [(240, 320), (333, 500), (1000, 667), (639, 1279), (31, 900)]


def shipped(name: str) -> str:
    origin = importlib.util.find_spec("mmyolo").origin  # type: ignore[union-attr]
    return str(Path(str(origin)).parent / ".mim" / "configs" / name)


def theirs(config: Config, image: np.ndarray) -> np.ndarray:
    """The input that mmyolo makes of an image, in its own pipeline and data preprocessor."""
    from mmcv.transforms import Compose
    from mmyolo.registry import MODELS

    with bridged(), DefaultScope.overwrite_default_scope("mmyolo"):
        mmyolo_parts.register()
        steps = [s for s in config.test_dataloader.dataset.pipeline if "Load" not in s["type"]]
        packed = Compose(steps)({"img": image, "img_shape": image.shape[:2], "ori_shape": image.shape[:2]})
        model = MODELS.build(config.model.data_preprocessor)
        return model({"inputs": [packed["inputs"]], "data_samples": [packed["data_samples"]]})["inputs"].numpy()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", CONFIGS)
def test_the_input_is_the_one_that_mmyolo_makes(name: str, size: tuple[int, int], signs: Path) -> None:
    image = cv2.resize(cv2.imread(str(signs / "images" / "cat.jpg")), size[::-1], interpolation=cv2.INTER_AREA)
    config = read_config(shipped(name))
    with bridged():
        ours, place = prepare(image, preprocess(config, name, None))
    assert np.array_equal(theirs(config, image), ours)
    assert max(place.resized_height, place.resized_width) in (639, 640)  # a size that is rounded down may lose a pixel


def test_a_shape_is_the_canvas_and_what_images_are_fitted_into() -> None:
    with bridged():
        found = preprocess(read_config(shipped(LETTERBOX)), "c.py", (192, 256))
    assert (found.height, found.width, found.fit_height, found.fit_width) == (192, 256, 192, 256)
    assert (found.resize, found.pad_to, found.pad_value) == ("fit", "center", (114.0, 114.0, 114.0))
    with bridged(), pytest.raises(SourceError, match=r"multiples of 32\. Pass shape=\(224, 256\)"):
        preprocess(read_config(shipped(LETTERBOX)), "c.py", (200, 256))


@pytest.mark.parametrize(
    "changed", [{"allow_scale_up": True}, {"use_mini_pad": True}, {"stretch_only": True}], ids=lambda c: next(iter(c))
)
def test_other_letterboxes_are_refused(changed: dict[str, Any]) -> None:
    config = read_config(shipped(LETTERBOX))
    config.test_dataloader.dataset.pipeline[2].update(changed)
    with (
        bridged(),
        pytest.raises(SourceError, match="LetterResize can be reproduced only after YOLOv5KeepRatioResize, with"),
    ):
        preprocess(config, "c.py", None)


def test_class_names_are_those_of_its_data_set() -> None:
    with bridged():
        mmyolo_parts.register()
        found = labels(read_config(shipped(LETTERBOX)), {}, 80)
    assert (found[0], found[79]) == ("person", "toothbrush")


def test_a_config_is_recognised_by_its_scope(signs: Path, tmp_path: Path) -> None:
    assert detect_source((shipped(LETTERBOX), "weights.pth")) == "mmyolo"
    assert detect_source((str(signs / "config.py"), "weights.pth")) == "mmdet"
    assert scope(str(tmp_path / "missing.py")) is None
    broken = tmp_path / "broken.py"
    broken.write_text("1 / 0")
    assert detect_source((str(broken), "weights.pth")) == "mmdet"  # which says what is wrong with it
    assert not SOURCES["mmyolo"].recognises((shipped(LETTERBOX),))


def test_without_mmyolo_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "mmyolo" else there(name, *a))
    with pytest.raises(SourceError, match=r"mmyolo is not installed\. Install boxcam's 'mmyolo' extra"):
        source.load(Request((LETTERBOX, "weights.pth")), lambda step: None)


def test_merged_branches_are_what_they_were() -> None:
    """YOLOv6's RepVGG blocks, with statistics that are not those of a new network."""
    from mmyolo.registry import MODELS

    with bridged(), DefaultScope.overwrite_default_scope("mmyolo"):
        mmyolo_parts.register()
        torch.manual_seed(0)
        config = read_config(shipped("yolov6/yolov6_n_syncbn_fast_8xb32-400e_coco.py"))
        backbone = MODELS.build({**config.model.backbone, "norm_cfg": {"type": "BN"}})
        image = torch.rand(2, 3, 64, 64)
        backbone.train()  # both give nothing back
        backbone(image)
        backbone.eval()
        backbone, image = backbone.double(), image.double()  # deep enough for float32 noise to show
        before = [level.detach() for level in backbone(image)]
        count = len(list(backbone.parameters()))
        mmyolo_parts.switch_to_deploy(backbone)
        after = backbone.double()(image)
    assert len(list(backbone.parameters())) < count
    for old, new in zip(before, after, strict=True):
        torch.testing.assert_close(old, new, rtol=1e-5, atol=1e-5)
