"""Grad-CAM per box as others compute it, in torch.

Each method takes a network, an image and some boxes that are explained on the same tensor, and returns what has to be
timed: a function without arguments that gives the boxes' maps, one for each, float32 [H, W], raw, in cells.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from benchmarks.equality import Array
from benchmarks.networks import Network

Run = Callable[[], list[Array]]
Method = Callable[[Network, torch.Tensor, Sequence[int]], Run]


class MissingPackageError(Exception):
    """A method that should be timed is not installed."""


MODULES = {"pytorch-grad-cam": "pytorch_grad_cam", "captum LayerGradCam": "captum.attr"}


def require_package(method: str) -> Any:
    """The module behind a method.

    Raises:
        MissingPackageError: it cannot be imported.
    """
    try:
        return importlib.import_module(MODULES[method])
    except ImportError as error:
        raise MissingPackageError(
            f"{method} cannot be imported ({error}). 'make bench' installs it from requirements/bench.txt; or leave it"
            f" out by --without '{method}'."
        ) from error


def pytorch_grad_cam(network: Network, image: torch.Tensor, boxes: Sequence[int]) -> Run:
    """pytorch-grad-cam with one target per box: a forward and a backward pass through the whole network each.

    Its result is scaled to 0..1 and resized to the image. To compare, what its own ``get_cam_image`` gave before
    that is kept.
    """
    library = require_package("pytorch-grad-cam")

    def one(box: int) -> Array:
        network.boxes = [box]
        kept: list[Array] = []
        with library.GradCAM(model=network, target_layers=[network.layer(box)]) as cam:
            compute = cam.get_cam_image
            cam.get_cam_image = lambda *given: kept.append(compute(*given)) or kept[-1]
            cam(input_tensor=image, targets=[lambda logit: logit])
        return np.maximum(kept[0][network.row(box)], 0)

    return lambda: [one(box) for box in boxes]


def captum(network: Network, image: torch.Tensor, boxes: Sequence[int]) -> Run:
    """captum's LayerGradCam for each box: a forward pass and a backward pass to the layer each."""
    library = require_package("captum LayerGradCam")

    def one(box: int) -> Array:
        network.boxes = [box]
        found = library.LayerGradCam(network, network.layer(box)).attribute(image, relu_attributions=True)
        raw: Array = found[network.row(box), 0].detach().numpy()
        return raw

    return lambda: [one(box) for box in boxes]


def loop(network: Network, image: torch.Tensor, boxes: Sequence[int], relu: bool = True) -> Run:
    """torch.autograd.grad box by box, through one graph that is retained; the forward pass is not timed."""
    logits, feature = _forward(network, image, boxes)

    def one(position: int, box: int) -> Array:
        (gradient,) = torch.autograd.grad(logits[position], feature, retain_graph=True)
        row = network.row(box)
        return _map(gradient[row], feature[row], relu)

    return lambda: [one(position, box) for position, box in enumerate(boxes)]


def batched(network: Network, image: torch.Tensor, boxes: Sequence[int]) -> Run:
    """torch.autograd.grad of all the boxes at once (``is_grads_batched``); the forward pass is not timed."""
    logits, feature = _forward(network, image, boxes)

    def run() -> list[Array]:
        (gradients,) = torch.autograd.grad(
            logits, feature, grad_outputs=torch.eye(len(boxes)), retain_graph=True, is_grads_batched=True
        )
        rows = [network.row(box) for box in boxes]
        return [_map(gradients[i][row], feature[row], True) for i, row in enumerate(rows)]

    return run


def references(network: Network, image: torch.Tensor, boxes: Sequence[int]) -> dict[int, Array]:
    """What all maps are compared with: the loop's weighted sums of channels, before ReLU."""
    found: dict[int, Array] = {}
    for group in sorted({network.groups[box] for box in boxes}):
        mine = [box for box in boxes if network.groups[box] == group]
        found.update(zip(mine, loop(network, image, mine, relu=False)(), strict=True))
    return found


def _map(gradient: torch.Tensor, activation: torch.Tensor, relu: bool) -> Array:
    with torch.no_grad():
        found = (gradient.mean((1, 2), keepdim=True) * activation).sum(0)
        result: Array = (found.relu() if relu else found).numpy()
    return result


def _forward(network: Network, image: torch.Tensor, boxes: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """The boxes' logits and the feature map that they are all explained on, with the graph between them."""
    network.boxes = list(boxes)
    with _output(network.layer(boxes[0])) as found, torch.enable_grad():
        logits = network(image)
    return logits, found[-1]


@contextmanager
def _output(module: torch.nn.Module) -> Iterator[list[torch.Tensor]]:
    found: list[torch.Tensor] = []
    handle = module.register_forward_hook(lambda _module, _inputs, output: found.append(output))
    try:
        yield found
    finally:
        handle.remove()
