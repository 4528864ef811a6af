"""What decoder layers pass on, and frameworks detach: `boxcam inspect` names it, and its advice gives their gradient.

The truth is autograd on a live model that is built as D-FINE's decoder is, and detaches what that detaches or does not.
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import boxcam
from boxcam.export import inspect
from boxcam.export.inspect.facts import Survey
from boxcam.export.inspect.lines import lines
from boxcam.export.source import Request
from tests.export.layers.transformers import CLASSES, COLUMNS, HEIGHT, ROWS, WIDE, WIDTH, Block, Transformer, picture

QUERIES, POINTS = 6, 2
MEMORY = "/norm/LayerNormalization_output_0"
READ = {
    "scores": "logits", "boxes": "pred_boxes", "box_format": "cxcywh", "box_scale": "normalized",
    "score_activation": "none", "preprocess": ("yolo", "resize=stretch"),
}  # fmt: skip
IMAGE = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)


class Layer(nn.Module):
    """A decoder layer whose queries sample the memory within their boxes."""

    def __init__(self) -> None:
        super().__init__()
        self.place = nn.Sequential(nn.Linear(4, WIDE), nn.ReLU(), nn.Linear(WIDE, WIDE))
        self.offsets, self.weights = nn.Linear(WIDE, 2 * POINTS), nn.Linear(WIDE, POINTS)
        self.cross, self.last = nn.LayerNorm(WIDE), nn.LayerNorm(WIDE)
        self.mlp = nn.Sequential(nn.Linear(WIDE, WIDE), nn.ReLU(), nn.Linear(WIDE, WIDE))

    def forward(self, queries: Tensor, boxes: Tensor, memory: Tensor) -> Tensor:
        placed = queries + self.place(boxes)
        offsets = self.offsets(placed).view(1, QUERIES, POINTS, 2)
        where = boxes[:, :, None, :2] + offsets / POINTS * boxes[:, :, None, 2:] * 0.5
        cells = memory.transpose(1, 2).view(1, WIDE, ROWS, COLUMNS)
        sampled = F.grid_sample(cells, 2 * where - 1, align_corners=False)
        read = (sampled * self.weights(placed).softmax(2)[:, None]).sum(3).transpose(1, 2)
        x = self.cross(queries + read)
        return self.last(x + self.mlp(x))


class Refined(Transformer):
    """Three layers that move the boxes one after the other.

    Args:
        boxes: whether they are detached on their way, as of DINO and D-FINE.
        added: ``no``; or each layer adds the queries before it to its own for its box, ``detached`` as D-FINE's are.
    """

    def __init__(self, boxes: bool = True, added: str = "no") -> None:
        super().__init__(1)
        self.detach_boxes, self.added = boxes, added
        self.start, self.tokens = nn.Linear(WIDE, 4), nn.Parameter(torch.randn(1, QUERIES, WIDE))
        self.layers = nn.ModuleList(Layer() for _ in range(3))
        self.moves = nn.ModuleList(nn.Linear(WIDE, 4) for _ in range(3))
        self.score, self.encoder = nn.Linear(WIDE, CLASSES), Block()

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        memory = self.norm(self.encoder(self.patches(image)))
        queries, before = self.tokens, None
        boxes = self.start(queries + memory.mean(1, keepdim=True)).sigmoid()
        for layer, move in zip(self.layers, self.moves, strict=True):
            given = boxes.detach() if self.detach_boxes and before is not None else boxes
            queries = layer(queries, given, memory)
            held = before if before is None or self.added != "detached" else before.detach()
            joined = queries if held is None or self.added == "no" else queries + held
            boxes = (move(joined) + torch.logit(given.clip(0.01, 0.99))).sigmoid()
            before = queries
        return self.score(queries).sigmoid(), boxes


def network(boxes: bool, added: str = "no") -> Refined:
    torch.manual_seed(3)
    return Refined(boxes, added).eval()


def written(model: nn.Module, path: Path, opset: int = 17) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model, (picture(),), str(path), input_names=["images"], output_names=["logits", "pred_boxes"],
            opset_version=opset, dynamo=False,
        )  # fmt: skip
    return path


def survey(path: Path) -> Survey:
    return inspect.survey(Request((str(path),), **READ), lambda words: None, seconds=0)  # type: ignore[arg-type]


def live(model: Refined, origin: np.ndarray) -> np.ndarray:
    """HiResCAM of one class logit at the memory, by autograd: [rows, columns]."""
    seen: list[Tensor] = []
    logits: list[Tensor] = []
    model.norm.register_forward_hook(lambda _, __, out: seen.append(out))
    model.score.register_forward_hook(lambda _, __, out: logits.append(out))
    model(torch.from_numpy(IMAGE[..., ::-1].transpose(2, 0, 1).copy())[None].float() / 255)
    (gradient,) = torch.autograd.grad(logits[0][0][tuple(origin[1:])], seen[0])
    return np.asarray((gradient * seen[0]).sum(2).detach().numpy().reshape(ROWS, COLUMNS))


@pytest.mark.parametrize("obeyed", [True, False])
def test_the_advice_of_inspect_gives_the_gradient_of_the_framework(obeyed: bool, tmp_path: Path) -> None:
    path = written(network(True), tmp_path / "m.onnx")
    found = survey(path)
    assert len(found.passed) == 2  # of three layers; the first boxes are nobody's
    (line,) = [line for line in lines(found) if "passes its boxes to the next" in line]
    (advice,) = re.findall(r"stops=\[(.*?)\]", line)
    stops = re.findall(r"'([^']+)'", advice) if obeyed else []
    assert stops == (list(found.passed) if obeyed else [])
    boxcam.export(path, output=tmp_path / "b", layers=[MEMORY], engine="onnx", stops=stops, **READ)  # type: ignore[arg-type]
    explained = boxcam.load(tmp_path / "b").explain(IMAGE, method="hirescam", score=0, top=4)
    assert len(explained) == 4
    for origin, parts in zip(explained.detections.origin, explained.parts, strict=True):
        expected, other = (live(network(detached), origin) for detached in (obeyed, not obeyed))
        cells = np.zeros((ROWS, COLUMNS), np.float32)
        (part,) = parts
        y, x = part.cells.corner
        cells[y : y + part.cells.values.shape[0], x : x + part.cells.values.shape[1]] = part.cells.values
        size = np.abs(expected).max()
        assert np.abs(cells - expected).max() < 1e-4 * size
        assert np.abs(cells - other).max() > 1e-2 * size


@pytest.mark.parametrize("opset", [16, 17])
def test_queries_that_are_added_are_named_too(opset: int, tmp_path: Path) -> None:
    """A norm may be one operator, or as many as it has before opset 17. No logit depends on the last layer's sum."""
    found = survey(written(network(True, "detached"), tmp_path / "m.onnx", opset))
    assert (len(found.passed), len(found.added)) == (2, 1)
    (line,) = [line for line in lines(found) if "are added to those of the next" in line]
    assert all(name in line for name in found.added)
    plain = survey(written(network(True), tmp_path / "p.onnx", opset))
    assert plain.added == ()
    assert not any("are added to" in line for line in lines(plain))


def test_nothing_is_said_where_no_layer_moves_boxes(tmp_path: Path) -> None:
    from tests.export.layers.transformers import KINDS

    for kind in KINDS:
        torch.manual_seed(0)
        found = survey(written(KINDS[kind]().eval(), tmp_path / f"{kind}.onnx"))
        assert (found.passed, found.added) == ((), ())
