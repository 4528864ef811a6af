"""What other packages make of the same features and gradients: writes ``parity.json``, which test_parity.py compares.

    PYTHONPATH=.build/bench python -m tests.explain.parity

``make bench`` installs the packages into ``.build/bench`` (requirements/bench.txt). The network is its own feature map,
A, and its output Σ G·A, so that its gradient is G. What is kept is what a package makes before it scales the map to
0..1 and enlarges it. ODAM's is the published line of its authors (Cyang-Zhao/ODAM, tools/savefig_odam.py).

Methods of other classes and of further forward passes are of the network of two_classes.py; these are kept as
``networks``.
"""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path
from typing import Any

import numpy as np

from tests.explain.two_classes import CONVOLUTION, HEAD, INPUT

FILE = Path(__file__).with_suffix(".json")
PYTORCH_GRAD_CAM = {
    "gradcam": "GradCAM",
    "gradcam++": "GradCAMPlusPlus",
    "xgradcam": "XGradCAM",
    "layercam": "LayerCAM",
    "eigencam": "EigenCAM",
    "eigengradcam": "EigenGradCAM",
    "hirescam": "HiResCAM",
}


def tensors() -> tuple[Any, Any]:
    """Features as after a ReLU, and a gradient, float32 [C, H, W]."""
    random = np.random.default_rng(7)
    features = np.maximum(random.normal(size=(6, 4, 5)), 0).astype(np.float32)
    return features, (random.normal(size=(6, 4, 5)) + 0.2).astype(np.float32)


def main() -> None:
    import captum.attr
    import pytorch_grad_cam
    import torch

    features, gradient = (torch.from_numpy(of) for of in tensors())

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Identity()
            self.weight = torch.nn.Parameter(gradient)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return (self.layer(image) * self.weight).sum((1, 2, 3))[:, None]

    network, image = Network(), features[None].clone().requires_grad_()
    found: dict[str, dict[str, Any]] = {"grad-cam": {}, "captum": {}, "ODAM": {}}
    for name, kind in PYTORCH_GRAD_CAM.items():
        with getattr(pytorch_grad_cam, kind)(model=network, target_layers=[network.layer]) as cam:
            kept, compute = [], cam.get_cam_image
            cam.get_cam_image = lambda *given, kept=kept, compute=compute: kept.append(compute(*given)) or kept[-1]
            cam(input_tensor=image, targets=[lambda output: output[0]])
        found["grad-cam"][name] = np.float32(kept[0][0]).tolist()
    by_captum = captum.attr.LayerGradCam(network, network.layer).attribute(image, target=0, relu_attributions=True)
    found["captum"]["gradcam"] = by_captum[0, 0].tolist()
    by_captum = captum.attr.LayerGradientXActivation(network, network.layer).attribute(image, target=0)
    found["captum"]["hirescam"] = by_captum[0].sum(0).tolist()
    found["captum"]["saliency"] = captum.attr.Saliency(network).attribute(image, target=0)[0].amax(0).tolist()
    fm = network.layer(image)
    (grad,) = torch.autograd.grad((fm * gradient).sum(), fm)
    found["ODAM"]["odam"] = torch.nn.functional.relu((grad * fm.detach()).sum(1))[0].tolist()
    networks = of_two_classes()
    versions = {name: importlib.metadata.version(name) for name in ("grad-cam", "captum", "torch")}
    FILE.write_text(
        json.dumps({"versions": versions, "maps": found, "networks": networks}, indent=1) + "\n", encoding="utf-8"
    )


def of_two_classes() -> dict[str, Any]:
    """Finer-CAM, Score-CAM and Ablation-CAM of pytorch-grad-cam, SmoothGrad of captum with the noise that boxcam draws,
    and Recipro-CAM."""
    from unittest import mock

    import captum.attr
    import pytorch_grad_cam
    import torch

    convolution = torch.nn.Conv2d(3, 6, 3, padding=1, bias=False)
    convolution.weight = torch.nn.Parameter(torch.from_numpy(CONVOLUTION))
    head = torch.nn.Linear(HEAD[0].size, 2, bias=False)
    head.weight = torch.nn.Parameter(torch.from_numpy(HEAD.reshape(2, -1)))
    network = torch.nn.Sequential(convolution, torch.nn.ReLU(), torch.nn.Flatten(), head).eval()
    image, found = torch.from_numpy(INPUT), {}
    bases = {"finer-cam": pytorch_grad_cam.GradCAM, "finer-hirescam": pytorch_grad_cam.HiResCAM}
    for name, base in bases.items():
        cam = pytorch_grad_cam.FinerCAM(network, [network[1]], base_method=base)
        found[name] = _before_scaling(cam.base_cam, lambda cam=cam: cam(image, None, comparison_categories=[1]))
    target = int(network(image).argmax())
    with pytorch_grad_cam.ScoreCAM(network, [network[1]]) as cam:
        found["score-cam"] = _before_scaling(cam, lambda: cam(image, [lambda output: output[target]]))
    with pytorch_grad_cam.AblationCAM(network, [network[1]]) as cam:
        found["ablation-cam"] = _before_scaling(cam, lambda: cam(image, [lambda output: output[target]]))
    found["recipro-cam"] = _reciprocam(network[:2], network[2:], image, target)
    rng, spread = np.random.default_rng(3), 0.15 * float(np.ptp(INPUT))
    drawn = [torch.from_numpy(spread * rng.standard_normal(INPUT.shape[1:], np.float32)) for _ in range(8)]
    with mock.patch("torch.normal", return_value=torch.stack(drawn)):
        by_captum = captum.attr.NoiseTunnel(captum.attr.Saliency(network)).attribute(
            image, nt_samples=8, stdevs=spread, target=target, abs=False
        )
    found["smooth-grad"] = by_captum[0].abs().amax(0).tolist()
    return found


def _reciprocam(features: Any, head: Any, image: Any, target: int) -> Any:
    """What the authors of Recipro-CAM compute (sybyun/ReciproCAM, src/recipro_cam.py), before they scale it to 0..1.

    The probability of the class from a batch of feature maps, of which each has one cell. Scaling takes the smallest
    away; here that of a map without cells is taken away.
    """
    import torch

    with torch.no_grad():
        whole = features(image)
        _, _, height, width = whole.shape
        masks = torch.eye(height * width).reshape(-1, 1, height, width)
        found = torch.cat([head(whole * mask).softmax(1) for mask in masks])[:, target]
        return (found - head(0 * whole).softmax(1)[0, target]).reshape(height, width).tolist()


def _before_scaling(cam: Any, run: Any) -> Any:
    """The map that a package's method makes of a layer, before it is scaled."""
    kept, compute = [], cam.get_cam_image
    cam.get_cam_image = lambda *given: kept.append(compute(*given)) or kept[-1]
    run()
    return np.float32(kept[0][0]).tolist()


if __name__ == "__main__":
    main()
