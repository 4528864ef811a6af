"""Small detectors whose heads join, cut and lay out scores and boxes in the ways of many frameworks.

All have two maps, ``fine`` and ``coarse``, each made by a 3x3 convolution of stride 2 and one of stride 1; a kind of
head is how the outputs are put together, and what its branches are made of.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

HEIGHT, WIDTH, CLASSES, BINS, WIDE = 64, 96, 4, 4, 12
STRIDES = (8, 16)
FINE, COARSE = "/fine/fine.3/Mul_output_0", "/coarse/coarse.3/Mul_output_0"
BEFORE_FINE, BEFORE_COARSE = "/fine/fine.1/Mul_output_0", "/coarse/coarse.1/Mul_output_0"


class ChannelNorm(nn.Module):
    """LayerNorm over the channels of each cell."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDE)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Gate(nn.Module):
    """Squeeze and excitation: channels are weighed by their means over the whole map."""

    def __init__(self) -> None:
        super().__init__()
        self.weigh = nn.Conv2d(WIDE, WIDE, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weigh(F.adaptive_avg_pool2d(x, 1)).sigmoid()


class Attention(nn.Module):
    """Each cell reads all cells."""

    def __init__(self) -> None:
        super().__init__()
        self.read = nn.Conv2d(WIDE, 3 * WIDE, 1)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.read(x).flatten(2).transpose(1, 2).chunk(3, 2)
        mixed = (q @ k.transpose(1, 2) / math.sqrt(WIDE)).softmax(2) @ v
        return x + mixed.transpose(1, 2).reshape(x.shape)


class Strip(nn.Module):
    """A mean over rows alone, added to each cell: columns are mixed, rows are not."""

    def forward(self, x: Tensor) -> Tensor:
        return x + x.mean(2, keepdim=True)


class Residual(nn.Module):
    def __init__(self, *parts: str) -> None:
        super().__init__()
        self.inner = tower(*parts)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


PARTS: dict[str, Callable[[], nn.Module]] = {
    "1x1": lambda: nn.Conv2d(WIDE, WIDE, 1),
    "3x3": lambda: nn.Conv2d(WIDE, WIDE, 3, 1, 1),
    "depthwise": lambda: nn.Conv2d(WIDE, WIDE, 3, 1, 1, groups=WIDE),
    "grouped": lambda: nn.Conv2d(WIDE, WIDE, 1, groups=4),
    "row": lambda: nn.Conv2d(WIDE, WIDE, (1, 3), 1, (0, 1)),
    "silu": nn.SiLU,
    "leaky": lambda: nn.LeakyReLU(0.1),
    "mish": nn.Mish,
    "gelu": nn.GELU,
    "gelu of tanh": lambda: nn.GELU(approximate="tanh"),
    "batch norm": lambda: nn.BatchNorm2d(WIDE),
    "group norm": lambda: nn.GroupNorm(3, WIDE),
    "channel norm": ChannelNorm,
    "gate": Gate,
    "attention": Attention,
    "strip": Strip,
    "mean pool": lambda: nn.AvgPool2d(3, 1, 1),
    "residual": lambda: Residual("1x1", "gelu", "1x1"),
    "residual 3x3": lambda: Residual("3x3", "silu"),
}


def tower(*parts: str) -> nn.Sequential:
    return nn.Sequential(*(PARTS[part]() for part in parts))


@dataclass(frozen=True)
class Kind:
    """A kind of head.

    Attributes:
        join: how scores and boxes are put together, one of `JOINS`.
        score, box: what the branches are made of, before their last convolution.
        shared: what both branches read, of each map.
        one: the maps share the weights of the branches.
        opset: of the file.
    """

    join: str = "old"
    score: tuple[str, ...] = ("3x3", "silu", "3x3", "silu")
    box: tuple[str, ...] = ("3x3", "silu", "3x3", "silu")
    shared: tuple[str, ...] = ()
    one: bool = False
    opset: int = 17


def _block(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, stride, 1), nn.SiLU()]


