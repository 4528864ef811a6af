"""A model whose feature maps are as good as zero, as one is that was never trained: still verified, and said so."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import boxcam
from boxcam.errors import BoxcamWarning
from tests.export.sources.onnx import deployed
from tests.export.sources.onnx.deployed import CASES


def test_features_that_are_as_good_as_zero(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without biases the kinks of the head's ReLU lie at zero, so near to these features that no step avoids them."""

    class Faint(deployed.Body):
        def __init__(self, classes: int) -> None:
            super().__init__(classes)
            with torch.no_grad():
                for block in (self.fine, self.coarse, self.score):
                    block[0].bias.zero_()
                self.fine[0].weight.mul_(1e-14)

    monkeypatch.setattr(deployed, "Body", Faint)
    deployed.export(CASES["torchvision"], tmp_path / "faint.onnx")
    with pytest.warns(
        BoxcamWarning,
        match=r"layer 'neck' is almost constant on the sample image \(standard deviation"
        r" \de-1\d\)",
    ):
        manifest = boxcam.export(
            tmp_path / "faint.onnx", output=tmp_path / "b", preprocess=["imagenet", "resize=stretch"], engine="both"
        )
    checks = {name: error for name, error in manifest.verification.items() if "finite differences" in name}
    assert len(checks) == 2  # one by each engine
    assert max(checks.values()) < 1e-4
