"""What is measured: detectors, sizes, layers; made once, and kept in a folder."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx_ir as ir
import torch

import boxcam
from benchmarks.deployed import Bundle, Deployed, Graph
from benchmarks.networks import Network, OneStage, Plain, TwoStage
from boxcam.errors import VerificationError

ROOT = Path(__file__).resolve().parents[1]
SIGNS = ROOT / "examples" / "signs"
PICTURE = SIGNS / "images" / "coffee.jpg"
_SEEDS = 3
Say = Callable[[str], None]


@dataclass(frozen=True)
class Case:
    """A detector at one size.

    Attributes:
        title: for people.
        layers: which are explained.
        size: height and width of the input.
        config: of mmdet; without one it is mmyolo's YOLO.
    """

    title: str
    layers: tuple[str, ...]
    size: int
    config: str = ""


_RETINANET, _FASTER = "retinanet/retinanet_r50_fpn_1x_coco.py", "faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py"
CASES = {
    "retinanet-320": Case("RetinaNet-R50 320x320", ("neck", "backbone"), 320, _RETINANET),
    "retinanet-800": Case("RetinaNet-R50 800x800", ("neck", "backbone"), 800, _RETINANET),
    "faster-rcnn-320": Case("Faster R-CNN-R50 320x320", ("roi", "neck"), 320, _FASTER),
    "faster-rcnn-800": Case("Faster R-CNN-R50 800x800", ("roi", "neck"), 800, _FASTER),
    "yolo-640": Case("YOLOv8-s 640x640", ("neck",), 640),
    "yolo-320": Case("YOLOv8-s 320x320", ("neck",), 320),
}


@dataclass(frozen=True, eq=False)
class Subject:
    """One layer of a case, deployed and in torch, on the same picture."""

    layer: str
    deployed: Deployed
    network: Network
    image: torch.Tensor


def subjects(case: Case, cache: Path, count: int, threads: int, say: Say) -> Iterator[Subject]:
    """The layers of a case; the deployed model is taken out of the cache, or made and put there."""
    from boxcam.export.sources.openmmlab.compat import bridged

    with bridged():
        if not case.config:
            yield from _yolo(case, count, threads, say)
            return
        from benchmarks import models
        from boxcam.export.sources.openmmlab import config as mmdet_config
        from boxcam.export.sources.openmmlab.export import build

        shape = case.size, case.size
        folder = exported(case, cache, say)
        path = models.CONFIGS / case.config
        config = mmdet_config.read_config(str(path))
        model: Any = build(config, str(path))
        model.load_state_dict(torch.load(next(folder.glob("*.pth")), weights_only=True)["state_dict"])
        image = models.canvas(config, PICTURE, shape)
        for layer in case.layers:
            deployed = Bundle(folder / "model.boxcam", layer, PICTURE, count, threads)
            yield Subject(layer, deployed, _network(model, layer, deployed), image)


def exported(case: Case, cache: Path, say: Say) -> Path:
    """The folder with the bundle of one of mmdet's detectors, taken out of the cache, or made and put there."""
    from boxcam.export.sources.openmmlab.compat import bridged

    shape = case.size, case.size
    with bridged():
        return cached(cache, f"{Path(case.config).stem}-{case.size}", lambda f: _export(case.config, shape, f, say))


def _network(model: Any, layer: str, deployed: Bundle) -> Network:
    """The detector in torch, to be explained on the same tensors."""
    if layer == "roi":
        layers = [model.roi_head.bbox_roi_extractor]
    else:
        layers = [model.backbone.layer4] if layer == "backbone" else list(model.neck.fpn_convs)
    pinned = list(zip(model.neck.fpn_convs, deployed.maps("neck"), strict=False))  # there may be a pooled level more
    if layer == "backbone":
        pinned += [(model.backbone.layer4, *deployed.maps("backbone"))]
    given = model, layers, deployed.origin, deployed.groups, pinned
    if hasattr(model, "roi_head"):
        return TwoStage(*given, rois=deployed.rois).eval()
    return OneStage(*given).eval()