class Detector(nn.Module):
    """Call it with a picture [1, 3, 64, 96]; what it returns follows from the kind of its head."""

    def __init__(self, kind: Kind, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.kind = kind
        self.stem = nn.Sequential(*_block(3, 8, 2), *_block(8, 8, 2))
        self.fine = nn.Sequential(*_block(8, WIDE, 2), *_block(WIDE, WIDE, 1))
        self.coarse = nn.Sequential(*_block(WIDE, WIDE, 2), *_block(WIDE, WIDE, 1))
        sides = {"one": 3 * (5 + CLASSES), "written": 3 * (5 + CLASSES)}.get(kind.join, 4 * BINS)
        count = 1 if kind.one else 2
        self.shared = nn.ModuleList(tower(*kind.shared) for _ in range(count))
        self.score_tower = nn.ModuleList(tower(*kind.score) for _ in range(count))
        self.box_tower = nn.ModuleList(tower(*kind.box) for _ in range(count))
        self.score = nn.ModuleList(nn.Conv2d(WIDE, CLASSES, 1) for _ in range(count))
        self.box = nn.ModuleList(nn.Conv2d(WIDE, sides, 1) for _ in range(count))
        self.objectness = nn.ModuleList(nn.Conv2d(WIDE, 1, 1) for _ in range(count))
        self.masks = nn.ModuleList(nn.Sequential(nn.Conv2d(WIDE, 5, 3, 1, 1)) for _ in range(count))
        self.fused = nn.ModuleList(nn.Conv2d(WIDE, 2 * WIDE, 3, 1, 1) for _ in range(count))
        self.both = nn.ModuleList(nn.Conv2d(2 * WIDE, 2 * 4 * BINS, 1, groups=2) for _ in range(count))
        self.weigh = nn.ModuleList(nn.Conv2d(WIDE, WIDE, 1) for _ in range(2))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, 0, 1.3 / math.sqrt(module.weight[0].numel()))
        self.register_buffer("bins", torch.arange(BINS).float().reshape(1, BINS, 1, 1))

    def forward(self, image: Tensor) -> Any:
        fine = self.fine(self.stem(image))
        maps = [fine, self.coarse(fine)]
        shared = [self.level(self.shared, level)(given) for level, given in enumerate(maps)]
        return JOINS[self.kind.join](self, shared)

    def level(self, modules: nn.ModuleList, level: int) -> nn.Module:
        return modules[0 if self.kind.one else level]

    def scores_of(self, level: int, given: Tensor) -> Tensor:
        found: Tensor = self.level(self.score, level)(self.level(self.score_tower, level)(given))
        return found

    def boxes_of(self, level: int, given: Tensor) -> Tensor:
        found: Tensor = self.level(self.box, level)(self.level(self.box_tower, level)(given))
        return found

    def decode(self, sides: Tensor) -> Tensor:
        """Centres and sizes [1, 4, N] of distributions over distances [1, 4·BINS, N]."""
        anchors, strides = _grid()
        distances = (sides.view(1, 4, BINS, -1).transpose(1, 2).softmax(1) * self.bins).sum(1) * 0.5 + 0.2
        first, last = distances.chunk(2, 1)
        return torch.cat([(2 * anchors + last - first) / 2, first + last], 1) * strides


