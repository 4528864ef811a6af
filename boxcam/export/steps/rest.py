"""Further steps: the rest of the model after each layer, for methods that run it again."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from boxcam.bundle import Layer, Scope
from boxcam.export import layer_heads
from boxcam.export.graphs.weights import WeightsFile
from boxcam.export.layer_heads import LayerHead, named
from boxcam.export.source import Progress
from boxcam.export.steps.differentiate import Gradients
from boxcam.export.steps.follow import Provenance
from boxcam.export.steps.prepare import Preparation
from boxcam.export.verify.check import Check
from boxcam.export.verify.forward_pass import Observation
from boxcam.runtime.engines import OnnxEngine
from boxcam.types import IMAGE

_LIMIT = 1e-4
Heads = Mapping[str, Sequence[LayerHead]]
"""By layer, one for each tensor that targets are taken from; none where the rest of the model is no graph of it."""


def cut(prepared: Preparation, traced: Provenance, gradients: Gradients) -> Heads:
    """Cut out the rest of the model after each layer of features."""
    ends = {target: [str(value.name) for value in found.logits] for target, found in traced.traces.items()}
    return {
        name: layer_heads.build(prepared.graphs.base, of[0].subject.features, ends) if name != IMAGE else ()
        for name, of in gradients.items()
    }


def tried(heads: Heads, prepared: Preparation, seen: Sequence[Observation], progress: Progress) -> Heads:
    """The same, for several maps at once where that gives what each gives alone."""
    progress("running the rest of the model after each layer")
    runs = [one.run for one in seen]
    found = {name: [head.tried(runs, prepared.layers[name].kind == "roi") for head in of] for name, of in heads.items()}
    return {name: [head for head in of if head is not None] for name, of in found.items()}


def write_heads(folder: Path, heads: Heads, prepared: Preparation, weights: WeightsFile) -> None:
    """Write their graphs."""
    for name, of in heads.items():
        for head, file in named(of, prepared.files[name]):
            head.write(folder / file, weights)


def check_heads(folder: Path, heads: Heads, prepared: Preparation, seen: Sequence[Observation]) -> list[Check]:
    """Check what was written, in all runs: of each layer, that its graphs give what the forward pass gave."""
    checks = []
    for name, of in heads.items():
        files = [(head, folder / file) for head, file in named(of, prepared.files[name])]
        errors = [head.error(one.run, file) for head, file in files for one in seen]
        if errors:
            checks.append(Check(f"{name}: rest of the model", float(np.max(errors)), _LIMIT))
    return checks


def with_heads(
    layers: Sequence[Layer], folder: Path, heads: Heads, prepared: Preparation, seen: Observation
) -> tuple[Layer, ...]:
    """What the manifest says of layers, with what it says of the rest of the model after each."""
    made = []
    for layer in layers:
        described, features = [], [tensor.name for tensor in layer.tensors]
        engines: dict[str, OnnxEngine] = {}
        for head, file in named(heads[layer.name], prepared.files[layer.name]):
            gradient = layer.gradient("onnx", head.target)
            scope: Scope = "map"
            if gradient is not None and gradient.form == "windows":
                if gradient.file not in engines:
                    engines[gradient.file] = OnnxEngine(folder / gradient.file)
                scope = head.scope(seen.run, engines[gradient.file], features, seen.origins[head.target])
            described.append(head.described(file, scope))
        made.append(dataclasses.replace(layer, heads=tuple(described)))
    return tuple(made)
