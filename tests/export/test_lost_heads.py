"""What an export writes of the rest of the model after a layer when that does not give what it should."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

import boxcam
from boxcam.bundle import FORWARD
from boxcam.export.layer_heads import LayerHead
from tests.export.detectors import CLASSES, conv
from tests.export.export_graphs import Net


def beside(net: Net, neck: str) -> str:
    """A head that reads the stage before the neck, too: what comes after the neck needs that of it."""
    more = net.node("Sigmoid", [conv(net, "early", "more", (8, 8, 3, 3), 2)], name="more")[0]
    return conv(net, net.Concat(neck, more, axis=1), "b", (CLASSES, 16, 3, 3), name="logits")


def outputs(bundle: Path) -> set[str]:
    return {value.name for value in onnx.load(bundle / FORWARD, load_external_data=False).graph.output}


def test_the_forward_graph_gives_nothing_for_graphs_that_are_left_out(
    tiny: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny(head=beside)
    with_it = boxcam.export("model.tiny", output=tmp_path / "with", engine="onnx")
    (layer,) = with_it.layers
    assert [head.context for head in layer.heads] == [("more",)]
    assert "more" in outputs(tmp_path / "with")
    monkeypatch.setattr(LayerHead, "tried", lambda *given: None)
    without = boxcam.export("model.tiny", output=tmp_path / "without", engine="onnx")
    assert without.layers[0].heads == ()
    assert outputs(tmp_path / "without") == outputs(tmp_path / "with") - {"more"}
    assert without.layers[0].gradients == layer.gradients
    boxcam.load(tmp_path / "without")
