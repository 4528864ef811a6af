"""Many outputs of one shape are not tried in all ways: the search ends where a shape cannot be a level's."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from boxcam.export.heads.conventions import shapes
from boxcam.export.heads.conventions.question import Question
from boxcam.export.heads.conventions.table import CONVENTIONS
from boxcam.export.heads.observed import ObservedTensor

OUTPUTS = 25


@pytest.mark.parametrize("shape", [(1, 197, 768), (1, 197, 32), (1, 784, 32), (1, 197, 1), (1, 197, 4)])
@pytest.mark.parametrize("size", [(224, 224), (0, 0)])
def test_hidden_states_of_a_transformer_are_soon_seen_to_be_no_levels(
    shape: tuple[int, ...], size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """None of the entries asks more of their shapes than for each three outputs, as those of three tensors do."""
    asked = [0]

    def counted(written: str, given: tuple[int, ...], known: shapes.Sizes) -> dict[str, int] | None:
        asked[0] += 1
        return matched(written, given, known)

    matched = shapes.matched
    monkeypatch.setattr("boxcam.export.heads.conventions.entry.shapes.matched", counted)
    inputs = [ir.val(f"state.{k}", ir.DataType.FLOAT, shape) for k in range(OUTPUTS)]
    ir.Graph(inputs, inputs, nodes=[])
    seen = tuple(ObservedTensor(value, np.zeros(shape, np.float32)) for value in inputs)
    for name in CONVENTIONS:
        asked[0] = 0
        list(CONVENTIONS[name].matches(Question(seen, size)))
        assert asked[0] <= OUTPUTS**3, name
