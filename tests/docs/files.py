"""The files that the documentation's commands name: real ones, small, each made once and only if a page names it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import torch
import torchvision
from torch import nn

from tests.docs.pages import ROOT, blocks_of
from tests.explain.evaluation.coco import annotations_of
from tests.export.sources.onnx import deployed
from tests.matrix import torchvision_models

SIGNS = ROOT / "examples" / "signs"
IMAGES = SIGNS / "images"
FILES: dict[str, Callable[[Path], None]] = {}
"""By name, what writes the file (or folder) to a path."""


def _file(*names: str) -> Callable[[Callable[[Path], None]], Callable[[Path], None]]:
    def register(write: Callable[[Path], None]) -> Callable[[Path], None]:
        FILES.update(dict.fromkeys(names, write))
        return write

    return register


def _copied(source: Path) -> Callable[[Path], None]:
    return lambda path: shutil.copyfile(source, path) and None


FILES |= {name: _copied(IMAGES / name) for name in ("street.jpg", "cat.jpg", "coffee.jpg")}
FILES |= {"my_config.py": _copied(SIGNS / "config.py"), "my_checkpoint.pth": _copied(SIGNS / "signs.pth")}


@_file("truth.json")
def _truth(path: Path) -> None:
    path.write_text(json.dumps(annotations_of(SIGNS)), encoding="utf-8")


@_file("photos")
def _photos(path: Path) -> None:
    path.mkdir()
    for name in ("towers.jpg", "houses.jpg"):
        shutil.copyfile(IMAGES / name, path / name)


@_file("more")
def _more(path: Path) -> None:
    (path / "night").mkdir(parents=True)
    cv2.imwrite(str(path / "night" / "saucer.png"), cv2.imread(str(IMAGES / "saucer.jpg")))


def _deployed(name: str) -> Callable[[Path], None]:
    """A detector of three classes whose outputs are those of a convention; see `tests.export.sources.onnx.deployed`."""
    return lambda path: deployed.export(deployed.CASES[name], path) and None


class _Dynamic(deployed.Body):
    """The same detector, of any size of picture; the outputs are those of Ultralytics."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        boxes, logits = [], []
        for feature, stride in zip(self.neck(image), deployed.STRIDES, strict=True):
            rows, columns = (torch.arange(feature.shape[axis]) + 0.5 for axis in (2, 3))
            y, x = torch.meshgrid(rows, columns, indexing="ij")
            places = torch.stack([x, y], 2).reshape(1, -1, 2) * stride
            sides = (self.box(feature).flatten(2).transpose(1, 2).sigmoid()[..., :2] + 0.3) * 4 * stride
            boxes.append(torch.cat([places, sides], 2))
            logits.append(self.score(feature).flatten(2).transpose(1, 2))
        return torch.cat([torch.cat(boxes, 1), torch.cat(logits, 1).sigmoid()], 2).transpose(1, 2)


@_file("dynamic.onnx")
def _dynamic(path: Path) -> None:
    torch.onnx.export(
        _Dynamic().eval(), (torch.rand(1, 3, 64, 96),), str(path), dynamo=False, opset_version=17,
        input_names=["images"], output_names=["output0"],
        dynamic_axes={"images": {2: "height", 3: "width"}, "output0": {2: "anchors"}},
    )  # fmt: skip


def _fixed(name: str) -> Callable[[Path], None]:
    """The same, of one input size."""

    def write(path: Path) -> None:
        metadata = {k: v for k, v in deployed.CASES[name].metadata.items() if k != "imgsz"}
        deployed.export(replace(deployed.CASES[name], dynamic=False, metadata=metadata), path)

    return write


FILES |= {
    "model.onnx": _fixed("ultralytics"),
    "yolo.onnx": _fixed("ultralytics"),
    "yolov5.onnx": _fixed("yolov5"),
    "paddle.onnx": _deployed("paddle"),
    "paddle_raw.onnx": _deployed("classes in front"),
    "tensorflow.onnx": _deployed("tensorflow"),
    "torchvision.onnx": _deployed("torchvision"),
    "detr.onnx": _deployed("detr"),
    "raw.onnx": _deployed("raw logits"),
    "own_head.onnx": _deployed("a function"),
}


@_file("names.txt", "coco.txt")
def _names(path: Path) -> None:
    path.write_text("car\ncat\ncup\n", encoding="utf-8")


@_file("preprocess.yaml")
def _preprocess(path: Path) -> None:
    (text,) = [block.text for block in blocks_of("docs/preprocessing.md") if block.language == "yaml"]
    path.write_text(text, encoding="utf-8")


class _Classifier(nn.Module):
    """Twelve classes out of 7x7 cells; ``layer4`` is a module, as in a ResNet."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        stages: list[nn.Module] = []
        for inputs, outputs in ((3, 8), (8, 8), (8, 12), (12, 12)):
            stages += [nn.Conv2d(inputs, outputs, 3, 2, 1), nn.ReLU()]
        self.stem, self.layer4 = nn.Sequential(*stages), nn.Sequential(nn.Conv2d(12, 16, 3, 2, 1), nn.ReLU())
        self.fc = nn.Linear(16, 12)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.fc(self.layer4(self.stem(image)).mean((2, 3))) * 20


@_file("classifier.onnx", "resnet18.onnx")
def _classifier(path: Path) -> None:
    torch.onnx.export(
        _Classifier().eval(), (torch.rand(1, 3, 224, 224),), str(path), dynamo=False, opset_version=17,
        input_names=["image"], output_names=["logits"],
    )  # fmt: skip


@_file("classifier.txt")
def _kinds(path: Path) -> None:
    path.write_text("".join(f"kind {k}\n" for k in range(12)), encoding="utf-8")


DETECTOR = "fasterrcnn_mobilenet_v3_large_320_fpn"
"""What the pages export of torchvision: its smallest detector with proposals."""


@_file("weights.pth")
def _weights(path: Path) -> None:
    torchvision_models.make(DETECTOR, path, None)


@_file("resnet18.pth")
def _resnet(path: Path) -> None:
    torch.manual_seed(0)
    model = torchvision.models.resnet18(weights=None, num_classes=12)
    with torch.no_grad():
        model.fc.weight.mul_(20)
    torch.save(model.state_dict(), path)


def named_in(text: str) -> list[str]:
    """Those of the files that a text names."""
    return [name for name in FILES if re.search(rf"(?<![\w/.-]){re.escape(name)}(?![\w-])", text)]
