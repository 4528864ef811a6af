"""What to say of arguments that no source recognises: most often a file of another kind, or two that are swapped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePath

from boxcam.bundle import MANIFEST
from boxcam.runtime.foreign import is_address

_WEIGHTS = (".pt", ".pth", ".ckpt", ".safetensors")
_TURNED = {
    "tf2onnx": (".pb", ".keras", ".h5", ".tflite"),
    "paddle2onnx": (".pdmodel", ".pdiparams"),
}
_FOLDERS = {".mlpackage"}
"""What is a folder where it is a model."""
_BUILT = (".engine", ".plan", ".trt", ".xml", ".mlmodel", ".mlpackage")


def bundle(arguments: tuple[str, ...]) -> str | None:
    """What to say of a bundle that is to be exported; None if there is none among the arguments."""
    there = [one for one in arguments if (Path(one) / MANIFEST).is_file()]
    if not there:
        return None
    return (
        f"{there[0]} is a bundle already: it was made by 'boxcam export', so there is nothing to export."
        f" 'boxcam inspect {there[0]}' describes it, and 'boxcam explain {there[0]} IMAGE' draws heatmaps."
    )


def address(arguments: tuple[str, ...]) -> str | None:
    """What to say of a file that is somewhere on the network; None if there is none among the arguments."""
    there = [one for one in arguments if is_address(one)]
    return f"{there[0]} is an address on the network, and only files are read. Download it first." if there else None


def missing(arguments: tuple[str, ...]) -> str | None:
    """What to say of a file of a model that is not there, or of a folder in its place; None if it is neither."""
    if len(arguments) != 1 or is_address(arguments[0]):
        return None
    (name,) = arguments
    path = Path(name)
    kinds = {*_WEIGHTS, *_BUILT, *(kind for of in _TURNED.values() for kind in of)}
    if path.is_dir() and path.suffix.lower() not in _FOLDERS:
        return f"{name} is a folder, not a model. Pass the model's file."
    if path.suffix.lower() in kinds and not path.exists():
        return f"{name} does not exist. Check the path."
    return None


def advice(arguments: tuple[str, ...], is_known: Callable[[tuple[str, ...]], bool]) -> str:
    """How to mend arguments that were not recognised; empty if nothing better is known than what the sources take.

    Args:
        arguments: what was given.
        is_known: whether a source recognises other arguments.
    """
    if any("://" in one for one in arguments):
        return "boxcam reads files only. Download it, and pass the file."
    turned = arguments[::-1]
    if len(arguments) == 2 and is_known(turned):
        return f"The two are swapped. Pass {' '.join(turned)}."
    if len(arguments) != 1:
        return ""
    (name,) = arguments
    kind = PurePath(name).suffix.lower()
    if kind in _WEIGHTS:
        return (
            f"A {kind} file holds weights, or a TorchScript module, and needs the code that builds the model. For"
            f" Ultralytics, run: yolo export model={name} format=onnx; for torchvision, pass torchvision:NAME {name};"
            f" for mmdet or mmyolo, pass CONFIG.py {name}; for any other model, run torch.onnx.export(model, image,"
            " 'model.onnx'). Then pass the ONNX file."
        )
    if kind in _BUILT:
        return "It is compiled for one runtime. Pass the ONNX file that it was made from."
    tool = next((tool for tool, kinds in _TURNED.items() if kind in kinds), None)
    return "" if tool is None else f"Convert it to ONNX with {tool}, and pass the ONNX file."
