"""Random necks and heads: a gradient in blocks is that of the whole maps, at every cell of every tensor of logits."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import Phase, given, settings

from boxcam.errors import ExportError
from boxcam.export.autodiff import gradient
from boxcam.export.autodiff.engine import Tape
from boxcam.export.graphs.fold import fold_model
from boxcam.export.graphs.query import all_values
from boxcam.export.graphs.reach import used_features
from boxcam.export.graphs.run import observe_values, record_ranks, serialized
from boxcam.runtime.engines import OnnxEngine, Patches
from boxcam.runtime.tensors import Tensors
from tests.export.heads import embedded
from tests.export.random_heads import RandomHead, heads

_LIMIT = 2e-5


class Running:
    """A head and its gradients in ONNX Runtime, for all of its logits."""

    def __init__(self, head: RandomHead) -> None:
        self.head, self.model = head, fold_model(ir.from_proto(head.model))
        record_ranks(self.model, head.feeds)
        self.found = self.observed([*head.features, *head.logits])
        rows: list[list[int]] = []
        width = 1 + max(self.found[n].ndim for n in head.logits)
        for number, name in enumerate(head.logits):
            fill = [0] * (width - 1 - self.found[name].ndim)
            rows += [[number, *position, *fill] for position in np.ndindex(self.found[name].shape)]
        self.origin = np.array(rows, np.int64)

    def observed(self, names: list[str]) -> dict[str, np.ndarray]:
        by_name = {str(value.name): value for value in all_values(self.model.graph)}
        unique = list(dict.fromkeys(names))
        return dict(zip(unique, observe_values(self.model, [by_name[n] for n in unique], self.head.feeds), strict=True))

    def patches(self, features: list[str], local: bool) -> list[list[Patches]]:
        """Of all logits; and those that hold only means, if there are any."""
        graph = gradient.build(self.model, self.head.logits, features, local=local)
        tensors = Tensors({**self.found, **self.observed(list(graph.inputs))})
        models = [graph.model] if graph.means is None else [graph.model, graph.means]
        return [OnnxEngine(serialized(m)).patches(tensors, features, (), self.origin) for m in models]

    def cut(self, layer: list[str]) -> dict[str, list[np.ndarray]]:
        """The gradients by several maps, all of them cut, on whole maps."""
        found = self.patches(layer, local=False)[0]
        return {name: [self.whole(of, name, number) for of in found] for number, name in enumerate(layer)}

    def whole(self, patches: Patches, feature: str, number: int = 0) -> np.ndarray:
        """The gradient by one of a layer's whole maps."""
        result = np.zeros(self.found[feature].shape)
        for patch in patches:
            if patch.tensor == number:
                whole, _ = embedded(patch.gradient, (0, patch.row, *patch.corner), self.found[feature].shape)
                result += whole + (0 if patch.uniform is None else patch.uniform[None, :, None, None])
        return result


def disagreement(head: RandomHead) -> float:
    """Blocks against whole maps: the largest difference, relative to the largest gradient."""
    running = Running(head)
    try:
        used = used_features(running.model, head.logits, head.features)
    except ExportError:
        return 0.0
    truth = {n: [running.whole(p, n) for p in running.patches([n], local=False)[0]] for n in used}
    scale = max(float(np.abs(g).max()) for n in used for g in truth[n])
    if scale < 1e-4:  # saturated
        return 0.0
    worst = 0.0
    for layer in [used, *([[n] for n in used] if len(used) > 1 else [])]:
        expected = truth if len(layer) == 1 else running.cut(layer)
        patches, *means = running.patches(layer, local=True)
        for number, name in enumerate(layer):
            for box, of in enumerate(patches):
                worst = max(worst, float(np.abs(running.whole(of, name, number) - expected[name][box]).max()))
            for of, mean in zip(patches, *means, strict=True) if means else ():
                averages = [running.whole(some, name, number).mean((2, 3)) for some in (of, mean)]
                worst = max(worst, float(np.abs(averages[0] - averages[1]).max()))
    return worst / scale


@settings(max_examples=80, deadline=None, derandomize=True, database=None)
@given(heads())
def test_blocks_are_the_whole_maps(head: RandomHead) -> None:
    assert disagreement(head) < _LIMIT


def test_a_wrong_block_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes to lie on the padding is dropped; if it is not, a border tells."""
    monkeypatch.setattr(Tape, "masked", lambda self, block, value: block)

    @settings(max_examples=60, deadline=None, derandomize=True, database=None, phases=[Phase.generate])
    @given(heads())
    def search(head: RandomHead) -> None:
        assert disagreement(head) < _LIMIT

    with pytest.raises(AssertionError):
        search()