def _grid() -> tuple[Tensor, Tensor]:
    """Centres of all cells [1, 2, N], in cells; and their strides [1, 1, N]."""
    anchors, strides = [], []
    for stride in STRIDES:
        y, x = torch.meshgrid(torch.arange(HEIGHT // stride), torch.arange(WIDTH // stride), indexing="ij")
        anchors.append(torch.stack([x, y]).reshape(1, 2, -1) + 0.5)
        strides.append(torch.full((1, 1, x.numel()), float(stride)))
    return torch.cat(anchors, 2), torch.cat(strides, 2)


def _pairs(net: Detector, maps: list[Tensor]) -> list[tuple[Tensor, Tensor]]:
    return [(net.boxes_of(level, given), net.scores_of(level, given)) for level, given in enumerate(maps)]


def old(net: Detector, maps: list[Tensor]) -> Tensor:
    """As Ultralytics exported YOLOv8 until 8.2: joined for each level, then all levels, then cut."""
    levels = [torch.cat(pair, 1) for pair in _pairs(net, maps)]
    joined = torch.cat([level.view(1, 4 * BINS + CLASSES, -1) for level in levels], 2)
    sides, scores = joined.split((4 * BINS, CLASSES), 1)
    return torch.cat([net.decode(sides), scores.sigmoid()], 1)


def new(net: Detector, maps: list[Tensor]) -> Tensor:
    """As Ultralytics exports it since 8.4: boxes and scores apart."""
    pairs = _pairs(net, maps)
    sides = torch.cat([box.view(1, 4 * BINS, -1) for box, _ in pairs], -1)
    scores = torch.cat([score.view(1, CLASSES, -1) for _, score in pairs], -1)
    return torch.cat([net.decode(sides), scores.sigmoid()], 1)


def sliced(net: Detector, maps: list[Tensor]) -> Tensor:
    """Cut by slices, of cells in rows."""
    levels = [torch.cat(pair, 1).permute(0, 2, 3, 1).flatten(1, 2) for pair in _pairs(net, maps)]
    joined = torch.cat(levels, 1).transpose(1, 2)
    return torch.cat([net.decode(joined[:, : 4 * BINS]), joined[:, 4 * BINS :].sigmoid()], 1)


def gathered(net: Detector, maps: list[Tensor]) -> Tensor:
    """Cut by lists of columns; the scores come first."""
    levels = [torch.cat([score, box], 1).flatten(2) for box, score in _pairs(net, maps)]
    joined = torch.cat(levels, 2)
    scores = joined.index_select(1, torch.arange(CLASSES))
    sides = joined.index_select(1, torch.arange(4 * BINS) + CLASSES)
    return torch.cat([net.decode(sides), scores.sigmoid()], 1)


def rows(net: Detector, maps: list[Tensor]) -> Tensor:
    """One table [1, N, 4 + C], activated as a whole before it is cut."""
    levels = [torch.cat(pair, 1).flatten(2).permute(0, 2, 1) for pair in _pairs(net, maps)]
    joined = torch.cat(levels, 1).sigmoid()
    sides, scores = joined[..., : 4 * BINS], joined[..., 4 * BINS :]
    return torch.cat([net.decode(sides.transpose(1, 2)).transpose(1, 2), scores], 2)


def apart(net: Detector, maps: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Two outputs, as of RetinaNet."""
    pairs = _pairs(net, maps)
    sides = torch.cat([box.flatten(2) for box, _ in pairs], 2)
    scores = torch.cat([score.permute(0, 2, 3, 1).reshape(1, -1, CLASSES) for _, score in pairs], 1)
    centre, size = net.decode(sides).transpose(1, 2).split(2, 2)
    return torch.cat([centre - size / 2, centre + size / 2], 2), scores.sigmoid()


def one(net: Detector, maps: list[Tensor]) -> Tensor:
    """As YOLOv5: one convolution gives boxes, objectness and scores of three anchors."""
    found = []
    for level, given in enumerate(maps):
        y = net.boxes_of(level, given).view(1, 3, 5 + CLASSES, HEIGHT // STRIDES[level], WIDTH // STRIDES[level])
        xy, wh, rest = y.permute(0, 1, 3, 4, 2).sigmoid().split((2, 2, 1 + CLASSES), 4)
        found.append(torch.cat([_moved(xy, level), (wh * 2) ** 2 * STRIDES[level], rest], 4).view(1, -1, 5 + CLASSES))
    return torch.cat(found, 1)


def written(net: Detector, maps: list[Tensor]) -> Tensor:
    """As older YOLOv5: the boxes are written into what the convolution gives."""
    found = []
    for level, given in enumerate(maps):
        y = net.boxes_of(level, given).view(1, 3, 5 + CLASSES, HEIGHT // STRIDES[level], WIDTH // STRIDES[level])
        y = y.permute(0, 1, 3, 4, 2).sigmoid()
        y[..., 0:2] = _moved(y[..., 0:2], level)
        y[..., 2:4] = (y[..., 2:4] * 2) ** 2 * STRIDES[level]
        found.append(y.reshape(1, -1, 5 + CLASSES))
    return torch.cat(found, 1)


def _moved(xy: Tensor, level: int) -> Tensor:
    """Centres in pixels of offsets [1, 3, h, w, 2]."""
    stride = STRIDES[level]
    y, x = torch.meshgrid(torch.arange(HEIGHT // stride), torch.arange(WIDTH // stride), indexing="ij")
    return (xy * 2 - 0.5 + torch.stack([x, y], 2).float()) * stride


def objectness(net: Detector, maps: list[Tensor]) -> Tensor:
    """As YOLOX: the objectness is a second convolution of what the boxes' branch ends in."""
    levels = []
    for level, given in enumerate(maps):
        features = net.level(net.box_tower, level)(given)
        parts = [net.level(net.box, level)(features), net.level(net.objectness, level)(features).sigmoid()]
        levels.append(torch.cat([*parts, net.scores_of(level, given).sigmoid()], 1))
    joined = torch.cat([level.flatten(2) for level in levels], 2).permute(0, 2, 1)
    boxes = net.decode(joined[..., : 4 * BINS].transpose(1, 2)).transpose(1, 2)
    return torch.cat([boxes, joined[..., 4 * BINS :]], 2)


def masks(net: Detector, maps: list[Tensor]) -> tuple[Tensor, Tensor]:
    """As YOLOv8 for segmentation: coefficients of masks beside the scores, and what they weigh."""
    levels = []
    for level, (given, pair) in enumerate(zip(maps, _pairs(net, maps), strict=True)):
        levels.append(torch.cat([*pair, net.level(net.masks, level)(given)], 1).flatten(2))
    sides, scores, weights = torch.cat(levels, 2).split((4 * BINS, CLASSES, 5), 1)
    return torch.cat([net.decode(sides), scores.sigmoid(), weights], 1), maps[0][:, :5] * 2


def fused(net: Detector, maps: list[Tensor]) -> Tensor:
    """The first convolutions of both branches are one, whose channels are cut."""
    pairs = []
    for level, given in enumerate(maps):
        score, box = F.silu(net.level(net.fused, level)(given)).chunk(2, 1)
        pairs.append((net.boxes_of(level, box), net.scores_of(level, score)))
    sides = torch.cat([box.flatten(2) for box, _ in pairs], 2)
    scores = torch.cat([score.flatten(2) for _, score in pairs], 2)
    return torch.cat([net.decode(sides), scores.sigmoid()], 1)


def groups(net: Detector, maps: list[Tensor]) -> Tensor:
    """The last convolutions of both branches are one in two groups."""
    levels = []
    for level, given in enumerate(maps):
        towers = [net.level(branch, level)(given) for branch in (net.box_tower, net.score_tower)]
        levels.append(net.level(net.both, level)(torch.cat(towers, 1)).flatten(2))
    joined = torch.cat(levels, 2)
    return torch.cat([net.decode(joined[:, : 4 * BINS]), joined[:, 4 * BINS : 4 * BINS + CLASSES].sigmoid()], 1)


def weighed(net: Detector, maps: list[Tensor]) -> Tensor:
    """As PP-YOLOE: both branches weigh channels by one mean of the map, and add the map."""
    pairs = []
    for level, given in enumerate(maps):
        mean = F.adaptive_avg_pool2d(given, 1)
        box, score = (given * weigh(mean).sigmoid() for weigh in net.weigh)
        pairs.append((net.boxes_of(level, box), net.scores_of(level, score + given)))
    sides = torch.cat([box.flatten(2) for box, _ in pairs], 2)
    scores = torch.cat([score.flatten(2) for _, score in pairs], 2)
    return torch.cat([net.decode(sides), scores.sigmoid()], 1)


def queries(net: Detector, maps: list[Tensor]) -> tuple[Tensor, Tensor]:
    """As DETR: queries read all cells of both maps, then give a box and scores each."""
    memory = torch.cat([given.flatten(2).transpose(1, 2) for given in maps], 1)
    asked = torch.linspace(-2, 2, 10 * WIDE).reshape(1, 10, WIDE).sin()
    read = asked + (asked @ memory.transpose(1, 2) / math.sqrt(WIDE)).softmax(2) @ memory
    score, box = net.both[0].weight[: CLASSES + 1, :WIDE, 0, 0], net.both[0].weight[-4:, :WIDE, 0, 0]
    return read @ score.T, (read @ box.T).sigmoid()


def proposals(net: Detector, maps: list[Tensor]) -> tuple[Tensor, Tensor]:
    """As Faster R-CNN: the best cells of the fine map are pooled, and a joined layer gives scores and boxes of them."""
    sides = net.boxes_of(0, maps[0]).flatten(2)
    coarse = torch.zeros(1, 4 * BINS, maps[1].shape[2] * maps[1].shape[3])
    centre, size = net.decode(torch.cat([sides, coarse], 2))[0].T.split(2, 1)
    best = net.scores_of(0, maps[0]).flatten(2).amax(1)[0].topk(10).indices
    regions = torch.cat([centre - size / 2, centre + size / 2], 1)[best].detach()
    pooled = torchvision.ops.roi_align(maps[0], [regions], (3, 3), 1 / STRIDES[0])
    joined = F.silu(pooled.flatten(1) @ _weights(9 * WIDE, 16)) @ _weights(16, 4 + CLASSES)
    moved = joined[:, CLASSES:].tanh() * 4
    return (regions + moved)[None], joined[None, :, :CLASSES].sigmoid()


def _weights(rows: int, columns: int) -> Tensor:
    return (torch.arange(rows * columns).float() ** 2).sin().reshape(rows, columns) / rows**0.5


JOINS: dict[str, Callable[[Detector, list[Tensor]], Any]] = {
    function.__name__: function
    for function in (old, new, sliced, gathered, rows, apart, one, written, objectness, masks, fused, groups, weighed)
} | {"queries": queries, "proposals": proposals}

_PAIR = ("boxes", "scores")
_OUTPUTS = {"apart": _PAIR, "proposals": _PAIR, "queries": ("logits", "pred_boxes"), "masks": ("output0", "output1")}
_OBJECTNESS = ("one", "written", "objectness")


def export(kind: Kind, path: Path, seed: int = 0) -> Path:
    """Write a kind's ONNX file."""
    model = Detector(kind, seed).eval()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (torch.rand(1, 3, HEIGHT, WIDTH),),
            str(path),
            dynamo=False,
            opset_version=kind.opset,
            input_names=["image"],
            output_names=list(_OUTPUTS.get(kind.join, ("output0",))),
        )
    written = onnx.load(str(path))
    names = {number: f"class {number}" for number in range(CLASSES)}
    task = "segment" if kind.join == "masks" else "detect"
    said = {"names": str(names), "stride": "16", "task": task, "imgsz": f"[{HEIGHT}, {WIDTH}]"}
    onnx.helper.set_model_props(written, said)
    onnx.save(written, str(path))
    return path


def parts(kind: Kind, outputs: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Scores [N, C] and boxes [N, 4] among what a kind's file gives."""
    if kind.join in _OUTPUTS and kind.join != "masks":
        pair = outputs if kind.join == "queries" else outputs[::-1]
        return pair[0][0], pair[1][0]
    table = outputs[0][0] if kind.join in ("rows", *_OBJECTNESS) else outputs[0][0].T
    first = 5 if kind.join in _OBJECTNESS else 4
    return table[:, first : first + CLASSES], table[:, :4]
