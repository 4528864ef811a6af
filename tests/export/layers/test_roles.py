"""What a tensor is to the model follows from what scores and boxes depend on, whatever operators lie between.

All that is said of layers here is proved a second time by running: tensors are moved, and scores and boxes watched.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import shape_inference

from boxcam.export import inspect
from boxcam.export.inspect import Survey
from boxcam.export.source import Request
from tests.export.layers.head_kinds import BEFORE_COARSE, BEFORE_FINE, COARSE, FINE, JOINS, PARTS, Kind, export
from tests.export.layers.probe import Probe

POINTWISE = ("1x1", "silu")
BOTH = {COARSE, FINE}


def survey(path: Path, **options: Any) -> Survey:
    """What `boxcam inspect` finds, all maps in its table; no gradient is built."""
    return inspect.survey(Request((str(path),), **options), lambda words: None, everything=True, seconds=0)


def role_of(found: Survey, name: str) -> str:
    return next(layer.role for layer in found.layers if layer.name == name)


def heads(found: Survey) -> set[str]:
    """The maps that the table says the heads read."""
    return {layer.name for layer in found.layers if layer.role.startswith("what the heads read")}


def later_maps(path: Path, names: set[str]) -> list[str]:
    """All maps of more than one cell that lie between some and the outputs."""
    graph = shape_inference.infer_shapes(onnx.load(str(path))).graph
    sizes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in graph.value_info}
    earlier, later = set(names), set(names)
    for node in reversed(graph.node):
        if any(name in earlier for name in node.output):
            earlier.update(node.input)
    for node in graph.node:
        if any(name in later for name in node.input):
            later.update(node.output)
    between = (name for node in graph.node for name in node.output if name in later - earlier)
    return [n for n in between if len(sizes.get(n, ())) == 4 and min(sizes[n]) > 0 and max(sizes[n][2:]) > 1]


def check(kind: Kind, path: Path, expected: set[str]) -> Survey:
    """Hold the table against the expected neck, and both against what runs of the file show."""
    # Of queries no graph tells whether their logits are for a sigmoid or a softmax: that is asked for.
    found = survey(path, score_activation="softmax") if kind.join == "queries" else survey(path)
    assert found.problem == ""
    read = heads(found)
    assert read == expected
    for name in read:
        assert Probe(kind, path, name).feeds_both(), name
    for name in later_maps(path, read):
        assert not Probe(kind, path, name).feeds_both(), name
    late = {name for name in read if "cell by cell" in role_of(found, name)}
    single = {name for name in read if Probe(kind, path, name, read - {name}).is_cell_by_cell()}
    assert late == single
    return found


NECKS = {
    "YOLOv8 until 8.2": Kind("old"),
    "YOLOv8 since 8.4": Kind("new"),
    "sliced": Kind("sliced"),
    "sliced, branches of different depth": Kind("sliced", score=("depthwise", "1x1", "silu", "3x3", "silu"), box=()),
    "gathered": Kind("gathered"),
    "a table that is activated as a whole": Kind("rows"),
    "RetinaNet": Kind("apart", one=True),
    "YOLOX": Kind("objectness"),
    "YOLOX with shared weights": Kind("objectness", one=True),
    "masks": Kind("masks"),
    "branches cut from one convolution": Kind("fused"),
    "branches in groups": Kind("groups"),
    "weighed by a mean of the map": Kind("weighed"),
    "weighed, one cell each": Kind("weighed", score=(), box=POINTWISE),
    "YOLOv5": Kind("one", box=("3x3", "silu")),
    "YOLOv5, boxes written in place": Kind("written", box=("3x3", "silu")),
    "group norm": Kind("old", score=("3x3", "group norm", "silu"), box=("3x3", "group norm", "silu")),
    "batch norm": Kind("old", score=("3x3", "batch norm", "silu"), box=("3x3", "batch norm", "silu")),
    "attention in the class branch": Kind("old", score=("attention",), box=("3x3", "silu")),
    "DETR": Kind("queries"),
}
_TOWERS = {f"/box_tower.{level}/box_tower.{level}.1/Mul_output_0" for level in (0, 1)}
READ = {"YOLOv5": _TOWERS, "YOLOv5, boxes written in place": _TOWERS}
"""What the heads read, if that is not the neck: one 1x1 convolution gives all, and reads its maps cell by cell."""


@pytest.mark.parametrize("name", NECKS)
def test_the_neck_is_the_last_maps_that_feed_scores_and_boxes(name: str, tmp_path: Path) -> None:
    kind = NECKS[name]
    path = export(kind, tmp_path / "model.onnx")
    found = check(kind, path, READ.get(name, BOTH))
    assert found.default is not None
    assert found.default[0] == "neck"
    assert set(found.default[1]) == BOTH


def test_both_layouts_of_yolov8_have_the_same_layers(tmp_path: Path) -> None:
    """The weights are the same, and so is the table."""
    old, new = (survey(export(Kind(join), tmp_path / f"{join}.onnx")) for join in ("old", "new"))
    assert old.default == new.default
    tables = [[(layer.name, layer.role) for layer in found.layers if layer.role] for found in (old, new)]
    assert tables[0] == tables[1]


def test_pooled_features_are_what_the_heads_of_two_stages_read(tmp_path: Path) -> None:
    """Scores and boxes are columns of one layer, behind features that are pooled of the fine map."""
    found = survey(export(Kind("proposals"), tmp_path / "model.onnx"))
    assert found.problem == ""
    assert found.default is not None
    (name,) = found.default[1]
    assert found.default[0] == "roi"
    assert role_of(found, name) == "pooled features of proposals"
    assert [layer.name for layer in found.layers if layer.role.startswith(("what", "pooled", "before"))] == [name]


SINGLE = {
    "gelu, an operator": Kind("old", score=("1x1", "gelu"), box=("1x1", "gelu"), opset=20),
    "gelu by erf": Kind("old", score=("1x1", "gelu"), box=("1x1", "gelu")),
    "gelu by tanh": Kind("new", score=("1x1", "gelu of tanh"), box=("3x3", "silu")),
    "nothing but the last convolution": Kind("rows", score=(), box=()),
    "channel norm": Kind("old", score=("1x1", "channel norm", "mish"), box=POINTWISE),
    "batch norm": Kind("sliced", score=("1x1", "batch norm", "leaky"), box=POINTWISE),
    "grouped": Kind("gathered", score=("grouped", "silu"), box=POINTWISE),
    "residual": Kind("apart", score=("residual",), box=POINTWISE, one=True),
    "in groups": Kind("groups", score=POINTWISE, box=POINTWISE),
    "a window for boxes alone": Kind("objectness", score=POINTWISE, box=("3x3", "silu")),
}


@pytest.mark.parametrize("name", SINGLE)
def test_what_is_read_cell_by_cell(name: str, tmp_path: Path) -> None:
    """The layer that is proposed lies in front of the last 3x3 convolution of the neck."""
    kind = SINGLE[name]
    found = check(kind, export(kind, tmp_path / "model.onnx"), BOTH)
    assert "cell by cell" in role_of(found, FINE)
    assert role_of(found, BEFORE_FINE) == "before the heads' last window"
    assert found.default is not None
    assert set(found.default[1]) == {BEFORE_FINE, BEFORE_COARSE}


MIXING = {
    "a depthwise window": ("1x1", "depthwise", "silu"),
    "one row": ("row",),
    "a mean of a column": ("strip",),
    "a gate": ("1x1", "gate"),
    "group norm": ("1x1", "group norm"),
    "attention": ("attention",),
    "a pooling": ("mean pool", "1x1"),
    "a window beside": ("residual 3x3",),
}


@pytest.mark.parametrize("name", MIXING)
def test_what_is_not_read_cell_by_cell(name: str, tmp_path: Path) -> None:
    kind = Kind("old", score=MIXING[name], box=POINTWISE)
    found = check(kind, export(kind, tmp_path / "model.onnx"), BOTH)
    assert role_of(found, FINE) == "what the heads read"


@pytest.mark.parametrize("shared", [("3x3", "silu"), ("1x1", "group norm", "silu"), ("attention",)])
def test_what_both_branches_share_belongs_to_the_neck(shared: tuple[str, ...], tmp_path: Path) -> None:
    """Of a normalisation behind a 1x1 convolution too, the layer that is proposed is in front of a window."""
    kind = Kind("old", score=POINTWISE, box=POINTWISE, shared=shared)
    path = export(kind, tmp_path / "model.onnx")
    found = survey(path)
    read = heads(found)
    assert len(read) == 2
    assert all(name.startswith("/shared") for name in read)
    check(kind, path, read)
    assert found.default is not None
    proposed = BOTH if "1x1" not in shared else {BEFORE_COARSE, BEFORE_FINE}
    assert set(found.default[1]) == proposed


@pytest.mark.parametrize("seed", range(24))
def test_random_heads_against_runs(seed: int, tmp_path: Path) -> None:
    draw = random.Random(seed)
    towers = [tuple(draw.choice(list(PARTS)) for _ in range(draw.randint(0, 3))) for _ in range(3)]
    join = draw.choice([join for join in JOINS if join not in ("queries", "proposals", "one", "written")])
    kind = Kind(join, *towers[:2], shared=towers[2] if draw.random() < 0.3 else (), one=draw.random() < 0.3)
    path = export(kind, tmp_path / "model.onnx", seed)
    found = survey(path)
    assert found.problem == ""
    if not kind.shared:
        assert heads(found) == BOTH
    check(kind, path, heads(found))