def _export(config: str, shape: tuple[int, int], folder: Path, say: Say) -> None:
    from benchmarks import models

    for seed in range(_SEEDS):
        say(f"making a detector with live random weights (seed {seed})")
        made = models.make(config, folder, shape, [PICTURE], seed, all_levels=True)
        target = folder / "model.boxcam"
        try:
            boxcam.export(*made[:2], output=target, shape=shape, sample=PICTURE, engine="both", progress=say)
        except VerificationError as error:  # two boxes can be so alike that float32 noise swaps them
            if seed == _SEEDS - 1:
                raise
            say(f"another one: {error}")
        else:
            return


def _yolo(case: Case, count: int, threads: int, say: Say) -> Iterator[Subject]:
    """mmyolo's YOLO, for which boxcam has no source yet: its graph up to the class maps is differentiated directly."""
    from benchmarks import models

    say("making a YOLO with live random weights")
    module, image = models.yolo((case.size, case.size), PICTURE)
    graph = onnx_graph(module, image, [f"{kind}{i}" for kind in ("logits", "boxes", "neck") for i in range(3)])
    yield graph_subject(graph, module, image, list(module.neck.out_layers), count, threads)


def onnx_graph(module: torch.nn.Module, image: torch.Tensor, outputs: Sequence[str]) -> ir.Model:
    """A module as an ONNX graph with named outputs, by torch's TorchScript exporter."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # this exporter works; it will not be developed further
        file = Path(folder) / "model.onnx"
        torch.onnx.export(
            module, (image,), str(file), dynamo=False, opset_version=17, input_names=["image"], output_names=[*outputs]
        )
        module.eval()  # the exporter can leave parts of it in training mode
        graph = ir.load(file)
        for constant in graph.graph.initializers.values():
            assert constant.const_value is not None
            constant.const_value = ir.tensor(constant.const_value.numpy().copy(), name=constant.name)
    return graph


def graph_subject(
    graph: ir.Model,
    module: torch.nn.Module,
    image: torch.Tensor,
    layers: Sequence[torch.nn.Module],
    count: int,
    threads: int,
) -> Subject:
    """A graph whose outputs are ``logits0`` …, ``neck0`` … and others, deployed without its ``neck`` outputs."""
    names = [str(value.name) for value in graph.graph.outputs]
    logits, features = ([n for n in names if n.startswith(kind)] for kind in ("logits", "neck"))
    kept = [value for value in graph.graph.outputs if value.name not in features]
    graph.graph.outputs.clear()
    graph.graph.outputs.extend(kept)
    deployed = Graph(graph, logits, features, image.numpy(), count, threads)
    pinned = list(zip(layers, deployed.maps(), strict=True))
    network = Plain(module, layers, deployed.origin, deployed.groups, pinned).eval()
    return Subject("neck", deployed, network, image)


def demo(cache: Path, say: Say) -> Path:
    """The demo detector's bundle."""

    def export(folder: Path) -> None:
        files = SIGNS / "config.py", SIGNS / "signs.pth"
        boxcam.export(*files, output=folder / "signs.boxcam", sample=PICTURE, engine="onnx", progress=say)

    return cached(cache, "signs", export) / "signs.boxcam"


def cached(cache: Path, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that was made by this very code: it is made anew once boxcam or the models here change."""
    sources = sorted([*(ROOT / "boxcam").rglob("*.py"), Path(__file__), Path(__file__).with_name("models.py")])
    sources += sorted(file for file in SIGNS.iterdir() if file.is_file())
    digest = hashlib.sha256(b"".join(hashlib.sha256(file.read_bytes()).digest() for file in sources)).hexdigest()
    folder, stamp = cache / name, cache / name / "made-by"
    if stamp.is_file() and stamp.read_text() == digest:
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    make(folder)
    stamp.write_text(digest)
    return folder
