"""What maps cost at layers close to the image: a stage with cells of 8 pixels, and the image itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir

import boxcam
from benchmarks.cases import CASES, PICTURE, exported, onnx_graph
from benchmarks.deployed import CELLS_METHOD, Graph
from benchmarks.equality import Array
from benchmarks.timing import added, median
from boxcam.export.graphs.query import all_values
from boxcam.export.graphs.weights import read_graph
from boxcam.runtime.images import read_image
from boxcam.runtime.preprocess import prepare

BOXES = 10
STAGE, IMAGE = "stage, cells of 8 pixels", "image"
Say = Callable[[str], None]


@dataclass(frozen=True)
class EarlyLayer:
    """One layer of one detector.

    Attributes:
        title: of the detector, for people.
        layer: `STAGE` or `IMAGE`.
        boxes: how many boxes are explained.
        floor: seconds of the forward pass alone.
        seconds: that the maps take on top of detecting the boxes.
    """

    title: str
    layer: str
    boxes: int
    floor: float
    seconds: float


@dataclass(frozen=True, eq=False)
class Detector:
    """A detector as a graph, on one picture.

    Attributes:
        title: for people.
        graph: from the image to boxes, or to maps of logits.
        logits: the tensors that boxes are explained by.
        stage: the last tensor with cells of 8 pixels before the maps become smaller.
        tensor: the model's input.
        origin: int64 [K, D], which numbers the boxes' logits are; None for the highest.
    """

    title: str
    graph: ir.Model
    logits: Sequence[str]
    stage: str
    tensor: Array
    origin: Array | None


def early_layers(cache: Path, demo: Path, threads: int, repeats: int, say: Say) -> list[EarlyLayer]:
    """Measure all of them; by HiResCAM, which reads the gradient of every cell."""
    found = []
    for of in _detectors(cache, demo, say):
        name = str(of.graph.graph.inputs[0].name)
        for layer, feature in ((STAGE, of.stage), (IMAGE, name)):
            say(f"-- {of.title}, {layer}")
            deployed = Graph(of.graph, of.logits, [feature], of.tensor, BOXES, threads, of.origin)
            found.append(measured(of.title, layer, deployed, repeats))
    return found


def measured(title: str, layer: str, deployed: Graph, repeats: int) -> EarlyLayer:
    """Measure one layer."""
    count = len(deployed.origin)
    extra = added(deployed.detect, {"": lambda: deployed.explain(count, "onnx", CELLS_METHOD)}, repeats)
    return EarlyLayer(title, layer, count, median(deployed.floor, repeats), extra[""])


def _detectors(cache: Path, demo: Path, say: Say) -> Iterator[Detector]:
    from boxcam.export.sources.openmmlab.compat import bridged

    case = CASES["retinanet-800"]
    yield _of_bundle("demo, RetinaNet-R18 320x320", demo, "/backbone/layer2/")
    with bridged():
        from benchmarks import models

        yield _of_bundle(case.title, exported(case, cache, say) / "model.boxcam", "/backbone/layer2/")
        module, image = models.yolo((640, 640), PICTURE)
        graph = onnx_graph(module, image, [f"{kind}{i}" for kind in ("logits", "boxes", "neck") for i in range(3)])
        logits = [f"logits{i}" for i in range(3)]
        yield Detector(CASES["yolo-640"].title, graph, logits, last(graph, "/backbone/stage2/"), image.numpy(), None)


def _of_bundle(title: str, path: Path, stage: str) -> Detector:
    model = boxcam.load(path)
    image = read_image(PICTURE)
    prediction = model.runtime.predict(image)
    graph, target = read_graph(path / "forward.onnx"), model.manifest.target()
    origin = model.runtime.origin(prediction, range(len(prediction.detections)))
    tensor = prepare(image, model.manifest.preprocess)[0]
    logits = [end.name for end in target.ends]
    return Detector(title, graph, logits, last(graph, stage), tensor, np.asarray(origin)[:BOXES])


def last(graph: ir.Model, scope: str) -> str:
    """The last tensor of a module, whose tensors are named after it."""
    return [str(value.name) for value in all_values(graph.graph) if str(value.name).startswith(scope)][-1]
