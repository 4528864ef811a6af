"""Explain classifiers of timm, and compare boxcam's gradients with those of torch.autograd on the live model.

The weights are random, so the heatmaps mean nothing; the gradients have to be equal all the same.  With a trained model
do the same, from `torch.onnx.export` on.
"""

from __future__ import annotations

import argparse
import math
import warnings
from pathlib import Path

import numpy as np
import timm
import torch
from comparison import PICTURES, Array, apart, explained

import boxcam
from boxcam.export.preprocessing import presets
from boxcam.runtime.images import read_image

LAYERS = {"resnet": "layer4", "convnext": "stages.3", "vit": "blocks.11.norm1", "deit": "blocks.11.norm1"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["resnet18", "resnet50", "vit_tiny_patch16_224", "convnext_tiny"])
    parser.add_argument("--layer", help="a module of the model; by default the last stage, or a norm of the last block")
    parser.add_argument("--size", type=int, default=224, help="height and width of the input (default: 224)")
    parser.add_argument("--top", type=int, default=3, help="classes to compare (default: 3)")
    parser.add_argument("--seed", type=int, default=0, help="of the weights (default: 0)")
    parser.add_argument("-o", "--output", type=Path, default=Path("timm"), help="folder to write into (default: timm)")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    for name in arguments.models:
        compare(name, arguments)


def compare(name: str, arguments: argparse.Namespace) -> None:
    """Export a model, explain a picture, and print how far boxcam's gradients are from torch's."""
    layer = arguments.layer or next((of for start, of in LAYERS.items() if name.startswith(start)), None)
    if layer is None:
        raise SystemExit(f"{name}: say --layer, with the name of one of its modules.")
    torch.manual_seed(arguments.seed)
    model = random_model(name, arguments.size)
    file, bundle = arguments.output / f"{name}.onnx", arguments.output / f"{name}.boxcam"
    image = torch.zeros(1, 3, arguments.size, arguments.size)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, that its exporter will change
        torch.onnx.export(
            model,
            (image,),
            str(file),
            input_names=["image"],
            output_names=["logits"],
            opset_version=18,
            dynamo=False,
        )
    boxcam.export(
        file, output=bundle, layers=[layer], preprocess="imagenet", sample=PICTURES[0], engine="onnx", overwrite=True
    )
    found = explained(bundle, PICTURES[0], layer, arguments.top)
    errors = []
    for label, gradients in zip(found.detections.labels, found.gradients, strict=False):
        errors.append(apart(gradients, [by_autograd(model, layer, found.input, int(label), found.features[0].shape)]))
    scores = torch.from_numpy(found.input)
    with torch.no_grad():
        probabilities = model(scores).softmax(1)[0].topk(arguments.top).values.numpy()
    difference = np.abs(probabilities - found.detections.scores[: arguments.top]).max()
    print(
        f"{name:24} layer {layer} {list(found.features[0].shape[1:])}: gradients of {len(errors)} classes within"
        f" {max(errors):.1e}, scores within {difference:.1e}",
        flush=True,
    )


def random_model(name: str, size: int) -> torch.nn.Module:
    """A model with random weights, whose BatchNorm fits pictures and whose classes differ."""
    kinds = {"zero_init_last": False} if name.startswith("resnet") else {}
    if name.startswith(("vit", "deit")):
        kinds = {"img_size": size}
    model = timm.create_model(name, pretrained=False, exportable=True, **kinds)
    images = torch.cat([picture(path, size) for path in PICTURES])
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # a cumulative average
        norm.reset_running_stats()
    with torch.no_grad():
        model.train(bool(norms))(images)
        model.eval()
        head = model.get_classifier()
        head.weight.mul_(3 / float(model(images).std()))
    return model


def picture(path: Path, size: int) -> torch.Tensor:
    """A picture as an input of about the right numbers."""
    pixels = torch.from_numpy(read_image(path)[:, :, ::-1].copy()).permute(2, 0, 1)[None].float() / 255
    settings = presets.PRESETS["imagenet"].settings
    mean, deviation = (torch.tensor(settings[key]).reshape(1, 3, 1, 1) for key in ("mean", "std"))
    return (torch.nn.functional.interpolate(pixels, (size, size), mode="area") - mean) / deviation


def by_autograd(model: torch.nn.Module, layer: str, image: Array, label: int, shape: tuple[int, ...]) -> Array:
    """The gradient of a class's logit by the output of a module, [C, H, W]."""
    kept: list[torch.Tensor] = []
    handle = model.get_submodule(layer).register_forward_hook(lambda module, inputs, output: kept.append(output))
    logit = model(torch.from_numpy(image))[0, label]
    handle.remove()
    gradient = torch.autograd.grad(logit, kept[0])[0]
    if gradient.ndim == 3:  # tokens; those in front of the patches' are no part of the map
        patches = gradient[:, -math.prod(shape[2:]) :]
        gradient = patches.transpose(1, 2).reshape(shape)
    return gradient[0].numpy()


if __name__ == "__main__":
    main()
