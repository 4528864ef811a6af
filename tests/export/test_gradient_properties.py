"""Random necks and heads: a gradient in blocks is that of the whole maps, at every cell of every tensor of logits."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from hypothesis import given, settings

from boxcam.errors import ExportError
from boxcam.export import gradient
from boxcam.export import graph as onnx
from boxcam.export.score import used_features
from boxcam.runtime.engines import OnnxEngine
from boxcam.runtime.tensors import Tensors
from boxcam.types import Patch
from tests.export.heads import embedded
from tests.export.random_heads import RandomHead, heads

_LIMIT = 2e-5


class Running:
    """A head and its gradients in ONNX Runtime, for all of its logits."""

    def __init__(self, head: RandomHead) -> None:
        self.head, self.model = head, onnx.fold(ir.from_proto(head.model))
        onnx.record_ranks(self.model, head.feeds)
        self.found = self.observed([*head.features, *head.logits])
        rows, width = [], 1 + max(self.found[n].ndim for n in head.logits)
        for number, name in enumerate(head.logits):
            for position in np.ndindex(self.found[name].shape):
                rows.append([number, *position, *[0] * (width - 1 - len(position))])
        self.origin = np.array(rows, np.int64)

    def observed(self, names: list[str]) -> dict[str, np.ndarray]:
        by_name = {str(value.name): value for value in onnx.values(self.model.graph)}
        unique = list(dict.fromkeys(names))
        return dict(zip(unique, onnx.observe(self.model, [by_name[n] for n in unique], self.head.feeds), strict=True))

    def patches(self, features: list[str], local: bool) -> list[Patch]:
        graph = gradient.build(self.model, self.head.logits, features, local=local)
        engine = OnnxEngine(onnx.serialized(graph.model))
        return engine.patches(Tensors(self.observed(list(graph.inputs))), (), (), self.origin)

    def whole(self, patch: Patch, feature: str) -> np.ndarray:
        """A patch as a gradient by the whole map."""
        shape = self.found[feature].shape
        if not patch.gradient.size:
            return np.zeros(shape)
        whole, _ = embedded(patch.gradient, (0, patch.row, *patch.corner), shape)
        return whole + (0 if patch.uniform is None else patch.uniform[None, :, None, None])


def disagreement(head: RandomHead) -> float:
    """Blocks against whole maps: the largest difference, relative to the largest gradient."""
    running = Running(head)
    try:
        used = used_features(running.model, head.logits, head.features)
    except ExportError:
        return 0.0
    truth = {n: [running.whole(p, n) for p in running.patches([n], local=False)] for n in used}
    scale = max(float(np.abs(g).max()) for n in used for g in truth[n])
    if scale < 1e-4:  # saturated
        return 0.0
    worst = 0.0
    for layer in [used, *([[n] for n in used] if len(used) > 1 else [])]:
        for box, patch in enumerate(running.patches(layer, local=True)):
            name = layer[patch.tensor]
            worst = max(worst, float(np.abs(running.whole(patch, name) - truth[name][box]).max()))
            if not patch.gradient.size and patch.uniform is None:
                worst = max(worst, *(float(np.abs(truth[n][box]).max()) for n in layer))
    return worst / scale


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(heads())
def test_blocks_are_the_whole_maps(head: RandomHead) -> None:
    assert disagreement(head) < _LIMIT
