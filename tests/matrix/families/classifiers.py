"""Classifiers of torchvision by the names of its own builders."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from boxcam.bundle import Form
from tests.matrix.registry import FAMILIES, PICTURES, Family, Forms, Found, Place, Subject

CLASSES = 12
SHAPE = (96, 128)


def detect(model: Any, image: torch.Tensor) -> Found:
    """All classes, the best first, each with the whole canvas as its box."""
    scores, order = model(image)[0].softmax(0).sort(descending=True)
    height, width = image.shape[2:]
    return Found(torch.tensor([[0.0, 0.0, width, height]]).expand(len(order), 4), scores, order)


def lively(model: Any, images: torch.Tensor) -> None:
    """Calibrate a classifier on some images, and spread its logits, so that no class is as likely as another."""
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative average
        norm.train()
        torch.nn.init.normal_(norm.bias, std=0.1)
    last = [m for m in model.modules() if isinstance(m, (torch.nn.Linear, torch.nn.Conv2d))][-1]
    with torch.no_grad():
        last.weight.normal_(std=0.1)  # those of vision transformers are zeros
        model(images)
        logits = model.eval()(images)
        last.weight.mul_(1.5 / (logits - logits.mean(0)).std().clamp(1e-3))
        last.bias.sub_(model(images).mean(0))


def canvases(name: str, model: Any, shape: tuple[int, int]) -> torch.Tensor:
    """The pictures as the model's input, [N, 3, H, W]."""
    from boxcam.export.sources.torchvision import classifiers as zoo
    from boxcam.runtime.images import read_image
    from boxcam.runtime.preprocess import prepare

    spec = zoo.preprocess(name, model, __file__, shape, [])
    return torch.cat([torch.from_numpy(prepare(read_image(picture), spec)[0]) for picture in PICTURES])


def made(
    name: str,
    places: Callable[[Any], Mapping[str, Place]],
    shape: tuple[int, int],
    weights: Mapping[str, Any],
    seed: int,
) -> Callable[[Path], Subject]:
    """A family by the name of its builder.

    Args:
        name: of the builder.
        places: where the layers are in the live model.
        shape: height and width of the input.
        weights: tensors that tell the sizes of the model, besides the number of classes.
        seed: of its own random weights.
    """

    def make(folder: Path) -> Subject:
        from boxcam.export.sources.torchvision import classifiers as zoo

        torch.manual_seed(seed)
        model = zoo.build(name, {**weights, "fc.weight": torch.zeros(CLASSES, 1)}, shape)
        lively(model, canvases(name, model, shape))
        torch.save(model.state_dict(), folder / "weights.pth")
        return Subject(
            arguments=(f"torchvision:{name}", folder / "weights.pth"),
            model=model,
            detect=lambda image: detect(model, image),
            layers=places(model),
            run=model,
            options={"shape": shape, "sample": PICTURES[0]},
        )

    return make


def family(
    title: str,
    name: str,
    layers: Mapping[str, Form | Forms],
    places: Callable[[Any], Mapping[str, Place]],
    shape: tuple[int, int] = SHAPE,
    weights: Mapping[str, Any] | None = None,
    seed: int = 0,
    heavy: bool = False,
    note: str = "",
    targets: Mapping[str, Mapping[str, Form | Forms]] | None = None,
    guided: Mapping[str, Form] | None = None,
) -> None:
    make = made(name, places, shape, weights or {}, seed)
    FAMILIES.register(f"torchvision's classifiers: {title}")(
        Family(layers, make, heavy=heavy, note=note, targets=targets or {}, guided=guided or {})
    )


IMAGE = Forms("whole", None)  # TorchScript gradients are by feature maps only
POOLED = Forms("windows", "rows")  # what is pooled alone depends on each of its cells in the same way

family(
    "ResNet-18",
    "resnet18",
    {"layer4": POOLED, "layer2": Forms("whole", "rows"), "image": IMAGE},
    lambda model: {"layer4": model.layer4, "layer2": model.layer2},
    targets={"score": {"layer4": Forms("whole", None), "image": IMAGE}},
    guided={"logit": "whole", "score": "whole"},
)
family(
    "MobileNetV3 small",
    "mobilenet_v3_small",
    {"features": POOLED, "image": IMAGE},
    lambda model: {"features": model.features},
    seed=2,  # with others a ReLU's input is so near to 0 that two runtimes disagree about it
    guided={"logit": "whole"},
)
_TOKENS = 1 + 4 * 4
family(
    "ViT-B/16",
    "vit_b_16",
    {"features": "whole", "image": IMAGE},
    lambda model: {"features": model.encoder.layers[-1].ln_1},
    shape=(64, 64),
    weights={"encoder.pos_embedding": torch.zeros(1, _TOKENS, 768), "conv_proj.weight": torch.zeros(768, 3, 16, 16)},
    heavy=True,
    targets={"score": {"features": Forms("whole", None)}},
    guided={"logit": "whole"},
)
