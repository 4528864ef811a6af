"""RoIAlign in plain torch against torchvision's, and its gradient against finite differences."""

from __future__ import annotations

import pytest
import torch
import torchvision

from boxcam.export.torchscript.roi_align import roi_align

BOXES = {
    "inside": [[1.2, 2.1, 7.7, 6.3], [0.0, 0.0, 10.0, 8.0]],
    "over each border": [[-3, 1, 4, 5], [6, -2, 9, 3], [5, 4, 30, 6], [2, 6, 5, 19]],
    "outside": [[-9, -9, -5, -4], [40, 30, 60, 50], [-0.9, -0.9, -0.1, -0.1]],
    "on the last cell": [[8.5, 6.5, 10.0, 8.0], [9, 7, 9, 7], [9.6, 7.6, 9.9, 7.9]],
    "tiny": [[3, 3, 3.01, 3.02], [4, 4, 4, 4]],
    "turned inside out": [[6, 5, 2, 1]],
    "huge": [[-500, -400, 900, 700]],
    "large and tiny": [[0, 0, 9, 7], [2, 2, 2.3, 2.3], [-20, -20, 40, 40]],
    "none": [],
}


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("sampling", [0, 1, 2])
@pytest.mark.parametrize("kind", BOXES)
def test_values_and_gradients_are_those_of_torchvision(kind: str, sampling: int, aligned: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    boxes = torch.tensor(BOXES[kind], dtype=torch.float64).reshape(-1, 4)
    numbered = torch.cat([boxes.new_zeros(len(boxes), 1), boxes], 1)
    for scale in (1.0, 0.25):
        ours = torch.randn(1, 3, 8, 10, generator=generator, dtype=torch.float64).requires_grad_(True)
        theirs = ours.detach().clone().requires_grad_(True)
        found = roi_align(ours, boxes, 3, 4, scale, sampling, aligned)
        expected = torchvision.ops.roi_align(theirs, numbered, (3, 4), scale, sampling or -1, aligned)
        torch.testing.assert_close(found, expected, atol=1e-11, rtol=1e-11)
        weight = torch.randn(expected.shape, generator=generator, dtype=torch.float64)
        (found * weight).sum().backward()
        (expected * weight).sum().backward()
        torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-11, rtol=1e-11)


@pytest.mark.parametrize("aligned", [True, False])
def test_the_gradient_is_that_of_finite_differences(aligned: bool) -> None:
    boxes = torch.tensor([[0.3, -1.2, 4.1, 3.3], [2.0, 1.0, 2.4, 6.5]], dtype=torch.float64)
    features = torch.randn(1, 2, 5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert torch.autograd.gradcheck(
        lambda x: roi_align(x, boxes, 2, 3, 0.9, 0, aligned), features.requires_grad_(True), atol=1e-7
    )


def test_no_gradient_flows_to_the_proposals() -> None:
    boxes = torch.tensor([[0.3, 1.2, 4.1, 3.3]], requires_grad=True)
    features = torch.ones(1, 2, 5, 6, requires_grad=True)
    roi_align(features, boxes, 2, 3, 1.0, 2, True).sum().backward()
    assert boxes.grad is None
    assert features.grad is not None
    assert features.grad.sum().item() == pytest.approx(2 * 2 * 3)


def test_the_number_of_proposals_may_change_from_call_to_call() -> None:
    """As it does in a scripted module: none, one, many, none."""
    module = torch.jit.trace(
        lambda x, boxes: roi_align(x, boxes, 2, 2, 1.0, 0, True),
        (torch.ones(1, 2, 5, 6), torch.tensor([[0.0, 0.0, 3.0, 3.0]])),
    )
    features = torch.randn(1, 2, 5, 6, generator=torch.Generator().manual_seed(2))
    for count in (0, 1, 7, 0, 3):
        boxes = torch.rand(count, 4, generator=torch.Generator().manual_seed(count)) * 3
        boxes[:, 2:] += boxes[:, :2]
        numbered = torch.cat([torch.zeros(count, 1), boxes], 1)
        expected = torchvision.ops.roi_align(features, numbered, (2, 2), 1.0, -1, True)
        torch.testing.assert_close(module(features, boxes), expected)
